"""Blocks that keep only what they read and compute the rest once more when gradients are due.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174). The same operations on the same
numbers, dropout included, so the gradients are the same, bit for bit. Works on any architecture: what a block is, its
caller says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache, EncoderDecoderCache

from whet.core import Block

Around = Callable[[], AbstractContextManager[object]]


@contextmanager
def recomputing(
    model: nn.Module, blocks: Iterable[Block], around: Around = nullcontext, *, random: bool = True
) -> Iterator[None]:
    """Meanwhile these blocks of a model keep only what they read.

    ``around`` is what stands around the forward pass and has to stand around the second one too. Without ``random``
    numbers are drawn anew there. Blocks with a norm that gathers statistics keep everything: a second pass would count
    its rows twice.
    """
    modules = [model.get_submodule(name) for block in blocks for name in block]
    chosen = [module for module in modules if not any(_gathers(inner) for inner in module.modules())]
    before = {module: vars(module).get("forward") for module in chosen}
    for module in chosen:
        module.forward = partial(_kept_short, module.forward, around, random)
    try:
        yield
    finally:
        for module, own in before.items():
            if own is None:
                del module.forward
            else:
                module.forward = own


def _kept_short(forward: Callable[..., Any], around: Around, random: bool, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    contexts = partial(_contexts, around)
    again = partial(_with_own_tokens, forward)
    return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=random, context_fn=contexts, **kwargs)


def _with_own_tokens(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return forward(*map(_own, args), **{name: _own(value) for name, value in kwargs.items()})


def _own(value: Any) -> Any:
    """What a pass may add its keys and values to, without the next pass finding them; tensors are not copied."""
    if isinstance(value, EncoderDecoderCache):
        own = copy.copy(value)
        own.self_attention_cache = _own(value.self_attention_cache)
        own.cross_attention_cache = _own(value.cross_attention_cache)
        own.is_updated = dict(value.is_updated)
        return own
    if isinstance(value, Cache):
        other = copy.copy(value)
        other.layers = [copy.copy(layer) for layer in value.layers]
        return other
    return value


def _contexts(around: Around) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    return nullcontext(), around()


def _gathers(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.track_running_stats

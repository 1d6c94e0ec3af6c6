"""Finds the self-attention of every block of a model, and what computes it.

In transformers the attention of most families is a module that makes queries, keys and values and hands them to a
function, which one the config says. So one function of ours reaches all of them. Knows how modules are called in which
keys are made; knows no method.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from whet.core import Block

_KEYS = ("key", "k_proj", "k_lin", "k", "key_proj")
"""What linear layers that make keys are called."""

DISENTANGLED = "DisentangledSelfAttention"
"""Class of DeBERTa's attention, which adds relative positions to its scores and asks no function."""


def self_attention(modules: Mapping[str, nn.Module], blocks: Sequence[Block]) -> Iterator[tuple[str, int]]:
    """Name and width of the keys of every block's self-attention, which stands before any cross-attention.

    Blocks without attention are left out, and those whose attention takes no keys from outside.
    """
    named = [name for name, module in modules.items() if "Attention" in type(module).__name__]
    whole = {above for name in named for above in _above(name)}
    innermost = [name for name in named if name not in whole]
    for block in blocks:
        inside = (name for name in innermost if any(name == own or name.startswith(f"{own}.") for own in block))
        first = next(inside, None)
        if first is not None and (functions(modules[first]) or type(modules[first]).__name__ == DISENTANGLED):
            width = _key_width(modules[first])
            if width is not None:
                yield first, width


def functions(module: nn.Module) -> dict[str, Callable[..., Any]]:
    """What may compute the attention of a module, by implementation; none where it does so by itself."""
    written = vars(sys.modules[type(module).__module__])
    if not {"ALL_ATTENTION_FUNCTIONS", "eager_attention_forward"} <= written.keys():
        return {}
    return {**written["ALL_ATTENTION_FUNCTIONS"], "eager": written["eager_attention_forward"]}


def looks_back_only(module: nn.Module) -> bool:
    """Does a token see none that come after it?"""
    return bool(vars(module).get("is_causal"))


def linear_widths(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Width in and width out of every linear layer."""
    for name, module in modules.items():
        if isinstance(module, nn.Linear):
            yield name, (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            # GPT-2's linear layer keeps its weight as (in, out).
            yield name, (module.weight.shape[0], module.weight.shape[1])


def _above(name: str) -> Iterator[str]:
    while name:
        name = name.rpartition(".")[0]
        yield name


def _key_width(module: nn.Module) -> int | None:
    """All heads together; None where it cannot be told."""
    linear = dict(linear_widths(dict(module.named_children())))
    for name in _KEYS:
        if name in linear:
            return linear[name][1]
    if len(linear) != 2:
        return None
    # Queries, keys and values come from one layer; the other one reads as many numbers as there are in the queries.
    output, fused = sorted(linear.values(), key=lambda widths: widths[1])
    return (fused[1] - output[0]) // 2

"""Changes of a pre-trained model before a method is attached: blocks are removed, or start anew."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from whet.core import Loaded
from whet.errors import ModelError
from whet.model.parts import parts_of
from whet.sections import Surgery

_COUNTS = ("num_hidden_layers", "encoder_layers")
"""Where a config says how many blocks there are; some say it twice."""


def operate(loaded: Loaded, wanted: Surgery) -> Loaded:
    """The model with its last blocks removed, and with random weights in what are the last blocks then.

    What starts anew counts as fresh, so every method trains and saves it. The new weights come from torch's present
    seed. Raises ModelError where the model has not that many blocks, or none that can be removed.
    """
    if wanted.drop_blocks:
        loaded = replace(loaded, model=_without_last(loaded.model, wanted.drop_blocks))
    if wanted.reinitialise:
        begun_anew = _reinitialise(loaded.model, wanted.reinitialise)
        loaded = replace(loaded, fresh=(*loaded.fresh, *(name for name in begun_anew if name not in loaded.fresh)))
    return loaded


def _without_last(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """The first blocks of a model, its embeddings and its head (Sajjad et al. 2023, arXiv 2004.03844)."""
    blocks = parts_of(model).blocks
    if count >= len(blocks):
        most = len(blocks) - 1
        raise ModelError(f"surgery.drop_blocks: {count} of {len(blocks)} blocks leave none; drop at most {most}")
    config = _shorter(model.config, len(blocks), len(blocks) - count)
    with torch.device("meta"):
        planned: PreTrainedModel = type(model)(config)
    kept, had = planned.state_dict(), model.state_dict()
    if parts_of(planned).blocks != blocks[:-count] or any(
        name not in had or had[name].shape != tensor.shape for name, tensor in kept.items()
    ):
        raise ModelError(
            f"surgery.drop_blocks: the blocks of {model.config.model_type} differ in width or stand on two sides, so "
            "the last ones cannot be removed; leave surgery.drop_blocks out, or choose a smaller model"
        )
    smaller: PreTrainedModel = type(model)(config)
    smaller.load_state_dict({name: had[name] for name in kept})
    smaller.train(model.training)
    return smaller


def _shorter(config: PreTrainedConfig, blocks: int, left: int) -> PreTrainedConfig:
    """A config that says ``left`` blocks wherever it says ``blocks``, and lists that many kinds of layers."""
    shorter = copy.deepcopy(config)
    told = config.to_dict()
    for name in (*_COUNTS, *config.attribute_map.values()):
        if told.get(name) == blocks and (name in _COUNTS or "layer" in name):
            setattr(shorter, name, left)
    for name, value in told.items():
        if name == "layer_types" and isinstance(value, list) and len(value) == blocks:
            setattr(shorter, name, value[:left])
    return shorter


def _reinitialise(model: PreTrainedModel, count: int) -> list[str]:
    """Random weights in the last blocks (Zhang et al. 2021, arXiv 2006.05987); the names of their parameters."""
    parts = parts_of(model)
    if count > len(parts.blocks):
        raise ModelError(
            f"surgery.reinitialise: {count} blocks asked for, the model has {len(parts.blocks)}; "
            f"choose at most {len(parts.blocks)}, or method 'scratch'"
        )
    names = [name for block in parts.blocks[-count:] for name in block]
    # As the architecture draws them: a model of the same config, of which only these blocks are taken.
    drawn = dict(type(model)(model.config).state_dict())
    with torch.no_grad():
        for name, tensor in _tensors(model, names):
            tensor.copy_(drawn[name])
    return sorted(parts.under(names))


def _tensors(model: nn.Module, modules: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and statistics of some modules, by their names in the model's state."""
    prefixes = tuple(f"{name}." for name in modules)
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name.startswith(prefixes):
            yield name, tensor

"""Freezing from a mask: what may change, which modules train, how deep the frozen prefix is.

A mask is the set of the names of the parameters that train. This module knows no method and no architecture; it
reads the parts of a model only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from whet.core import Mask, Parts
from whet.errors import ModelError, did_you_mean
from whet.model.parts import body_of

_SHOWN = 5
"""Unknown names that a message lists before it says how many more there are."""


def apply(model: nn.Module, parts: Parts, mask: Mask) -> None:
    """Let exactly the parameters of the mask receive gradients.

    Raises ModelError for names that the model does not have; then nothing is changed.
    """
    unknown = sorted(mask - parts.parameters.keys())
    if unknown:
        more = [f"and {len(unknown) - _SHOWN} more"] if len(unknown) > _SHOWN else []
        raise ModelError(
            *(f"no parameter '{name}' to train{did_you_mean(name, parts.parameters)}" for name in unknown[:_SHOWN]),
            *more,
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in mask)


def training_modes(model: nn.Module, parts: Parts, mask: Mask) -> dict[str, bool]:
    """For every module name ("" is the model itself): is it in training mode while this mask trains?

    Frozen means evaluation mode. The regions of a model are its stem, each block, the final norm and the head.
    Inside a region a module that holds parameters is in training mode where one of them trains; a module without
    parameters (dropout, activation) does what its parent does, or its whole region where it has no parent there.
    So a frozen batch norm keeps its statistics, a block in which nothing trains is silent, and the dropout beside a
    trained layer is active. What stands above the regions follows the stem where something in it trains, so that
    nothing random happens before the first block that trains; a module without parameters beside the body, such as
    the dropout in front of a classifier, follows the head. A batch norm whose statistics are pre-trained keeps them
    wherever it is, while its weight and bias may train: then a row's answer never depends on the rows beside it.
    """
    region_of = _regions(parts)
    trains = {region: bool(mask & parts.under(region)) for region in set(region_of.values())}
    # A head that is the table of tokens is no region of its own.
    stem, head = trains[parts.stem], trains.get(parts.head, False)
    body = body_of(model)
    trained = {id(parameter) for name, parameter in model.named_parameters() if name in mask}
    modes: dict[str, bool] = {}
    for name, module in model.named_modules():
        parent = name.rpartition(".")[0]
        region = region_of.get(name) or region_of.get(parent)
        if region is not None:
            region_of[name] = region
        held = {id(parameter) for parameter in module.parameters()}
        if region is not None and held:
            modes[name] = not held.isdisjoint(trained)
        elif region is not None:
            modes[name] = modes[parent] if region_of.get(parent) == region else trains[region]
        elif held:
            modes[name] = stem and not held.isdisjoint(trained)
        else:
            modes[name] = stem if f"{name}.".startswith(f"{body}." if body else "") else head
    return modes | dict.fromkeys(parts.settled, False)


def set_training_modes(model: nn.Module, modes: Mapping[str, bool]) -> None:
    """Put every module into the mode that ``training_modes`` found for it."""
    keep_modes([(module, modes[name]) for name, module in model.named_modules()])


def keep_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    """Put modules into these modes; where they are in them already, this takes no time."""
    for module, training in modes:
        if module.training is not training:
            module.training = training


def frozen_depth(parts: Parts, mask: Mask) -> int:
    """How many leading blocks need to be computed once only, because nothing in them or before them trains.

    0 where something in the stem trains; all of them where only the final norm and the head train.
    """
    if mask & parts.under(parts.stem):
        return 0
    trained = (depth for depth, block in enumerate(parts.blocks) if mask & parts.under(block))
    return next(trained, len(parts.blocks))


def frozen_state(model: nn.Module, parts: Parts, mask: Mask) -> Iterator[tuple[str, Tensor]]:
    """Everything that must be bit-equal after training with this mask: parameters outside of it, and the buffers of
    modules in evaluation mode, running statistics above all."""
    for name, parameter in model.named_parameters():
        if name not in mask:
            yield name, parameter
    modes = training_modes(model, parts, mask)
    for name, buffer in model.named_buffers():
        if not modes[name.rpartition(".")[0]]:
            yield name, buffer


def _regions(parts: Parts) -> dict[str, tuple[str, ...]]:
    """The region that starts at each module of the parts; a region is the tuple of the modules that make it up."""
    regions = (parts.stem, *parts.blocks, parts.final_norm, parts.head)
    return {name: region for region in regions for name in region}

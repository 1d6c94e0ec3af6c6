"""A linear layer that trains alone reads numbers of mean 0 and deviation 1; at the end its weights take that over.

What a frozen body returns is often small, and of other sizes from number to number, while Adam moves every weight by
steps of one size: small numbers are learned from late or never. With z = (x - m) / s in place of x, (B, D), the layer
x W + b is z W' + b' with W' = s W and b' = b + m W, which is the same function, learned in other coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from whet.core import Mask, Parts
from whet.engine.job import Job
from whet.engine.predict import MATRIX, Forward, readings

SAMPLE = 1000
"""Training rows at most from which mean and deviation are taken."""
LEAST = 0.01
"""Least deviation, as a share of the largest: what moves less is noise."""
STEPS = 8
"""Steps of a mean to a deviation: numbers so coarse are the same however the features were rounded."""


def standardise(job: Job, mask: Mask, rows: np.ndarray, forward: Forward, *, begun: bool) -> Callable[[], None]:
    """Let the linear layer that is all that trains read standardised numbers; returns what brings it back.

    Mean and deviation are those of some of the training ``rows``, whose outputs ``forward`` computes; of their tokens
    where words are tagged. ``begun`` says that the weights are in the new coordinates already. Nothing happens where
    more trains than one linear layer, and where that reads no row of numbers for each row or token.
    """
    name = _only_linear(job.model, job.parts, mask)
    if name is None:
        return lambda: None
    some = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).round().astype(np.int64))]
    with job.arithmetic.active(job.device):
        found = _moments(job, name, some, forward)
    layer = job.model.get_submodule(name)
    if found is None or not isinstance(layer, nn.Linear):
        return lambda: None
    mean, scale = found
    if _bias(layer) is None:
        mean = torch.zeros_like(mean)
    return _in_coordinates(layer, mean.to(layer.weight), scale.to(layer.weight), begun=begun)


def _only_linear(model: nn.Module, parts: Parts, mask: Mask) -> str | None:
    """Name of the linear layer that is all that trains; None where more trains, or the head of a vocabulary does."""
    owners = {name.rpartition(".")[0] for name in mask}
    if len(owners) != 1 or parts.speaks:
        return None
    (name,) = owners
    return name if type(model.get_submodule(name)) is nn.Linear else None


def _moments(job: Job, layer: str, rows: np.ndarray, forward: Forward) -> tuple[Tensor, Tensor] | None:
    """(D,) means and scales of what a layer reads; scales are powers of two, so that bringing weights back is exact.

    None where it reads something else than rows, or the tokens of texts that are tagged.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    with closing(readings(job.model, layer, job.task, job.train, rows, job.device, forward)) as batches:
        for chosen, read in batches:
            if job.task.problem == "tagging" and read.ndim == MATRIX + 1:
                lengths = torch.from_numpy(job.train.lengths[rows[chosen]])
                read = read[torch.arange(read.shape[1]) < lengths[:, None]]
            if read.ndim != MATRIX:
                return None
            count, total = count + len(read), total + read.double().sum(0)
            squares = squares + read.double().square().sum(0)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
    largest = float(deviation.max())
    scale = 2.0 ** deviation.clamp_min(largest * LEAST if largest > 0 else 1.0).log2().round()
    return (mean / scale * STEPS).round() / STEPS * scale, scale


def _in_coordinates(layer: nn.Linear, mean: Tensor, scale: Tensor, *, begun: bool) -> Callable[[], None]:
    """Put a layer into the coordinates of standardised numbers; returns what brings it back."""

    def read(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return ((arguments[0].to(mean.dtype) - mean) / scale, *arguments[1:])

    hook = layer.register_forward_pre_hook(read)
    if not begun:
        _move(layer, mean, scale)
    return partial(_bring_back, layer, mean, scale, hook.remove)


@torch.no_grad()
def _move(layer: nn.Linear, mean: Tensor, scale: Tensor) -> None:
    if (bias := _bias(layer)) is not None:
        bias.add_(layer.weight @ mean)
    layer.weight.mul_(scale)


@torch.no_grad()
def _bring_back(layer: nn.Linear, mean: Tensor, scale: Tensor, unhook: Callable[[], None]) -> None:
    unhook()
    layer.weight.div_(scale)
    if (bias := _bias(layer)) is not None:
        bias.sub_(layer.weight @ mean)


def _bias(layer: nn.Linear) -> Tensor | None:
    return layer._parameters["bias"]

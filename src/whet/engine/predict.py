"""A model's predictions on many rows: in large batches sorted by length, without gradients."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from whet.core import Batch, Examples, Kept, Ragged, Scores
from whet.data.batch import sorted_batches
from whet.engine.device import ALONE, Processes, tokens_at_once
from whet.protocols import Task

MATRIX = 2
"""Axes of what is one row of numbers for each row."""


@dataclass(frozen=True)
class Predictions:
    """What a model said about N rows, in their order."""

    values: Kept
    """Of N rows, as the task keeps them."""
    loss: float | None
    """Mean loss; None where the rows have no targets."""


@dataclass(frozen=True)
class _Part:
    """What comes of one batch."""

    values: Kept
    loss: float
    weight: float


Forward: TypeAlias = Callable[[Batch, np.ndarray], Any]
"""A batch and the numbers of its rows to the model's outputs."""


def predict(
    model: nn.Module,
    task: Task,
    examples: Examples,
    device: torch.device,
    forward: Forward | None = None,
    processes: Processes = ALONE,
) -> Predictions:
    """Predictions for all examples; the model is left in eval mode.

    ``forward`` computes the model's outputs another way than by calling it. Several ``processes`` share the batches
    and all return the same, the very numbers of a single one.
    """
    model.eval()
    forward = forward or (lambda batch, _: model(**batch.inputs))
    batches = sorted_batches(examples.lengths, tokens_at_once(device))
    found: dict[int, _Part] = {}
    with torch.inference_mode(), task.computing(model):
        for number in range(processes.rank, len(batches), processes.count):
            batch = task.collate(examples, batches[number]).to(device)
            outputs = forward(batch, batches[number])
            kept, loss = task.predict(outputs, batch)
            found[number] = _Part(kept, loss or 0.0, 0.0 if loss is None else batch.weight)
    for others in processes.gather(found):
        found |= others
    if not batches:
        return Predictions(np.empty((0,)), None)
    parts = [found[number] for number in range(len(batches))]
    total, whole = sum(part.loss for part in parts), sum(part.weight for part in parts)
    return Predictions(_in_order([part.values for part in parts], batches), total / whole if whole else None)


def _in_order(parts: list[Kept], batches: list[np.ndarray]) -> Kept:
    """What was kept of all batches, row by row in the order of the examples."""
    if isinstance(parts[0], Ragged):
        return Ragged.joined(parts).take(np.argsort(np.concatenate(batches)))
    values = np.empty((sum(map(len, batches)), *parts[0].shape[1:]), dtype=parts[0].dtype)
    for indices, part in zip(batches, parts, strict=True):
        values[indices] = part
    return values


def flat(kept: Kept, rows: int | None = None) -> np.ndarray:
    """The numbers that were kept of the first ``rows``, or of all."""
    if isinstance(kept, Ragged):
        return kept.values if rows is None else kept.values[: kept.starts[rows]]
    values: np.ndarray = kept if rows is None else kept[:rows]
    return values


def score(
    model: nn.Module,
    task: Task,
    examples: Examples,
    device: torch.device,
    forward: Forward | None = None,
    processes: Processes = ALONE,
) -> Scores:
    """All metrics of the task on labelled examples, and their mean loss."""
    return scores_of(predict(model, task, examples, device, forward, processes), task, examples)


def scores_of(predictions: Predictions, task: Task, examples: Examples) -> Scores:
    """All metrics of the task for predictions on these examples, and their mean loss."""
    scores = task.score(predictions.values, examples)
    return scores if predictions.loss is None else {**scores, "loss": predictions.loss}


def features(
    model: nn.Module, layer: str, task: Task, examples: Examples, rows: np.ndarray, device: torch.device
) -> np.ndarray | None:
    """(len(rows), D) what a layer of the model reads of these rows; None where that is no row of numbers for each.

    The model is left in eval mode.
    """
    order, found = [], []
    with closing(readings(model, layer, task, examples, rows, device)) as batches:
        for chosen, read in batches:
            if read.ndim != MATRIX:
                return None
            order.append(chosen)
            found.append(read.numpy())
    in_order = np.empty((len(rows), found[0].shape[1]), dtype=found[0].dtype)
    in_order[np.concatenate(order)] = np.concatenate(found)
    return in_order


def readings(
    model: nn.Module,
    layer: str,
    task: Task,
    examples: Examples,
    rows: np.ndarray,
    device: torch.device,
    forward: Forward | None = None,
) -> Generator[tuple[np.ndarray, torch.Tensor], None, None]:
    """What a layer of the model reads, batch by batch: places among ``rows``, and (B, D) or (B, T, D) for these.

    The model is left in eval mode.
    """
    model.eval()
    forward = forward or (lambda batch, _: model(**batch.inputs))
    noted: list[torch.Tensor] = []

    def note(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        noted.append(arguments[0].detach().float().cpu())

    hook = model.get_submodule(layer).register_forward_pre_hook(note)
    try:
        for chosen in sorted_batches(examples.lengths[rows], tokens_at_once(device)):
            with torch.inference_mode():
                forward(task.collate(examples, rows[chosen]).to(device), rows[chosen])
            read = noted.pop()
            if len(read) != len(chosen):
                # Several places of a row, such as the patches of a clip.
                read = read.view(len(chosen), -1, *read.shape[1:]).mean(dim=1)
            yield chosen, read
    finally:
        hook.remove()

"""A model's predictions on many rows: in large batches sorted by length, without gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from whet.core import Batch, Examples, Scores, Task
from whet.data.batch import sorted_batches

TOKENS = 4096
"""Padded tokens in one batch: enough to keep two cores busy, little enough for a laptop."""


@dataclass(frozen=True)
class Predictions:
    """What a model said about N rows, in their order."""

    values: np.ndarray
    """(N, ...) as the task keeps them."""
    loss: float | None
    """Mean loss; None where the rows have no targets."""


Forward: TypeAlias = Callable[[Batch, np.ndarray], Any]
"""A batch and the numbers of its rows to the model's outputs."""


def predict(
    model: nn.Module, task: Task, examples: Examples, device: torch.device, forward: Forward | None = None
) -> Predictions:
    """Predictions for all examples; the model is left in eval mode.

    ``forward`` computes the model's outputs another way than by calling it.
    """
    model.eval()
    forward = forward or (lambda batch, _: model(**batch.inputs))
    values: np.ndarray | None = None
    total, weight = 0.0, 0.0
    with torch.inference_mode():
        for indices in sorted_batches(examples.lengths, TOKENS):
            batch = task.collate(examples, indices).to(device)
            outputs = forward(batch, indices)
            if batch.targets is not None:
                total += float(task.loss(outputs, batch))
                weight += batch.weight
            part = task.predict(outputs)
            if values is None:
                values = np.empty((len(examples), *part.shape[1:]), dtype=part.dtype)
            values[indices] = part
    if values is None:
        values = np.empty((0,))
    return Predictions(values, total / weight if weight else None)


def score(
    model: nn.Module, task: Task, examples: Examples, device: torch.device, forward: Forward | None = None
) -> Scores:
    """All metrics of the task on labelled examples, and their mean loss."""
    predictions = predict(model, task, examples, device, forward)
    scores = task.score(predictions.values, examples)
    return scores if predictions.loss is None else {**scores, "loss": predictions.loss}

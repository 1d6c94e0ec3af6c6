"""What a run reads, as a plan sees it: the heaviest batch, and how many tokens all batches have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from whet.core import Batch, Examples
from whet.data import pictures
from whet.data.batch import epoch_batches, sorted_batches
from whet.model.heads import HEADS, Kind
from whet.planning.shapes import WRITES, inputs_of
from whet.protocols import Task

EPOCHS = 3
"""Epochs whose batches are looked at: each shuffles them anew."""
WORK = 1024
"""Numbers of a sound that are as much work as a token."""


@dataclass(frozen=True)
class Read:
    """A batch as the model reads it."""

    inputs: Mapping[str, Tensor]
    tokens: int
    """Padding included."""
    learned: int
    """Tokens whose logits for a vocabulary are wanted; 0 where there is none."""


@dataclass(frozen=True)
class Work:
    """The rows of a run."""

    batch_size: int
    batch: Callable[[int], Read]
    """The heaviest micro-batch of so many rows."""
    reading: Read
    """The heaviest batch of those without gradients."""
    batches: Sequence[int]
    """Tokens of every batch of an epoch, padding included; none where nobody knows the rows."""
    validation: int
    """Tokens of all validation rows."""
    rows: int | None
    longest: int
    stored: int
    """Tokens of all rows of which outputs of frozen layers can be stored."""
    stored_rows: int
    bytes: int = 0
    """That the rows take as the model reads them."""


def heaviest(lengths: np.ndarray, batch_size: int, seed: int) -> np.ndarray:
    """The rows of the batch with most tokens among those of the first epochs, padding included, the longest first."""
    plans = (epoch_batches(lengths, batch_size, seed=seed, epoch=epoch) for epoch in range(EPOCHS))
    rows = max((rows for plan in plans for rows in plan), key=lambda rows: len(rows) * int(lengths[rows].max()))
    ordered: np.ndarray = rows[np.argsort(-lengths[rows], kind="stable")]
    return ordered


def of_examples(
    task: Task, examples: Mapping[str, Examples], batch_size: int, seed: int, tokens_at_once: int, writes: bool
) -> Work:
    """The work of a run over these rows."""
    train, validation = examples["train"], examples["validation"]
    size = min(batch_size, len(train))
    ordered = heaviest(train.lengths, batch_size, seed)
    batches = epoch_batches(train.lengths, batch_size, seed=seed, epoch=0)

    def batch(rows: int) -> Read:
        chosen = np.resize(ordered, rows)
        return _read(task.collate(train, chosen), train.lengths[chosen], writes)

    first = sorted_batches(validation.lengths, tokens_at_once)[0]
    sides = (train, validation)
    return Work(
        batch_size=size,
        batch=batch,
        reading=_read(task.collate(validation, first), validation.lengths[first], writes),
        batches=[len(rows) * int(train.lengths[rows].max()) for rows in batches],
        validation=int(validation.lengths.sum()),
        rows=len(train),
        longest=int(train.lengths.max()),
        stored=sum(int(side.lengths.sum()) for side in sides),
        stored_rows=sum(len(side) for side in sides),
        bytes=sum(ragged.values.nbytes for side in examples.values() for ragged in side.inputs.values()),
    )


def _read(batch: Batch, lengths: np.ndarray, writes: bool) -> Read:
    learned = int((batch.targets >= 0).sum()) if writes and batch.targets is not None else 0
    return Read(batch.inputs, len(lengths) * int(lengths.max()), learned)


def of_config(
    model: PreTrainedModel, kind: Kind, batch_size: int, length: int, rows: int | None, tokens_at_once: int
) -> Work:
    """The work of a run over rows of which only the length is known."""

    def batch(count: int) -> Read:
        inputs = inputs_of(model, kind, count, length)
        return Read(inputs, count * each, count * length if kind in WRITES else 0)

    each, reads = length, HEADS[kind].reads
    if reads != "texts":
        one = inputs_of(model, kind, 1, length)[model.main_input_name]
        work = pictures.WORK if reads == "pictures" else WORK
        each = max(1, one.numel() // (one.shape[1] if one.ndim > 2 else 1) // work)
    batches = [] if rows is None else [min(batch_size, rows - start) * each for start in range(0, rows, batch_size)]
    return Work(
        batch_size=batch_size,
        batch=batch,
        reading=batch(max(1, tokens_at_once // each)),
        batches=batches,
        validation=0,
        rows=rows,
        longest=each,
        stored=(rows or 0) * each,
        stored_rows=rows or 0,
    )


def cut(read: Read, longest: int | None) -> dict[str, Tensor]:
    """The inputs of a batch of texts without what a model has no positions for."""
    tokens = read.inputs.get("input_ids")
    if longest is None or tokens is None or tokens.shape[1] <= longest:
        return dict(read.inputs)
    width = tokens.shape[1]
    return {
        name: value[:, :longest] if value.ndim == 2 and value.shape[1] == width else value
        for name, value in read.inputs.items()
    }


def targets_of(learned: int) -> Tensor:
    """As many targets; of which tokens does not matter."""
    return torch.zeros(learned, dtype=torch.int64)

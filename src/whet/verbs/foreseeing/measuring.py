"""A few steps of a method in a process of its own, to see what they really take.

The process opens the model and reads the rows as a run would, takes two steps over a small batch and two over a large
one, and tells its highest memory at each and the seconds of the second step. Nothing of it stays.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from whet.core import Examples, Ragged
from whet.data.batch import sorted_batches
from whet.engine.device import highest_memory, let_go, present_memory, return_freed_memory, tokens_at_once
from whet.errors import RunError
from whet.protocols import ReadingFiles

if TYPE_CHECKING:
    from whet.build import Prepared

STEPS = 3
"""Steps over each batch: the first fills caches and makes the moments, the others are timed."""
BATCHES = 4
"""That are read without gradients: each may leave some memory behind that the next one cannot use."""
_TAIL = 600


@dataclass(frozen=True)
class Point:
    """What was measured over one batch."""

    rows: int
    """Of a forward pass."""
    tokens: int
    """Of the step, padding included."""
    peak: int
    """Bytes of the whole process at its highest."""
    seconds: float
    """Of a step."""


@dataclass(frozen=True)
class Seen:
    """What a process saw."""

    runtime: int
    """Bytes before a row was read or a model opened."""
    points: list[Point]
    ending: int
    """Bytes at the highest moment after the last step."""
    evaluation: float
    """Seconds of an evaluation for each token."""
    once: float
    """Seconds for each token of what is computed once and stored; 0 where nothing is."""


def measure(raw: Mapping[str, Any], sizes: Sequence[int]) -> Seen:
    """Measure a recipe at forward passes of these rows, in a process of its own.

    Raises RunError with the last of its complaints where it fails.
    """
    command = [sys.executable, "-c", "from whet.verbs.foreseeing.measuring import main; main()"]
    asked = json.dumps({"recipe": raw, "sizes": list(sizes)}, default=str)
    ended = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    try:
        return TypeAdapter(Seen).validate_json(ended.stdout.splitlines()[-1])
    except (IndexError, ValidationError):
        said = ended.stderr.strip()[-_TAIL:] or f"it ended with {ended.returncode}"
        raise RunError(f"the process that measures failed: {said}") from None


def main() -> None:
    """What the process does: reads what is asked from its standard input, and writes what it saw as JSON."""
    asked = json.loads(sys.stdin.read())
    print(json.dumps(asdict(_seen(asked["recipe"], asked["sizes"]))))


def _seen(raw: Mapping[str, Any], sizes: Sequence[int]) -> Seen:
    from whet import recipe as recipes  # noqa: PLC0415  # what a run loads is loaded before its memory is read
    from whet.build import prepare  # noqa: PLC0415
    from whet.engine.job import StopRequest  # noqa: PLC0415
    from whet.engine.loop import fit  # noqa: PLC0415
    from whet.events import Evaluated, Step, Stored  # noqa: PLC0415
    from whet.planning.work import heaviest  # noqa: PLC0415
    from whet.verbs import session  # noqa: F401, PLC0415

    runtime = present_memory()
    prepared = prepare(recipes.parse(raw))
    train, settings = prepared.examples["train"], prepared.settings
    order = heaviest(train.lengths, settings.batch_size, settings.seed)
    read = {side: _first(prepared.examples[side], prepared.device) for side in ("train", "validation")}
    epoch = math.ceil(len(train) / settings.batch_size)
    steps = settings.steps or settings.epochs * epoch
    # Best weights are there while steps are taken where some follow the first evaluation.
    every = 1 if (settings.evaluate_every or epoch) < steps else None
    points, evaluation, once = [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            chosen = np.resize(order, min(size, settings.batch_size))
            # Two passes make a step what it is in as many as one likes.
            passes = min(2, -(-settings.batch_size // size)) if size == max(sizes) else 1
            rows = np.concatenate([chosen] * passes)
            job = replace(
                prepared.job(None, StopRequest()),
                train=_some(train, np.concatenate([rows] * STEPS)),
                cache_folder=Path(folder),
                validation=_some(prepared.examples["validation"], read["validation"]),
                settings=replace(
                    settings, steps=STEPS, batch_size=len(rows), micro_batch_size=size, evaluate_every=every
                ),
            )
            seconds: list[float] = []
            return_freed_memory()
            with highest_memory() as highest:
                for event in fit(job):
                    if isinstance(event, Step):
                        seconds.append(event.seconds)
                    elif isinstance(event, Stored):
                        tokens = int(job.train.lengths.sum() + job.validation.lengths.sum())
                        once = event.seconds / max(1, tokens)
                    elif isinstance(event, Evaluated):
                        evaluation = event.seconds / max(1, int(job.validation.lengths.sum()))
                peak = highest()
            points.append(Point(size, len(rows) * int(train.lengths[chosen].max()), peak, min(seconds[1:])))
    sides = {side: _some(prepared.examples[side], rows) for side, rows in read.items()}
    ending = _ending(replace(prepared, examples=sides))
    return Seen(runtime, points, ending, evaluation, once)


def _ending(prepared: Prepared) -> int:
    """Bytes at the highest moment of a run's end, on a few of its rows; its model is spent."""
    from whet.engine.predict import predict  # noqa: PLC0415  # as above
    from whet.verbs.baselines import probe  # noqa: PLC0415

    exact = prepared.arithmetic.exact
    # Rows are answered as whoever loads the saved model computes.
    with highest_memory() as highest, exact.active(prepared.device), exact.attending(prepared.model):
        predict(prepared.model, prepared.task, prepared.examples["validation"], prepared.device)
        answering = highest()
    if not isinstance(prepared.task, ReadingFiles):
        return answering
    let_go(prepared.model)
    with highest_memory() as highest:
        # The frozen body is opened once more, and reads training rows too.
        probe(prepared, "validation")
        return max(answering, highest())


def _first(examples: Examples, device: torch.device) -> np.ndarray:
    """Rows of the first batches that a run reads without gradients; its highest moment may be there."""
    return np.concatenate(sorted_batches(examples.lengths, tokens_at_once(device))[:BATCHES])


def _some(examples: Examples, rows: np.ndarray) -> Examples:
    """The examples at these rows, of which some may stand there several times."""
    targets = examples.targets
    if targets is not None:
        targets = targets.take(rows) if isinstance(targets, Ragged) else targets[rows]
    return replace(
        examples,
        inputs={name: ragged.take(rows) for name, ragged in examples.inputs.items()},
        targets=targets,
        lengths=examples.lengths[rows],
        beside={name: ragged.take(rows) for name, ragged in examples.beside.items()},
    )

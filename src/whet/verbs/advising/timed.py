"""How fast a method is on this machine: a few steps of it, on a few of the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from whet import recipe as recipes
from whet.build import prepare
from whet.core import Examples, Rows
from whet.engine.job import StopRequest
from whet.engine.loop import fit
from whet.events import Evaluated, Step, Stored
from whet.planning.advise import Pace, Pick

STEPS = 8
"""Steps that are timed, after a first one, which is slower."""
EVALUATED = 64
"""Validation rows that are answered."""
ENDING = 5.0
"""Seconds for saving, opening the saved model, and the baselines."""


def pace(raw: dict[str, Any], pick: Pick) -> Pace:
    """Seconds of a step, of an evaluation, and of all the rest of a run of the method, all rows included.

    ``raw`` are the plain values of a recipe. Raises what ``prepare`` raises, and what stops the training of a run.
    """
    prepared = prepare(recipes.parse(raw | {"method": pick.recipe["method"]}))
    few = {"train": (STEPS + 1) * prepared.settings.batch_size, "validation": EVALUATED}
    examples: dict[str, Examples] = {}
    for side, count in few.items():
        rows = _some(prepared.splits[side], count, prepared.settings.seed)
        examples[side] = prepared.task.encode(rows, prepared.columns, prepared.loaded.processor)
    settings = replace(prepared.settings, epochs=1, steps=None, evaluate_every=None, patience=None)
    small = replace(prepared, examples={**prepared.examples, **examples}, settings=settings)
    steps, stored, evaluated = [], 0.0, []
    for event in fit(small.job(None, StopRequest())):
        if isinstance(event, Step):
            steps.append(event.seconds)
        elif isinstance(event, Stored):
            stored += event.seconds
        elif isinstance(event, Evaluated):
            evaluated.append(event.seconds)
    computed = sum(len(part) for part in examples.values())
    every = sum(len(prepared.examples[side]) for side in few)
    answer = evaluated[-1] / len(examples["validation"])
    tested = len(prepared.examples.get("test", ()))
    return Pace(
        step=float(np.mean(steps[1:] or steps)),
        # Test rows are answered by the trained model; the saved one answers a few again.
        once=stored * every / computed + ENDING + 2 * answer * tested,
        epoch=answer * len(prepared.examples["validation"]),
    )


def _some(rows: Rows, count: int, seed: int) -> Rows:
    """Some rows, drawn at random so that short and long ones are among them as they are among all."""
    order = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows.take(sorted(order.tolist()))

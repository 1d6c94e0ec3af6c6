"""Trains several recipes one after the other in one process; prints a line of JSON for each.

    python bench/train_all.py RECIPES.json

RECIPES.json maps names to recipes. A run is that of ``whet train`` up to the best weights, and its test rows are
answered in the precision of the run; nothing is saved, and there are no baselines. Each line has the name, and either
the scores or why whet refused it. For answers that are right or wrong, ``right`` has a sign for each test row.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from whet import recipe as recipes
from whet.build import Prepared, prepare
from whet.engine.job import StopRequest
from whet.engine.loop import fit
from whet.engine.predict import predict
from whet.errors import WhetError
from whet.events import Finished


def main() -> None:
    told: dict[str, dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, recipe in told.items():
        print(json.dumps({"name": name, **_trained(recipe)}), flush=True)


def _trained(recipe: dict[str, Any]) -> dict[str, Any]:
    started = time.process_time()
    try:
        prepared = prepare(recipes.parse(recipe))
        *_, finished = fit(prepared.job(None, StopRequest()))
    except WhetError as error:
        return {"refused": str(error)}
    assert isinstance(finished, Finished)
    metric, test = prepared.settings.metric, prepared.examples["test"]
    with prepared.arithmetic.active(prepared.device), prepared.arithmetic.attending(prepared.model):
        values = predict(prepared.model, prepared.task, test, prepared.device).values
    return {
        "metric": metric,
        "test": prepared.task.score(values, test)[metric],
        "validation": finished.scores[metric],
        "epochs": prepared.settings.epochs,
        "learning_rate": prepared.settings.learning_rate,
        "cpu_seconds": round(time.process_time() - started, 1),
        "right": _right(prepared, values),
    }


def _right(prepared: Prepared, values: Any) -> str:
    """1 for each test row whose answer is right, 0 for each other one; nothing where there is no such thing."""
    targets = prepared.examples["test"].targets
    if prepared.task.problem != "single_label" or not isinstance(targets, np.ndarray):
        return ""
    return "".join(str(int(right)) for right in values.argmax(axis=1) == targets)


if __name__ == "__main__":
    main()

"""Trains several recipes one after the other in one process; prints a line of JSON for each.

    python bench/train_all.py RECIPES.json FOLDER

RECIPES.json maps names to recipes. Each line has the name, and either the scores or why whet refused it. For answers
that are right or wrong, ``right`` has a sign for each test row. Run folders are deleted.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import whet
from whet.errors import WhetError


def main() -> None:
    recipes: dict[str, dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    for number, (name, recipe) in enumerate(recipes.items()):
        out = folder / f"run{number}"
        print(json.dumps({"name": name, **_trained(recipe, out)}), flush=True)
        shutil.rmtree(out, ignore_errors=True)


def _trained(recipe: dict[str, Any], out: Path) -> dict[str, Any]:
    try:
        run = whet.train(recipe, out=out, quiet=True)
    except WhetError as error:
        return {"refused": str(error)}
    metric = _metric(run.test)
    baselines = {name: scores.get(metric) for name, scores in run.metrics["baselines"].items()}
    return {
        "metric": metric,
        "test": run.test[metric],
        "validation": run.metrics["validation"][metric],
        "seconds": run.metrics["seconds"],
        "baselines": baselines,
        "right": _right(out, metric),
    }


def _metric(scores: dict[str, float]) -> str:
    return next(name for name in ("accuracy", "f1", "token_accuracy") if name in scores)


def _right(out: Path, metric: str) -> str:
    """1 for each test row whose answer is right, 0 for each other one; nothing where there is no such thing."""
    if metric != "accuracy":
        return ""
    rows = pq.read_table(out / "predictions.parquet").to_pydict()
    names = json.loads((out / "data.json").read_text(encoding="utf-8"))["columns"]["label"]
    answers = zip(rows["prediction"], rows[names[0]], strict=True)
    return "".join(str(int(str(said) == str(true))) for said, true in answers)


if __name__ == "__main__":
    main()

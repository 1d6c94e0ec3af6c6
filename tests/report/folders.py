"""Run folders and comparisons as whet writes them, made in a blink: no model is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from whet import metrics
from whet import recipe as recipes
from whet.core import Choice, Scores
from whet.run import comparison as comparisons
from whet.run import tuning as searches
from whet.run.comparison import Against, Attempt, Candidate, Comparison, Interval, Verdict
from whet.run.tuning import Plan, Trial, Tuning

LABELS = ("bad", "good", "so so")
EVIL = "<script>alert('&')</script>"
"""What stands in data that nobody has looked at."""


def classified(
    path: Path,
    *,
    rows: int = 120,
    seed: int = 0,
    right: float = 0.8,
    labels: Sequence[str] = LABELS,
    text: str = "a film about number {number}",
    baseline: float = 0.4,
    steps: int = 50,
    shift: int = 0,
) -> Path:
    """A finished run of a classifier that answers about a share of ``right`` of the rows rightly."""
    draws = np.random.default_rng(seed)
    targets = np.arange(rows) % len(labels)
    wrong = draws.random(rows) > right
    answered = np.where(wrong, (targets + 1) % len(labels), targets)
    probabilities = np.full((rows, len(labels)), 0.0)
    sure = draws.uniform(0.5, 0.99, rows)
    probabilities += ((1 - sure) / (len(labels) - 1))[:, None]
    probabilities[np.arange(rows), answered] = sure
    table = {
        "text": [text.format(number=number + shift) for number in range(rows)],
        "label": [labels[number] for number in targets.tolist()],
        "prediction": [labels[number] for number in answered.tolist()],
        "scores": probabilities.tolist(),
    }
    scores = metrics.single_label(probabilities, targets)
    return written(
        path,
        table,
        scores=scores,
        task={"name": "text_classification", "problem": "single_label", "labels": list(labels)},
        baselines={"majority": {"accuracy": 1 / len(labels)}, "tfidf": {"accuracy": baseline}},
        labels=list(labels),
        metric="accuracy",
        steps=steps,
    )


def written(  # one keyword for each file of a run folder
    path: Path,
    table: Mapping[str, list[Any]],
    *,
    scores: Scores,
    task: Mapping[str, Any],
    baselines: Mapping[str, Scores],
    labels: list[str] | None,
    metric: str,
    steps: int = 50,
    label: str = "label",
    train: str = "/nowhere/train.csv",
    more: Mapping[str, Any] | None = None,
) -> Path:
    """A run folder of these measured rows."""
    path.mkdir(parents=True)
    values: dict[str, Any] = {
        "data": {"train": train, "text": "text", "label": label},
        "model": "MiniLM",
        "task": dict(task),
        "method": {"name": "lora", "rank": 8},
        "training": {"epochs": 2, "learning_rate": 0.0005, "metric": metric},
        "seed": 0,
    }
    choices = [
        Choice("data.train", train, "given"),
        Choice("task.name", task["name"], "inferred", "the rows hold texts and labels"),
        Choice("training.epochs", 2, "default", "default of method 'lora'"),
        Choice("seed", 0, "default"),
    ]
    (path / "recipe.yaml").write_text(recipes.dump(values, choices), encoding="utf-8")
    rows = len(next(iter(table.values())))
    sides = {side: {"rows": rows, "source": "train.csv", "fingerprint": f"{side}-{rows}"} for side in ("train", "test")}
    facts = {"columns": {"text": ["text"], "label": [label] if label else [], "group": None}, "labels": labels}
    _json(path / "data.json", {**facts, "splits": sides})
    _json(
        path / "environment.json", {"python": "3.11", "machine": "x86_64", "processors": 2, "packages": {"whet": "0"}}
    )
    _json(
        path / "metrics.json",
        {
            "validation": scores,
            "test": scores,
            "baselines": dict(baselines),
            "best_step": steps,
            "seconds": 12.5,
            "peak_memory_bytes": 700_000_000,
            "trainable_parameters": 1_000,
            "total_parameters": 100_000,
            **(more or {}),
        },
    )
    pq.write_table(pa.table(dict(table)), path / "predictions.parquet")
    _events(path / "events.jsonl", steps, metric, scores.get(metric, 0.5))
    return path


def compared(path: Path, count: int = 30, seeds: int = 2) -> Path:
    """The folder of a finished comparison of so many candidates, with their run folders."""
    candidates, scores = [], {}
    for number in range(count):
        name = f"method-{number:02d}"
        attempts = []
        for seed in range(seeds):
            folder = Path("candidates") / name / f"seed-{seed}"
            classified(path / folder, seed=100 * number + seed, right=0.6 + 0.3 * number / count, rows=300, steps=400)
            found = json.loads((path / folder / "metrics.json").read_text())["test"]
            state: comparisons.State = "finished"
            seconds, memory = 5.0 + 3 * number, 300_000_000 + 20_000_000 * (number % 7)
            attempts.append(Attempt(seed, str(folder), state, 400, 400, found, found, seconds, memory))
        value = float(np.mean([one.test["accuracy"] for one in attempts if one.test]))
        scores[name] = Interval(value, value - 0.04, value + 0.04)
        settings: dict[str, object] = {"training.learning_rate": 1e-4 * (number + 1)}
        total = 22_700_000
        candidates.append(Candidate(name, "lora", "MiniLM", settings, attempts, total // (number + 1), total))
    dropped = Attempt(0, "gone", "dropped", 40, 400, {"accuracy": 0.5}, reason="behind by more than its standard error")
    failed = Attempt(0, "gone", "failed", 0, 400, reason="the loss is no longer finite")
    candidates += [
        Candidate("dropped one", "head", "MiniLM", {}, [dropped]),
        Candidate("<b>failed</b>", "full", "MiniLM", {}, [failed]),
    ]
    order = sorted(scores, key=lambda name: -scores[name].value)
    against = [
        Against(name, Interval(scores[order[0]].value - scores[name].value, 0.0, 0.1), 0.2, same=place < 2)
        for place, name in enumerate(order[1:])
    ]
    verdict = Verdict(order[0], False, order[1], scores, against, True, [])
    comparisons.write(
        path,
        Comparison(
            data="reviews.csv",
            metric="accuracy",
            more_is_better=True,
            budget="400 steps each",
            command="whet compare reviews.csv --methods a,b",
            rows={"train": 1000, "validation": 300, "test": 300},
            measured="test",
            candidates=candidates,
            baselines={"majority": {"accuracy": 0.34}, "tfidf": {"accuracy": 0.55}},
            seconds=900.0,
            verdict=verdict,
        ),
    )
    return path


def searched(path: Path, count: int = 30) -> Path:
    """The folder of a search."""
    path.mkdir()
    searches.write(path, search(count))
    return path


def search(count: int, language: str = "en") -> Tuning:
    """A search of so many trials, of which some have failed."""
    draws = np.random.default_rng(0)
    trials = []
    for number in range(count):
        settings: dict[str, object] = {
            "training.learning_rate": float(10 ** draws.uniform(-5, -3)),
            "method.rank": int(draws.choice([4, 8, 16])),
            "training.dropout": None if number % 2 else 0.2,
        }
        value = float(draws.uniform(0.6, 0.9))
        course = [(0.5, value - 0.1), (1.0, value)]
        state = "failed" if number % 7 == 3 else "pruned" if number % 7 == 5 else "finished"
        done = state == "finished"
        trials.append(
            Trial(
                number,
                settings,
                state,  # type: ignore[arg-type]  # one of its values
                score=value if done else None,
                scores={"accuracy": value} if done else {},
                course=course if state != "failed" else [],
                seconds=1.5,
                reason="" if done else EVIL,
            )
        )
    spaces = {"training.learning_rate": "1e-5..1e-3", "method.rank": "4,8,16", "training.dropout": "null,0.2"}
    plan = Plan({}, spaces, count, None, 1, 0, True, language)  # type: ignore[arg-type]  # one of its values
    finished = [trial for trial in trials if trial.score is not None]
    best = max(finished, key=lambda trial: trial.score or 0.0).number if finished else None
    return Tuning(
        plan, EVIL, "lora", "accuracy", True, {"validation": 90, "test": 100}, "whet tune x.csv", trials, 60.0, best,
        {"training.learning_rate": 0.7, "method.rank": 0.3}, {best: {"accuracy": 0.8}} if best is not None else {},
    )  # fmt: skip


def _events(path: Path, steps: int, metric: str, best: float) -> None:
    events: list[dict[str, Any]] = [{"event": "Started", "step": 0, "steps": steps}]
    events.append({"event": "StageChanged", "step": 0, "stage": "head", "trainable": 10})
    for step in range(1, steps + 1):
        rate = 1e-3 * (1 - step / (steps + 1))
        events.append({"event": "Step", "step": step, "loss": 1 / step, "learning_rate": rate, "seconds": 0.1})
        if step % 10 == 0:
            scores = {metric: best * step / steps}
            events.append({"event": "Evaluated", "step": step, "scores": scores, "best": True, "seconds": 0.1})
        if step == steps // 2:
            events.append({"event": "StageChanged", "step": step, "stage": "all", "trainable": 100})
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")


def _json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")

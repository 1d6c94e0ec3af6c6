"""What a run folder tells a reader, read once. It is the only source of a report: no model is loaded, and no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from whet.core import Choice, Finding, Problem, Scores
from whet.errors import RunFolderError
from whet.run import folder as run_folder
from whet.run.decisions import decisions
from whet.run.folder import RunFolder

OWN_COLUMNS = 2
"""Columns that whet adds behind those of the data: the answer and the probabilities of the classes."""
_PROBLEMS: dict[str, Problem] = {
    "token_classification": "tagging",
    "causal_lm": "next_token",
    "seq2seq": "target_text",
    "speech_recognition": "transcript",
}
"""Tasks of one problem each; the others write theirs into the recipe."""


@dataclass(frozen=True)
class Stage:
    """A stretch of the steps in which the same weights train."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Curves:
    """What happened step by step; S steps, E evaluations."""

    steps: np.ndarray
    """(S,)"""
    losses: np.ndarray
    """(S,)"""
    rates: np.ndarray
    """(S,) learning rates."""
    evaluated: np.ndarray
    """(E,) the step before each evaluation."""
    scores: list[Scores]
    """Of each evaluation."""
    stages: list[Stage]

    def of(self, metric: str) -> np.ndarray:
        """(E,) a metric on the validation rows; nan where it was not measured."""
        return np.array([scores.get(metric, math.nan) for scores in self.scores], dtype=np.float64)


@dataclass(frozen=True)
class RunContents:
    """A finished run."""

    path: Path
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, Any]

    @property
    def name(self) -> str:
        """What to call it: its folder."""
        return self.path.resolve().name

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.recipe["task"]["name"])

    @property
    def problem(self) -> Problem | None:
        """What is answered; None for a task that whet does not know."""
        problem: Problem | None = _PROBLEMS.get(self.task) or self.recipe["task"].get("problem")
        return problem

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.recipe["method"]["name"])

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of their probabilities; none where there are no classes."""
        return [str(name) for name in self.data.get("labels") or []]

    @property
    def measured(self) -> Literal["test", "validation"]:
        """The side of the data that the scores, the baselines and the predictions are of."""
        return "test" if self.metrics.get("test") else "validation"

    @property
    def scores(self) -> Scores:
        """All metrics of the measured rows."""
        scores: Scores = self.metrics[self.measured]
        return scores

    @property
    def baselines(self) -> dict[str, Scores]:
        """Scores of the baselines on the same rows."""
        return dict(self.metrics.get("baselines") or {})

    @property
    def metric(self) -> str:
        """The metric that chose the best weights; the first one where that is not measured."""
        wanted = str(self.recipe["training"].get("metric", ""))
        return wanted if wanted in self.scores else next(iter(self.scores), wanted)

    @property
    def rows(self) -> int:
        """How many rows were measured."""
        return int(self.data["splits"].get(self.measured, {}).get("rows", 0))

    @property
    def fingerprint(self) -> str:
        """Of the measured rows: where it is the same, so are the rows."""
        return str(self.data["splits"].get(self.measured, {}).get("fingerprint", ""))

    @cached_property
    def choices(self) -> list[Choice]:
        """Every value of the recipe, with the reason of those that were decided."""
        return decisions((self.path / run_folder.RECIPE).read_text(encoding="utf-8"))

    @cached_property
    def findings(self) -> list[Finding]:
        """What checks noticed; none where none were made."""
        return findings(self.path)

    @cached_property
    def table(self) -> pa.Table | None:
        """The measured rows with the answers; None where they are not kept."""
        path = self.path / run_folder.PREDICTIONS
        if not path.is_file():
            return None
        try:
            # read_table would load pandas.
            return pq.ParquetFile(path).read()
        except (OSError, pa.ArrowInvalid) as error:
            raise RunFolderError(f"{path} is damaged: {error}") from None

    @cached_property
    def curves(self) -> Curves:
        """What happened step by step."""
        return _curves(self.path / run_folder.EVENTS, all_steps=True)

    def texts(self, indices: Sequence[int]) -> list[list[object]]:
        """What the model read of some measured rows, a list of its columns each."""
        assert self.table is not None
        columns = [self.table.column(name) for name in self.data["columns"]["text"]]
        # One by one: an array of indices would make pyarrow load pandas.
        return [[column[index].as_py() for column in columns] for index in indices]


def open_run(path: Path) -> RunContents:
    """A finished run; raises RunFolderError where there is none, it is unfinished, or its files are damaged."""
    folder = RunFolder.open(path)
    if not folder.finished:
        raise RunFolderError(f"{path} is not finished, so there is nothing to report; go on with: whet resume {path}")
    run = RunContents(
        path,
        folder.recipe(),
        folder.read(run_folder.METRICS),
        folder.read(run_folder.DATA),
        folder.read(run_folder.ENVIRONMENT),
    )
    try:
        # What every page shows; a file that lacks it was not written by whet.
        _ = run.task, run.method, run.metric, run.rows, run.data["columns"]["text"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"{path} is damaged: its recipe, data or metrics do not hold {error}") from None
    return run


def evaluations(folder: Path) -> Curves:
    """The evaluations of a run, finished or not; of all steps it would take much longer."""
    return _curves(folder / run_folder.EVENTS, all_steps=False)


def findings(folder: Path) -> list[Finding]:
    """What checks noticed about a run; raises RunFolderError where their file is damaged."""
    path = folder / run_folder.FINDINGS
    if not path.is_file():
        return []
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[Finding]).validate_python(told["findings"] if isinstance(told, dict) else told)
    except (OSError, ValueError, KeyError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from None


def _curves(path: Path, *, all_steps: bool) -> Curves:
    """The log as curves; lines that are no events are left out, as a process may have died within one."""
    steps: list[tuple[int, float, float]] = []
    evaluated: list[int] = []
    scores: list[Scores] = []
    changes: list[tuple[str, int]] = []
    last = 0
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        if not all_steps and line.startswith('{"event": "Step"'):
            continue
        try:
            event = json.loads(line)
            kind, last = event["event"], int(event["step"])
            if kind == "Step":
                steps.append((last, float(event["loss"]), float(event["learning_rate"])))
            elif kind == "Evaluated":
                evaluated.append(last)
                scores.append(event["scores"])
            elif kind == "StageChanged":
                changes.append((str(event["stage"]), last))
        except (ValueError, KeyError, TypeError):
            continue
    ends = [first for _, first in changes[1:]] + [last]
    stages = [Stage(name, first, end) for (name, first), end in zip(changes, ends, strict=False)]
    table = np.array(steps, dtype=np.float64).reshape(-1, 3)
    return Curves(table[:, 0], table[:, 1], table[:, 2], np.array(evaluated, dtype=np.int64), scores, stages)

"""The candidates of a comparison in their order, with what each reached and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from whet.report.contents import RunContents
from whet.report.intervals import CERTAIN, intervals
from whet.report.judged import judged
from whet.run.comparison import Attempt, Candidate, Comparison, Interval, State


@dataclass(frozen=True)
class Place:
    """A candidate on the board."""

    number: int
    """From 1 on; the best is first, and who did not come to the end stands last."""
    candidate: Candidate
    state: State
    reason: str
    score: Interval | None
    """On the measured rows, mean over seeds; None where it was not measured there."""
    validation: float | None
    seeds: int
    """Attempts that came to the end."""
    step: int
    steps: int
    seconds: float
    """Of one attempt, on average."""
    peak_memory_bytes: int
    role: Literal["best", "cheapest", "same", ""]
    """``same``: inside the noise of the best."""
    run: RunContents | None
    """Its first finished run, where that is still there."""

    @property
    def share(self) -> float:
        """Of the parameters that train."""
        return self.candidate.trainable / self.candidate.total if self.candidate.total else math.nan


def board(comparison: Comparison, runs: Mapping[str, RunContents]) -> list[Place]:
    """All candidates; ``runs`` holds a finished run of each that has one."""
    sign = 1 if comparison.more_is_better else -1
    places = [_place(comparison, candidate, runs.get(candidate.name)) for candidate in comparison.candidates]

    def order(place: Place) -> tuple[int, float, float]:
        value = math.inf if place.score is None else -sign * place.score.value
        waiting = math.inf if place.validation is None else -sign * place.validation
        return (place.score is None, value, waiting)

    ordered = sorted(places, key=order)
    return [replace(place, number=number) for number, place in enumerate(ordered, start=1)]


def values_of(comparison: Comparison, candidate: Candidate) -> list[float]:
    """What its finished attempts reached on the measured rows."""
    sides = [_measured(comparison, attempt) for attempt in candidate.attempts if attempt.state == "finished"]
    return [scores[comparison.metric] for scores in sides if scores and comparison.metric in scores]


def _measured(comparison: Comparison, attempt: Attempt) -> Mapping[str, float] | None:
    return attempt.test if comparison.measured == "test" else attempt.validation


def _place(comparison: Comparison, candidate: Candidate, run: RunContents | None) -> Place:
    metric, attempts = comparison.metric, candidate.attempts
    finished = [attempt for attempt in attempts if attempt.state == "finished"]
    last = max(attempts, key=lambda attempt: attempt.step, default=None)
    costly = finished or attempts
    validation = [one.validation[metric] for one in attempts if one.validation and metric in one.validation]
    return Place(
        number=0,
        candidate=candidate,
        state="finished" if finished else (last.state if last else "waiting"),
        reason="; ".join(dict.fromkeys(one.reason for one in attempts if one.reason)),
        score=_score(comparison, candidate, run),
        validation=float(np.mean(validation)) if validation else None,
        seeds=len(finished),
        step=last.step if last else 0,
        steps=last.steps if last else 0,
        seconds=float(np.mean([one.seconds for one in costly])) if costly else 0.0,
        peak_memory_bytes=max((one.peak_memory_bytes for one in costly), default=0),
        role=_role(comparison, candidate.name),
        run=run,
    )


def _score(comparison: Comparison, candidate: Candidate, run: RunContents | None) -> Interval | None:
    """As the verdict has it; before there is one from the rows of a run and the spread of the seeds."""
    if comparison.verdict is not None and candidate.name in comparison.verdict.scores:
        return comparison.verdict.scores[candidate.name]
    values = values_of(comparison, candidate)
    if not values:
        return None
    mean = float(np.mean(values))
    answers = None if run is None else judged(run)
    known = {} if run is None or answers is None else intervals(answers, run.scores)
    if comparison.metric not in known:
        return Interval(mean, mean, mean)
    rows = (known[comparison.metric].high - known[comparison.metric].low) / 2
    seeds = CERTAIN * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(mean, mean - math.hypot(rows, seeds), mean + math.hypot(rows, seeds))


def _role(comparison: Comparison, name: str) -> Literal["best", "cheapest", "same", ""]:
    verdict = comparison.verdict
    if verdict is None:
        return ""
    if name == verdict.best:
        return "best"
    if name == verdict.cheapest:
        return "cheapest"
    return "same" if any(one.candidate == name and one.same for one in verdict.against) else ""

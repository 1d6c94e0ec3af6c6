"""The folder of a comparison: what ``whet compare`` leaves behind, and the only place that knows its file names.

::

    comparison.json            what was compared, how each candidate did, and the verdict
    candidates/NAME/seed-N/    the run folders
    asked.json                 what goes on from here where it was stopped
    samples/                   what runs scored, on rows drawn anew
    worker-N.log               what the processes said, where there were several

The file is written anew after each thing that happens, so whoever was interrupted goes on from it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from whet.core import Finding, Scores
from whet.errors import RunFolderError

COMPARISON = "comparison.json"
CANDIDATES = "candidates"

State: TypeAlias = Literal["waiting", "running", "dropped", "failed", "finished"]


@dataclass(frozen=True)
class Interval:
    """A number and where the true one lies, 95 times of 100."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Attempt:
    """One run of a candidate."""

    seed: int
    folder: str
    """Its run folder, seen from the comparison's."""
    state: State = "waiting"
    step: int = 0
    """Optimiser steps done."""
    steps: int = 0
    """Of how many."""
    validation: Scores | None = None
    """At its best so far."""
    test: Scores | None = None
    """Measured once, where the candidate came to the end."""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    reason: str = ""
    """Why it was dropped, or how it failed."""


@dataclass(frozen=True)
class Candidate:
    """A way to fine-tune that takes part."""

    name: str
    method: str
    model: str
    settings: dict[str, object]
    """What else tells it from the others, by path in the recipe, such as ``training.learning_rate``."""
    attempts: list[Attempt]
    trainable: int = 0
    total: int = 0
    stored_bytes: int = 0
    """What is left to keep, in files."""


@dataclass(frozen=True)
class Against:
    """A finalist beside the one with the best score, on the same test rows."""

    candidate: str
    difference: Interval
    """By how much the best is better; the interval is of a paired bootstrap over rows and seeds."""
    p_value: float | None
    """McNemar's exact test, where answers are right or wrong."""
    same: bool
    """Whether the difference is inside the noise."""


@dataclass(frozen=True)
class Verdict:
    """What the comparison found."""

    best: str
    """The candidate with the best score; the winner only where ``clear``."""
    clear: bool
    """Whether it is better than every other finalist by more than the noise."""
    cheapest: str
    """The fastest candidate inside the noise of the best."""
    scores: dict[str, Interval]
    """Of every finalist on the test rows, mean over seeds."""
    against: list[Against]
    beats_baselines: bool
    """Whether the best is better than every baseline by more than the noise."""
    findings: list[Finding]
    """What probably went wrong with some candidates."""


@dataclass(frozen=True)
class Comparison:
    """Everything that is known about a comparison."""

    data: str
    metric: str
    more_is_better: bool
    budget: str
    """In words: 375 steps each, or 20 minutes in all."""
    command: str
    """What repeats it."""
    rows: dict[str, int]
    """Rows of each side of the data."""
    measured: Literal["test", "validation"]
    """The side that the verdict rests on."""
    candidates: list[Candidate]
    baselines: dict[str, Scores]
    seconds: float
    verdict: Verdict | None = None
    """None until it has finished."""
    rungs_decided: int = 0
    """After how many rungs it was decided who goes on."""
    jobs: int = 1
    """Candidates that trained beside each other: seconds are of a part of the machine each."""


def write(folder: Path, comparison: Comparison) -> None:
    """Put a comparison into its folder; whoever reads meanwhile sees the old one or the new one."""
    temporary = folder / f"{COMPARISON}.part"
    temporary.write_text(json.dumps(asdict(comparison), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(folder / COMPARISON)


def read(folder: Path) -> Comparison:
    """The comparison of a folder; raises RunFolderError where there is none or it is damaged."""
    path = folder / COMPARISON
    try:
        return TypeAdapter(Comparison).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RunFolderError(f"{folder} is not a comparison: it has no {COMPARISON}") from None
    except (OSError, ValidationError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from None


def unbeaten(comparison: Comparison) -> list[str]:
    """Baselines that the best candidate does not beat by more than noise; all of them before there is a verdict."""
    known = {
        name: scores[comparison.metric] for name, scores in comparison.baselines.items() if comparison.metric in scores
    }
    if comparison.verdict is None:
        return list(known)
    return not_beaten(comparison.verdict.scores[comparison.verdict.best], known, comparison.more_is_better)


def not_beaten(best: Interval, baselines: Mapping[str, float], more_is_better: bool) -> list[str]:
    """Baselines whose score is not below that of the best by more than noise.

    A baseline's error is taken to be as large as that of the best, and independent of it, so its difference from the
    best has the square root of 2 times the error. As both are measured on the same rows the true error is smaller.
    """
    sign = 1 if more_is_better else -1
    needed = (best.high - best.low) / 2 * 2**0.5
    return [name for name, value in baselines.items() if sign * (best.value - value) <= needed]

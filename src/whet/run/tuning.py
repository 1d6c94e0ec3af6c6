"""The folder of a search for settings: what ``whet tune`` leaves behind, and the only place that knows its file names.

::

    tune.json      what was searched, how each trial did, and what matters; written anew after each trial
    study.db       the same as Optuna keeps it (SQLite), from which an interrupted search goes on
    tune.html      history and importance as a page, with the table of the trials
    best.yaml      the recipe of the best trial; runs with ``whet train``
    best/          its run folder, with the model and its test score
    trials/N/      the run folders of the other trials: recipe and events, and no model
    worker-N.log   what the processes said, where there were several

The test rows are measured for the best trial, and for trial 0, which has the settings that the recipe began with.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from whet.core import Scores
from whet.errors import RunFolderError

TUNE = "tune.json"
STUDY = "study.db"
PAGE = "tune.html"
BEST_RECIPE = "best.yaml"
BEST = "best"
TRIALS = "trials"

WORSE = "worse than the median of the others at this point"
LATE = "the time was used up"
KILLED = "the search ended while it was being drawn"
"""Why a trial was broken off, where it is not its own doing."""

State: TypeAlias = Literal["running", "pruned", "failed", "finished"]


@dataclass(frozen=True)
class Trial:
    """One run of a search."""

    number: int
    """0 is the recipe as it was."""
    settings: dict[str, object]
    """What was searched, by path in the recipe, with the values that this trial had."""
    state: State
    score: float | None = None
    """On the validation rows, at the end of the run; none where it did not come to its end."""
    scores: Scores = field(default_factory=dict)
    """All metrics on the validation rows."""
    course: list[tuple[float, float]] = field(default_factory=list)
    """Share of the run and score of each evaluation."""
    seconds: float = 0.0
    reason: str = ""
    """Why it was broken off, or how it failed."""


@dataclass(frozen=True)
class Plan:
    """What a search was asked to do."""

    recipe: dict[str, Any]
    """As the user wrote it, with paths that mean the same from any folder."""
    spaces: dict[str, str]
    """What is searched: path in the recipe, and the values as one writes them behind ``--space``."""
    trials: int
    timeout: float | None
    """Seconds after which no more is tried; None has no limit."""
    jobs: int
    seed: int
    baseline: bool
    """Whether trial 0 is measured on the test rows, too."""
    language: Literal["en", "ko"] = "en"
    """Of the page."""


@dataclass(frozen=True)
class Tuning:
    """Everything that is known about a search."""

    plan: Plan
    data: str
    method: str
    metric: str
    more_is_better: bool
    rows: dict[str, int]
    """Rows of each side of the data."""
    command: str
    """What repeats it."""
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    """That the search has taken so far."""
    best: int | None = None
    """Number of the best trial; of equal ones the first."""
    importance: dict[str, float] = field(default_factory=dict)
    """Share of the differences between trials that each setting explains; empty where too few have finished."""
    tested: dict[int, Scores] = field(default_factory=dict)
    """Scores on the test rows by number of the trial, once it has been measured."""

    def folder(self, number: int) -> str:
        """Run folder of a trial, seen from the folder of the search."""
        return BEST if number == self.best and number in self.tested else f"{TRIALS}/{number}"


def write(folder: Path, tuning: Tuning) -> None:
    """Put a search into its folder; whoever reads meanwhile sees the old one or the new one."""
    temporary = folder / f".{TUNE}.part"
    temporary.write_text(json.dumps(asdict(tuning), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(folder / TUNE)


def read(folder: Path) -> Tuning:
    """The search of a folder; raises RunFolderError where there is none or it is damaged."""
    path = folder / TUNE
    try:
        return TypeAdapter(Tuning).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no search: it has no {TUNE}; begin one with 'whet tune'") from None
    except (OSError, ValidationError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from None


def is_search(folder: Path) -> bool:
    """Whether a folder is one of a search."""
    return (folder / TUNE).is_file()


def refuse_existing(folder: Path) -> None:
    """Raise RunFolderError where something is at ``folder`` already."""
    if folder.exists():
        hint = f", or go on with it: whet tune --resume {folder}" if is_search(folder) else ""
        raise RunFolderError(f"{folder} exists and is never overwritten; choose another folder with --out{hint}")

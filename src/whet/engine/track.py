"""A run as TensorBoard, MLflow or Weights & Biases show it, through the trackers of accelerate.

A tracker is a loop over events like any other that watches a run: the engine knows none of them. What they cannot take
is no reason to lose a run: one that fails on the way is let go, and the user is told.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from whet.core import Scores
from whet.errors import RecipeError
from whet.events import Evaluated, Event, Started, Step

PROJECT = "whet"
"""What the runs stand under where a tracker keeps several projects."""
FOLDER = "tensorboard"
"""In the run folder."""


def refuse_absent(names: Iterable[str]) -> None:
    """Raise RecipeError for trackers that are not installed."""
    absent = [name for name in names if find_spec(name) is None]
    if absent:
        raise RecipeError(*(f"training.track: {name} is not installed; pip install {name}" for name in absent))


class Trackers:
    """The trackers of one run; there may be none."""

    def __init__(self, names: Iterable[str], folder: Path, values: Mapping[str, Any]) -> None:
        self._names = list(dict.fromkeys(names))
        self._folder = folder
        self._values = values
        self._trackers: list[GeneralTracker] = []

    def take(self, event: Event) -> None:
        """Tell an event: losses and rates of steps, scores of evaluations. The first one opens the trackers."""
        match event:
            case Started():
                self._start(event.step)
            case Step():
                told = {"loss": event.loss, "learning_rate": event.learning_rate, "gradient_norm": event.gradient_norm}
                self._tell("train", told, event.step)
            case Evaluated():
                self._tell("validation", event.scores, event.step)

    def conclude(self, side: str, scores: Scores, step: int) -> None:
        """Tell the scores at the end, and close the trackers."""
        self._tell(side, scores, step)
        self.close()

    def close(self) -> None:
        """Let the trackers write what they hold back."""
        trackers, self._trackers = self._trackers, []
        for tracker in trackers:
            _tried(tracker.name, tracker.finish)

    def _start(self, step: int) -> None:
        for name in self._names:
            tracker = _OPENERS[name](self._folder, step)
            if _tried(name, tracker.start) and _tried(name, partial(tracker.store_init_configuration, self._flat())):
                self._trackers.append(tracker)

    def _tell(self, group: str, values: Scores, step: int) -> None:
        told = {f"{group}/{name}": value for name, value in values.items()}
        for tracker in list(self._trackers):
            if not _tried(tracker.name, partial(tracker.log, told, step=step)):
                self._trackers.remove(tracker)

    def _flat(self) -> dict[str, str | int | float | bool]:
        """The recipe by dotted paths, as trackers keep it."""
        flat: dict[str, str | int | float | bool] = {}
        for section, values in self._values.items():
            for name, value in values.items() if isinstance(values, Mapping) else [("", values)]:
                path = f"{section}.{name}" if name else section
                flat[path] = value if isinstance(value, str | int | float | bool) else str(value)
        return flat


def _tensorboard(folder: Path, step: int) -> GeneralTracker:
    # What a broken run told of steps that are taken again is hidden.
    return TensorBoardTracker(FOLDER, logging_dir=folder, **({"purge_step": step + 1} if step else {}))


def _mlflow(folder: Path, step: int) -> GeneralTracker:
    del step
    return MLflowTracker(experiment_name=PROJECT, run_name=folder.name)


def _wandb(folder: Path, step: int) -> GeneralTracker:
    del step
    return WandBTracker(PROJECT, name=folder.name, dir=str(folder))


_OPENERS: Mapping[str, Callable[[Path, int], GeneralTracker]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}


def _tried(name: str, work: Callable[[], object]) -> bool:
    """Whether a tracker did it; a warning tells of one that did not."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  # of foreign code, which may raise whatever its server or disk says
        warnings.warn(f"{name} failed and is told nothing more: {error}", RuntimeWarning, stacklevel=2)
        return False
    return True

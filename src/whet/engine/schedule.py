"""Learning rate and momentum as pure functions of the step.

A schedule that is a function has no state to lose: a resumed run is at the same rate as one that never stopped.
The one exception, plateau, follows the validation scores; its state is two numbers (``PlateauState``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pace:
    """How fast to go at one step."""

    rate: float
    """Factor on the peak learning rate."""
    momentum: float | None = None
    """Momentum, where the schedule moves it."""


@dataclass
class PlateauState:
    """What the plateau schedule remembers."""

    factor: float = 1.0
    stale: int = 0
    """Evaluations since the last better score."""

    def observe(self, better: bool, schedule: Mapping[str, Any]) -> None:
        """Take note of an evaluation; drop the rate where the patience is used up."""
        if schedule["name"] != "plateau":
            return
        self.stale = 0 if better else self.stale + 1
        if self.stale > schedule["patience"]:
            self.factor *= schedule["factor"]
            self.stale = 0


def warmup_steps(share: float, steps: int) -> int:
    """Steps of a warm-up: at least one step is left for the schedule, however short the run."""
    return min(round(share * steps), max(0, steps - 1))


def stage_ends(shares: Sequence[float], steps: int) -> list[int]:
    """The step at which each stage ends, one after its last; every stage has a step where there are enough of them.

    Where there are not, it is the first stages that have none.
    """
    ends: list[int] = []
    reached = 0.0
    for number, share in enumerate(shares, 1):
        reached += share
        begin = ends[-1] if ends else 0
        ends.append(max(begin, min(max(round(reached * steps), begin + 1), steps - (len(shares) - number))))
    return [*ends[:-1], steps]


def pace(schedule: Mapping[str, Any], warmup: float, step: int, steps: int) -> Pace:
    """Pace of step ``step`` (0 is the first) of ``steps``: a warm-up from near 0, then the schedule's own course."""
    warm = warmup_steps(warmup, steps)
    if step < warm:
        return Pace((step + 1) / (warm + 1))
    progress = (step - warm) / max(1, steps - warm)
    return course(schedule, progress)


def course(schedule: Mapping[str, Any], progress: float) -> Pace:
    """Pace of a schedule at ``progress`` in [0, 1), without warm-up."""
    match schedule["name"]:
        case "constant" | "plateau":
            return Pace(1.0)
        case "linear":
            return Pace(_between(1.0, schedule["final"], progress))
        case "cosine":
            return Pace(_cosine(1.0, schedule["final"], progress))
        case "step":
            # The small number keeps a drop at 1/3 from coming a step late by rounding.
            return Pace(schedule["factor"] ** math.floor(progress / schedule["every"] + 1e-9))
        case "cyclic":
            phase = (progress * schedule["cycles"]) % 1.0
            return Pace(_between(schedule["lowest"], 1.0, 1.0 - abs(2.0 * phase - 1.0)))
        case "one_cycle":
            return _one_cycle(schedule, progress)
        case "exponential":
            # Of a range test; a recipe cannot ask for it.
            return Pace(schedule["lowest"] ** (1.0 - progress))
        case "slanted_triangular":
            cut, ratio = schedule["cut"], schedule["ratio"]
            height = progress / cut if progress < cut else 1.0 - (progress - cut) / (1.0 - cut)
            return Pace((1.0 + height * (ratio - 1.0)) / ratio)
    raise AssertionError(f"schedule {schedule['name']} has no course")


def _one_cycle(schedule: Mapping[str, Any], progress: float) -> Pace:
    low, high, rise = schedule["lowest_momentum"], schedule["highest_momentum"], schedule["rise"]
    if progress < rise:
        part = progress / rise
        return Pace(_cosine(schedule["start"], 1.0, part), _cosine(high, low, part))
    part = (progress - rise) / (1.0 - rise)
    return Pace(_cosine(1.0, schedule["final"], part), _cosine(low, high, part))


def _between(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * part)) / 2.0

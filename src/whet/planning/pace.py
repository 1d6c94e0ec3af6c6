"""How fast a machine computes: as its products of matrices say, and as what runs took before says.

A step takes a moment for each operation however little it does, time for the bytes that simple operations read and
write, and time for products of matrices:

    seconds = operations * overhead + moved / bandwidth + flops / speed

Speed is measured on large products; the other two are guesses until something ran. Every run adds what its steps were
and what they took, and the three that explain those best are searched near what was thought before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import nnls

from whet.planning.known import known, remember

DOUBT = 0.1
"""How much what was thought before weighs beside one run."""

MOST = 40
"""Runs that are remembered."""

_FILE = "pace.json"


@dataclass(frozen=True)
class Effort:
    """What a step has to do."""

    operations: float = 0.0
    moved: float = 0.0
    """Bytes that simple operations read and write."""
    flops: float = 0.0
    """Of products of matrices."""

    def times(self, factor: float) -> Effort:
        """So many times as much."""
        return Effort(self.operations * factor, self.moved * factor, self.flops * factor)


@dataclass(frozen=True)
class Took(Effort):
    """What a step had to do, and what it took."""

    seconds: float = 0.0


@dataclass(frozen=True)
class Pace:
    """How fast a machine is."""

    speed: float
    """Floating-point operations per second of products of matrices."""
    bandwidth: float = 2e11
    """Bytes per second that simple operations read and write."""
    overhead: float = 6e-6
    """Seconds that an operation takes however little it does."""

    def seconds(self, effort: Effort) -> float:
        """Of a step that has so much to do."""
        return effort.operations * self.overhead + effort.moved / self.bandwidth + effort.flops / self.speed


_TAKEN = TypeAdapter(list[Took])


def fitted(usual: Pace, taken: Sequence[Took]) -> Pace:
    """The pace that explains what steps took, by least squares of relative errors, near to the usual one."""
    shares = [
        (one.operations * usual.overhead, one.moved / usual.bandwidth, one.flops / usual.speed, one.seconds)
        for one in taken
        if one.seconds > 0
    ]
    if not shares:
        return usual
    table = np.array(shares)
    wanted = np.concatenate([np.ones(len(table)), np.full(3, DOUBT)])
    # How many times as long as usual each of the three takes.
    times, _ = nnls(np.concatenate([table[:, :3] / table[:, 3:], DOUBT * np.eye(3)]), wanted)
    overhead, moving, multiplying = np.maximum(times, 1e-3).tolist()
    return Pace(usual.speed / multiplying, usual.bandwidth / moving, usual.overhead * overhead)


def taken(folder: Path | None, arithmetic: str) -> list[Took]:
    """What is remembered of runs in this arithmetic on this machine."""
    try:
        return _TAKEN.validate_python(known(folder, _FILE).get(arithmetic, []))
    except ValidationError:
        return []


def learn(folder: Path, arithmetic: str, took: Took) -> None:
    """Remember a run."""
    kept: list[Any] = _TAKEN.dump_python([*taken(folder, arithmetic), took][-MOST:])
    remember(folder, _FILE, arithmetic, kept)

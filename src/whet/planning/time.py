"""Seconds of a run: of a step, of an epoch, and of all, by what was counted and how fast a machine is. Pure.

A step over tokens n takes

    seconds = operations * overhead + bytes / bandwidth + flops / speed

of which the first is the same for every batch and the others grow with n. What a step of a frozen beginning takes is
paid once for each row where its outputs are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whet.planning.trace import Traced

UPDATE = 28
"""Bytes that AdamW reads and writes for each number that trains: weight, gradient and two moments."""


@dataclass(frozen=True)
class Pace:
    """How fast a machine is."""

    speed: float
    """Floating-point operations per second of products of matrices."""
    bandwidth: float = 2.5e10
    """Bytes per second that simple operations read and write."""
    overhead: float = 1.2e-5
    """Seconds that an operation takes however little it does."""


@dataclass(frozen=True)
class Line:
    """Seconds of a batch as a line over its tokens."""

    fixed: float
    each: float

    def of(self, tokens: float) -> float:
        """Of a batch of so many tokens, padding included."""
        return self.fixed + self.each * tokens

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> Line:
        """The line through two (tokens, seconds), which neither begins below zero nor falls."""
        (few, quick), (many, slow) = sorted((first, second))
        each = max(0.0, (slow - quick) / (many - few)) if many > few else slow / many
        fixed = slow - each * many
        return cls(fixed, each) if fixed >= 0 else cls(0.0, slow / many)


@dataclass(frozen=True)
class Duration:
    """Seconds of a run."""

    step: float
    """Of a step over a batch of usual length."""
    epoch: float
    evaluations: float
    """Of all evaluations."""
    total: float
    """Of all epochs, with evaluations, and with what is computed once."""


def step_line(traced: Traced, tokens: int, trained: int, pace: Pace) -> Line:
    """What a traced step over so many tokens says of the steps over others."""
    fixed = traced.operations * pace.overhead + UPDATE * trained / pace.bandwidth
    return Line(fixed, (traced.moved / pace.bandwidth + traced.flops / pace.speed) / tokens)


def reading_line(flops: float, tokens: int, pace: Pace) -> Line:
    """The same of passes without gradients."""
    return Line(0.0, flops / pace.speed / tokens)


def duration(
    batches: Sequence[int], steps: int, step: Line, once: float, evaluation: float, evaluations: int
) -> Duration:
    """Seconds of a run of ``steps``, whose epoch has batches of so many tokens.

    ``once`` is what is computed before the steps, ``evaluation`` what one reading of the validation rows takes.
    """
    mean = sum(step.of(tokens) for tokens in batches) / len(batches)
    every = evaluation * evaluations
    return Duration(mean, mean * len(batches) + evaluation, every, once + mean * steps + every)

"""Seconds of a run: of a step, of an epoch, and of all, by what was counted and how fast a machine is. Pure.

Of what a step takes (see ``pace.py``) the time of operations is the same for every batch, and that of bytes and
products grows with its tokens. What a step of a frozen beginning takes is paid once for each row where its outputs are
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whet.planning.pace import Effort, Pace

if TYPE_CHECKING:
    from whet.planning.trace import Traced

UPDATE = 28
"""Bytes that AdamW reads and writes for each number that trains: weight, gradient and two moments."""


@dataclass(frozen=True)
class Load:
    """What batches have to do, by their tokens."""

    fixed: Effort
    each: Effort
    """For a token."""

    @classmethod
    def of(cls, traced: Traced, tokens: int, passes: int = 1, trained: int = 0) -> Load:
        """As a pass over so many tokens was traced, of which a step takes some and changes ``trained`` numbers."""
        fixed = Effort(traced.operations * passes, UPDATE * trained)
        return cls(fixed, Effort(0.0, traced.moved, traced.flops).times(1 / max(1, tokens)))

    def over(self, tokens: float) -> Effort:
        """Of a batch of so many tokens."""
        more = self.each.times(tokens)
        return Effort(self.fixed.operations, self.fixed.moved + more.moved, more.flops)

    def line(self, pace: Pace) -> Line:
        """In seconds."""
        return Line(pace.seconds(self.fixed), pace.seconds(self.each))


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
    stages: tuple[tuple[float, float], ...] = ()
    """Of each stage its share of the steps, and the seconds of them."""


def by_stage(stages: Sequence[tuple[float, float]], stored: Sequence[bool]) -> list[tuple[float, float]]:
    """Of each stage its share of the steps, and how long one takes beside one of the stage that trains most.

    ``stages`` are shares of the run, and of the blocks that are frozen from the bottom on. A gradient takes two forward
    passes of what trains; what is frozen is passed, or read in stages whose outputs are ``stored``.
    """
    if len(stages) == 1:
        return [(1.0, 1.0)]
    kept = zip(stages, stored, strict=True)
    work = [(1 - frozen if read else 1) + 2 * (1 - frozen) for (_, frozen), read in kept]
    whole = sum(share for share, _ in stages)
    return [(share / whole, one / max(work)) for (share, _), one in zip(stages, work, strict=True)]


def duration(
    batches: Sequence[int],
    steps: int,
    step: Line,
    once: float,
    evaluation: float,
    evaluations: int,
    stages: Sequence[tuple[float, float]] = ((1.0, 1.0),),
) -> Duration:
    """Seconds of a run of ``steps``, whose epoch has batches of so many tokens.

    ``step`` is that of the longest of ``stages``, ``once`` what is computed before the steps, ``evaluation`` what one
    reading of the validation rows takes.
    """
    longest = sum(step.of(tokens) for tokens in batches) / len(batches)
    taken = tuple((share, share * steps * longest * beside) for share, beside in stages)
    training, every = sum(seconds for _, seconds in taken), evaluation * evaluations
    mean = training / steps
    return Duration(mean, mean * len(batches) + evaluation, every, once + training + every, taken)

"""Successive halving: who goes on training, and for how long.

Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (arXiv
1502.07943). All train for a first part of their steps, are scored on the same validation rows, and most are dropped;
the others go on from where they stopped. Scores are noisy, so whoever is not clearly worse stays. Knows no model and no
file.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Parts of its steps after which a candidate is looked at."""

LEAST = 100
"""Steps before which nobody is looked at: they tell how fast a learning rate rises, not what a method can do."""

KEPT = 1 / 4
"""Share of the candidates that goes on in any case, rounded up."""

FINALISTS = 2
"""Candidates that go on at least: one alone is better than nobody by nothing."""


@dataclass(frozen=True)
class Gap:
    """How far a candidate is behind the leader, on the same rows."""

    behind: float
    """In the measure that leads; more is worse."""
    error: float
    """Standard error of that difference."""
    score: float = 0.0
    """How far its metric is below the highest of all."""
    score_error: float = 0.0
    """Standard error of that."""
    measure: str = "loss"
    """In which it is behind."""


@dataclass(frozen=True)
class Decision:
    """Who goes on after a rung."""

    kept: tuple[str, ...]
    """The best first."""
    dropped: tuple[str, ...]


def rungs(steps: int, every: int | None = None) -> tuple[int, list[int]]:
    """Steps between two evaluations, and the steps after which candidates are looked at, the last one left out.

    Those are the ``SHARES`` of all ``steps`` from ``LEAST`` on, at evaluations of the run itself, so being looked at
    changes nothing. ``every`` is how many steps the user wants between two evaluations. A rung that would fall on
    another, or on the end, is left out; a short run has none.
    """
    apart = every or max(1, int(steps * SHARES[0]))
    places = (share * steps / apart if every else share / SHARES[0] for share in SHARES)
    at = {math.ceil(place - 1e-9) * apart for place in places}
    return apart, sorted(step for step in at if LEAST <= step < steps)


def decide(gaps: Mapping[str, Gap], most: int | None = None, advised: Collection[str] = ()) -> Decision:
    """Drop the slowest learners.

    ``gaps`` holds every candidate; the leader has a gap of 0. Candidates are ranked by how far they are behind. The
    first ``KEPT`` of them, rounded up, go on, and ``FINALISTS`` at least; the first of the ``advised`` is one of them,
    as rungs are early and a low learning rate learns slower. So does everyone who is behind by one standard error of
    the paired difference or less, in what leads or in the metric: such a one may well be ahead. Where there is time for
    ``most`` candidates only, the rest of those stays behind after all.
    """
    ranked = sorted(gaps, key=lambda name: gaps[name].behind)
    share = math.ceil(KEPT * len(ranked))
    known = [name for name in ranked if name in advised][:1]
    sure = {*known, *[name for name in ranked if name not in known][: max(share, FINALISTS) - len(known)]}
    kept = [name for name in ranked if name in sure or in_doubt(gaps[name])]
    kept = kept if most is None else kept[: max(most, share)]
    return Decision(tuple(kept), tuple(name for name in ranked if name not in kept))


def in_doubt(gap: Gap) -> bool:
    """Whether a candidate may well be ahead of the leader."""
    return gap.behind <= gap.error or gap.score <= gap.score_error


def rounds(candidates: int, steps: int, at: Sequence[int]) -> list[tuple[int, int]]:
    """How many candidates take how many steps in each round, if nobody is saved by the standard error."""
    planned, before = [], 0
    for rung in (*at, steps):
        planned.append((candidates, rung - before))
        candidates, before = min(candidates, max(FINALISTS, math.ceil(KEPT * candidates))), rung
    return planned

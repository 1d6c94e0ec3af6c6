"""How much better one is than another, and whether that is more than noise.

Two things make a score uncertain: which rows were measured, and which seeds were tried. Everybody who is compared is
measured on the same rows, and with the same seeds, so what is uncertain is the *difference* in the same rows, which is
far less than each score by itself (Dror et al. 2018, "The Hitchhiker's Guide to Testing Statistical Significance in
Natural Language Processing"). Rows are drawn anew from the rows, with replacement, by the paired bootstrap (Efron and
Tibshirani 1993; Koehn 2004), and so are seeds.

Knows no model, no task and no file.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

CONFIDENCE = 0.95

RESAMPLES = 2000
"""How often rows are drawn where the score is a mean over rows."""
FEW_RESAMPLES = 200
"""The same where each takes the score to be computed anew."""


@dataclass(frozen=True)
class Sample:
    """What one run scores, on the rows as they are and on rows drawn anew: the same for all who are compared."""

    score: float
    draws: np.ndarray
    """(R,) scores on rows drawn anew."""
    right: np.ndarray | None = None
    """(N,) whether each answer is right; None where answers are more or less right."""
    losses: np.ndarray | None = None
    """(N,) the loss of each row, where it is known."""

    @classmethod
    def of_rows(cls, values: np.ndarray, right: np.ndarray | None = None) -> "Sample":
        """Of a score that is the mean of (N,) values."""
        values = values.astype(np.float64)
        draws = np.array([values[rows].mean() for rows in resamples(len(values), RESAMPLES)])
        return cls(float(values.mean()), draws, right)

    @classmethod
    def of_score(cls, count: int, score: Callable[[np.ndarray], float], right: np.ndarray | None = None) -> "Sample":
        """Of a score that is computed from all of N rows together; ``score`` takes row numbers."""
        draws = np.array([score(rows) for rows in resamples(count, FEW_RESAMPLES)])
        return cls(float(score(np.arange(count))), draws, right)


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and where it lies 95 times of 100."""

    value: float
    error: float
    low: float
    high: float


def resamples(rows: int, count: int) -> Iterator[np.ndarray]:
    """``count`` times (rows,) row numbers, drawn with replacement; the same at every call."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield generator.integers(0, rows, rows)


def mean(samples: Sequence[Sample]) -> Estimate:
    """The score over seeds, for one sample a seed."""
    return _estimate(np.array([one.score for one in samples]), np.stack([one.draws for one in samples], axis=1))


def difference(one: Sequence[Sample], other: Sequence[Sample]) -> Estimate:
    """By how much the score of one is above that of the other; both have a sample for each of the same seeds."""
    scores = np.array([a.score - b.score for a, b in zip(one, other, strict=True)])
    return _estimate(scores, np.stack([a.draws - b.draws for a, b in zip(one, other, strict=True)], axis=1))


def loss_difference(one: Sequence[Sample], other: Sequence[Sample]) -> Estimate | None:
    """By how much the loss of one is above that of the other; None where losses of rows are not known."""
    pairs = [(a.losses, b.losses) for a, b in zip(one, other, strict=True)]
    known = np.array([a - b for a, b in pairs if a is not None and b is not None], dtype=np.float64)
    if len(known) < len(pairs):
        return None
    seeds, rows = known.shape
    error = known.mean(axis=0).var(ddof=1) / rows if rows > 1 else 0.0
    error += known.mean(axis=1).var(ddof=1) / seeds if seeds > 1 else 0.0
    value, reach = float(known.mean()), 1.96 * float(np.sqrt(error))
    return Estimate(value, float(np.sqrt(error)), value - reach, value + reach)


def mcnemar(one: Sequence[Sample], other: Sequence[Sample]) -> float | None:
    """p of McNemar's exact test that both are right equally often; None where answers are not right or wrong.

    Of n rows that only one of the two gets right, b are those of the one: under chance b is binomial with n and 1/2,
    and p is two-sided (McNemar 1947). With several seeds a row is the one's where it gets it right with more of them.
    """
    rights = [(a.right, b.right) for a, b in zip(one, other, strict=True)]
    known = [(a.astype(int), b.astype(int)) for a, b in rights if a is not None and b is not None]
    if len(known) < len(rights):
        return None
    balance = sum((a - b for a, b in known), start=np.zeros(len(known[0][0]), dtype=int))
    ours, theirs = int((balance > 0).sum()), int((balance < 0).sum())
    return float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0


def _estimate(scores: np.ndarray, draws: np.ndarray) -> Estimate:
    """From (S,) scores of S seeds, and (R, S) scores on the same rows drawn anew."""
    resampled, seeds = draws.mean(axis=1), len(scores)
    if seeds > 1:
        chosen = np.random.default_rng(1).integers(0, seeds, draws.shape)
        apart = np.take_along_axis(draws, chosen, axis=1).mean(axis=1) - resampled
        # Few seeds drawn from themselves lie too close together, by this much.
        resampled = resampled + apart * np.sqrt(seeds / (seeds - 1))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Estimate(float(scores.mean()), float(resampled.std(ddof=1)), float(low), float(high))

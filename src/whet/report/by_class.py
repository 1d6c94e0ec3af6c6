"""Where a model is right and where it is wrong: class by class, pair by pair, and by how sure it is.

Shape letters: N rows, C classes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from whet.report.intervals import wilson
from whet.report.judged import Classes, Labels, Marks

BINS = 10
"""Of probabilities, all as wide."""


@dataclass(frozen=True)
class OfClass:
    """How well one class is told from the others."""

    name: str
    precision: float | None
    """Share of the answers of this class that are right; None where there is none."""
    recall: float | None
    """Share of the rows of this class that are found; None where there is none."""
    f1: float
    support: int
    """Rows of this class."""
    answered: int
    """Rows that were answered with it."""


@dataclass(frozen=True)
class Bin:
    """Answers of about one probability."""

    low: float
    high: float
    probability: float
    """Mean of what the model said."""
    share: float
    """Of the answers that are right."""
    interval: tuple[float, float]
    rows: int


def table(answers: Classes | Labels | Marks) -> list[OfClass]:
    """A row for every class, in the order of the data; of tags that mark parts for every kind of part."""
    if isinstance(answers, Marks):
        return _of_marks(answers)
    if isinstance(answers, Classes):
        hit = answers.targets[answers.targets == answers.predicted]
        sides = (hit, answers.predicted, answers.targets)
        hits, answered, support = (np.bincount(side, minlength=len(answers.names)) for side in sides)
    else:
        wanted, found = answers.targets.astype(bool), answers.predicted
        hits, answered, support = (wanted & found).sum(axis=0), found.sum(axis=0), wanted.sum(axis=0)
    counts = zip(answers.names, hits.tolist(), answered.tolist(), support.tolist(), strict=True)
    return [_row(*one) for one in counts]


def confusion(answers: Classes) -> np.ndarray:
    """(C, C) rows of each class, by the class that was answered."""
    classes = len(answers.names)
    pairs = answers.targets * classes + answers.predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confused(answers: Classes, most: int) -> list[tuple[str, str, int, int]]:
    """The most frequent mistakes: the right class, the answer, how often, and the rows of that class."""
    counts = confusion(answers)
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [
        (answers.names[i], answers.names[j], int(counts[i, j]), int(support[i])) for i, j in pairs if counts[i, j] > 0
    ]


def calibration(answers: Classes) -> tuple[list[Bin], float]:
    """Bins of the probability of the answer, those that hold rows, and the expected calibration error.

    ECE (Naeini et al. 2015) is the mean over the rows of |share that is right - probability| of their bin.
    """
    sure = answers.probabilities.max(axis=1)
    right = answers.predicted == answers.targets
    numbers = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    bins, error = [], 0.0
    for number in range(BINS):
        inside = numbers == number
        rows = int(inside.sum())
        if rows:
            probability, share = float(sure[inside].mean()), float(right[inside].mean())
            bounds = wilson(int(right[inside].sum()), rows)
            bins.append(Bin(number / BINS, (number + 1) / BINS, probability, share, bounds, rows))
            error += rows * abs(share - probability) / len(sure)
    return bins, error


def _of_marks(answers: Marks) -> list[OfClass]:
    hits: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for wanted, found in zip(answers.wanted, answers.found, strict=True):
        right, said = {part for _, part in wanted}, {part for _, part in found}
        hits.update(part.label for part in right & said)
        answered.update(part.label for part in said)
        support.update(part.label for part in right)
    names = sorted({*answered, *support}, key=lambda name: (-support[name], name))
    return [_row(name, hits[name], answered[name], support[name]) for name in names]


def _row(name: str, hits: int, answered: int, support: int) -> OfClass:
    precision = hits / answered if answered else None
    recall = hits / support if support else None
    return OfClass(name, precision, recall, 2 * hits / max(answered + support, 1), support, answered)

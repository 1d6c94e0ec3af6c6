"""How far scores would move if other rows of the same kind had been measured: the bootstrap, without a model.

Every score here follows from sums over rows. So N rows are drawn anew by weights, and all scores of all draws are a
product of two matrices. Runs that were measured on the same rows are given the same draws, so their difference is
paired.

Efron and Tibshirani 1993, An Introduction to the Bootstrap: intervals are the percentiles 2.5 and 97.5. Where not one
row is wrong, or right, draws never differ, and Wilson's interval (1927) of the share of rows stands in.

Shape letters: N rows, G groups of them, C classes, K sums, R draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from whet.core import Scores
from whet.metrics import SMALLEST_PROBABILITY
from whet.report.edits import edits
from whet.report.judged import Classes, Judged, Labels, Marks, Numbers, Texts
from whet.report.naming import PERCENT
from whet.run.comparison import Interval

DRAWS = 1000
GROUPS = 2000
"""More rows than these are drawn in as many groups, which takes a fraction of the time and is as exact."""
AGREES = 2e-3
"""A score that is computed anew from the kept rows may differ by so much from that of the run; else it is not the
same score, as where only some of the rows were kept."""
CERTAIN = 1.96
"""Standard errors within which the true value lies 95 times of 100."""

Measured: TypeAlias = dict[str, np.ndarray]
"""Metric to its values, (R,)."""


@dataclass(frozen=True)
class Sums:
    """What each row adds to the sums from which scores follow."""

    count: int
    """Rows."""
    groups: np.ndarray
    """(G, K) of each row, or of each group of rows where there are many."""
    scores: Callable[[np.ndarray], Measured]
    """From (R, K) sums."""


def sums(answers: Judged) -> Sums | None:
    """The sums of judged rows; None where scores do not follow from any."""
    match answers:
        case Classes():
            return _of_classes(answers)
        case Labels():
            return _of_labels(answers)
        case Numbers():
            return _of_numbers(answers)
        case Marks():
            return _of_marks(answers)
        case Texts():
            return _of_texts(answers)


def drawn(found: Sums) -> Measured:
    """(R,) values of every metric, one for each draw of the rows."""
    return found.scores(_weights(len(found.groups)) @ found.groups)


def intervals(answers: Judged, recorded: Scores) -> dict[str, Interval]:
    """The interval of each recorded metric that the rows allow; the value is the recorded one."""
    found = sums(answers)
    if found is None:
        return {}
    exact, draws = found.scores(found.groups.sum(axis=0, keepdims=True)), drawn(found)
    known = {}
    for metric, value in recorded.items():
        if metric not in exact or abs(float(exact[metric][0]) - value) > AGREES * max(1.0, abs(value)):
            continue
        low, high = (float(bound) for bound in np.quantile(draws[metric], (0.025, 0.975)))
        if metric in PERCENT and low == high and value in (0.0, 1.0):
            low, high = wilson(round(value * found.count), found.count)
        known[metric] = Interval(value, low, high)
    return known


def wilson(right: int, rows: int) -> tuple[float, float]:
    """Where the true share lies, 95 times of 100, of which ``right`` of ``rows`` were seen."""
    share, square = right / rows, CERTAIN**2 / rows
    middle = share + square / 2
    spread = CERTAIN * float(np.sqrt(share * (1 - share) / rows + square / (4 * rows)))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


@cache
def _weights(count: int) -> np.ndarray:
    """(R, N) how often each row is drawn; the same for as many rows."""
    chosen = np.random.default_rng(0).integers(0, count, size=(DRAWS, count))
    places = chosen + count * np.arange(DRAWS)[:, None]
    return np.bincount(places.ravel(), minlength=DRAWS * count).reshape(DRAWS, count).astype(np.float64)


def _group_of(rows: int) -> tuple[np.ndarray, int]:
    """(N,) the group of each row, drawn at random where there are many rows, and how many groups there are."""
    if rows <= GROUPS:
        return np.arange(rows), rows
    return np.random.default_rng(1).permutation(rows) % GROUPS, GROUPS


def _summed(rows: np.ndarray, scores: Callable[[np.ndarray], Measured]) -> Sums:
    """Sums of (N, K) rows."""
    group, groups = _group_of(len(rows))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    return Sums(len(rows), np.add.reduceat(rows[order], starts, axis=0), scores)


def _of_classes(answers: Classes) -> Sums:
    classes, rows = len(answers.names), np.arange(len(answers.targets))
    losses = -np.log(answers.probabilities[rows, answers.targets].clip(SMALLEST_PROBABILITY, 1.0))
    group, groups = _group_of(len(rows))

    def counted(numbers: np.ndarray, at: np.ndarray) -> np.ndarray:
        # (G, C): a row of zeros and ones for each row would take far more room where classes are many.
        return np.bincount(group[at] * classes + numbers[at], minlength=groups * classes).reshape(groups, classes)

    def scores(summed: np.ndarray) -> Measured:
        hits, found, truth = np.split(summed[:, : 3 * classes], 3, axis=1)
        total, loss = summed[:, -2], summed[:, -1]
        f1, occurs = _f1(hits, found, truth), (found + truth) > 0
        right = hits.sum(axis=1)
        spread = (total**2 - (found**2).sum(axis=1)) * (total**2 - (truth**2).sum(axis=1))
        agreement = right * total - (found * truth).sum(axis=1)
        measured = {
            "accuracy": right / total,
            "macro_f1": f1.sum(axis=1) / occurs.sum(axis=1),
            "weighted_f1": (f1 * truth).sum(axis=1) / total,
            "matthews": np.divide(agreement, np.sqrt(spread), out=np.zeros_like(total), where=spread > 0),
            "log_loss": loss / total,
        }
        return measured | ({"f1": f1[:, 1]} if classes == 2 else {})

    hit = answers.targets == answers.predicted
    columns = [counted(answers.targets, hit)]
    columns += [counted(numbers, rows) for numbers in (answers.predicted, answers.targets)]
    columns += [np.bincount(group, weights=one, minlength=groups)[:, None] for one in (np.ones(len(rows)), losses)]
    return Sums(len(rows), np.concatenate(columns, axis=1).astype(np.float64), scores)


def _of_labels(answers: Labels) -> Sums:
    classes = len(answers.names)
    truth, found = answers.targets.astype(bool), answers.predicted
    same = truth == found

    def scores(summed: np.ndarray) -> Measured:
        hits, chosen, wanted = np.split(summed[:, : 3 * classes], 3, axis=1)
        whole, single, total = summed[:, -3], summed[:, -2], summed[:, -1]
        f1, occurs = _f1(hits, chosen, wanted), (chosen + wanted) > 0
        return {
            "micro_f1": _f1(hits.sum(axis=1), chosen.sum(axis=1), wanted.sum(axis=1)),
            "macro_f1": f1.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1),
            "subset_accuracy": whole / total,
            "hamming_accuracy": single / (total * classes),
        }

    beside = np.stack([same.all(axis=1), same.sum(axis=1), np.ones(len(same))], axis=1)
    return _summed(np.concatenate([truth & found, found, truth, beside], axis=1).astype(np.float64), scores)


def _of_numbers(answers: Numbers) -> Sums:
    found, wanted = answers.predicted, answers.targets
    errors = found - wanted
    ranks = [_ranks(found), _ranks(wanted)]
    columns = [np.ones_like(found), *_products(found, wanted), *_products(*ranks), errors**2, np.abs(errors)]

    def scores(summed: np.ndarray) -> Measured:
        total, squares = summed[:, 0], summed[:, -2]
        of_wanted = summed[:, 4] - summed[:, 2] ** 2 / total
        return {
            "pearson": _correlation(total, summed[:, 1:6]),
            "spearman": _correlation(total, summed[:, 6:11]),
            "r2": np.where(of_wanted > 0, 1 - squares / np.where(of_wanted > 0, of_wanted, 1), 0.0),
            "mean_squared_error": squares / total,
            "mean_absolute_error": summed[:, -1] / total,
        }

    return _summed(np.stack(columns, axis=1), scores)


def _of_marks(answers: Marks) -> Sums:
    rows = []
    tags = answers.tags or [((), ())] * len(answers.wanted)
    names = sorted({tag for row in tags for side in row for tag in side}) if not answers.scheme else []
    place = {name: number for number, name in enumerate(names)}
    for (right, answered), wanted, found in zip(tags, answers.wanted, answers.found, strict=True):
        marked, chosen = {part for _, part in wanted}, {part for _, part in found}
        same = [one for one, other in zip(right, answered, strict=True) if one == other]
        sides = (same, answered, right) if names else ()
        counts = [np.bincount([place[tag] for tag in side], minlength=len(names)) for side in sides]
        beside = [len(marked & chosen), len(chosen), len(marked), len(same), len(right)]
        rows.append(np.concatenate([*counts, beside]))

    def scores(summed: np.ndarray) -> Measured:
        hits, chosen, wanted, same, all_tags = (summed[:, i] for i in range(-5, 0))
        measured: Measured = {}
        if answers.tags:
            measured["token_accuracy"] = same / np.maximum(all_tags, 1)
        if answers.scheme:
            recall, precision = hits / np.maximum(wanted, 1), hits / np.maximum(chosen, 1)
            return measured | {"f1": _f1(hits, chosen, wanted), "precision": precision, "recall": recall}
        by_tag = np.split(summed[:, : 3 * len(names)], 3, axis=1)
        occurs = (by_tag[1] + by_tag[2]) > 0
        return measured | {"macro_f1": _f1(*by_tag).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)}

    return _summed(np.array(rows, dtype=np.float64), scores)


def _of_texts(answers: Texts) -> Sums | None:
    pairs = [(wanted, said) for wanted, said in zip(answers.wanted, answers.written, strict=True) if wanted is not None]
    if not pairs:
        return None
    results = all("####" in wanted for wanted, _ in pairs)
    rows = []
    for wanted, said in pairs:
        wanted_words, words = wanted.split(), said.split()
        wrong = [edits(wanted_words, words), len(wanted_words), edits(wanted, said), len(wanted)]
        rows.append([*wrong, _result(wanted, results) == _result(said, results), 1])

    def scores(summed: np.ndarray) -> Measured:
        words, all_words, characters, all_characters, same, total = summed.T
        return {
            "wer": words / np.maximum(all_words, 1),
            "cer": characters / np.maximum(all_characters, 1),
            "exact_match": same / total,
        }

    return _summed(np.array(rows, dtype=np.float64), scores)


def _result(text: str, told: bool) -> str:
    """What is compared of a text: the result behind ``####`` where all wanted texts have ``told`` it there."""
    return " ".join((text.rpartition("####")[2] if told else text).split())


def _f1(hits: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.asarray(2 * hits / np.maximum(found + wanted, 1))


def _products(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    # Around the means: sums of large squares would lose the digits that matter.
    left, right = left - left.mean(), right - right.mean()
    return [left, right, left**2, right**2, left * right]


def _correlation(total: np.ndarray, five: np.ndarray) -> np.ndarray:
    """(R,) from sums of x, y, x², y² and xy."""
    left, right, left_squares, right_squares, both = five.T
    spread = (left_squares - left**2 / total) * (right_squares - right**2 / total)
    together = both - left * right / total
    return np.asarray(np.divide(together, np.sqrt(spread.clip(0)), out=np.zeros_like(total), where=spread > 1e-20))


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks; equal values share the mean of theirs."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: np.ndarray = np.cumsum(counts) - (counts - 1) / 2
    return means[position]

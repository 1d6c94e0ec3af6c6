"""The rows that tell most about a model: where it was sure and wrong, or farthest from what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whet.report.edits import edits
from whet.report.judged import Classes, Judged, Labels, Marks, Numbers, Texts

MOST = 12
"""Mistakes that are shown."""
SAMPLES = 12
"""Texts that are shown."""


@dataclass(frozen=True)
class Mistake:
    """A row that was answered wrongly."""

    row: int
    """Among the measured rows, from 0 on."""
    wanted: str
    answered: str
    probability: float | None
    """Of the answer; None where there is no such thing."""
    of_wanted: float | None
    """Probability of what was wanted."""


@dataclass(frozen=True)
class Difference:
    """A row in which parts were marked otherwise than wanted."""

    row: int
    text: str
    right: list[tuple[str, str]]
    """Words and label of what is marked and was wanted."""
    missed: list[tuple[str, str]]
    """What was wanted and is not marked."""
    invented: list[tuple[str, str]]
    """What is marked and was not wanted."""


@dataclass(frozen=True)
class Sample:
    """What was written for a row."""

    row: int
    asked: list[object]
    wanted: str | None
    written: str
    wrong: float | None
    """Share of the wanted words that are wrong; None where texts cannot be right or wrong."""


def mistakes(answers: Judged) -> list[Mistake]:
    """The most surprising ones first; none of texts and parts, which are told in other ways."""
    match answers:
        case Classes():
            return _of_classes(answers)
        case Labels():
            return _of_labels(answers)
        case Numbers():
            order = np.argsort(-np.abs(answers.predicted - answers.targets), kind="stable")[:MOST]
            return [
                Mistake(int(i), f"{answers.targets[i]:g}", f"{answers.predicted[i]:.4g}", None, None) for i in order
            ]
        case _:
            return []


def count(answers: Judged) -> int:
    """How many rows are not answered as wanted."""
    match answers:
        case Classes():
            return int((answers.predicted != answers.targets).sum())
        case Labels():
            return int((answers.predicted != answers.targets.astype(bool)).any(axis=1).sum())
        case Marks():
            pairs = zip(answers.wanted, answers.found, strict=True)
            return sum({part for _, part in wanted} != {part for _, part in found} for wanted, found in pairs)
        case _:
            return 0


def differences(answers: Marks) -> list[Difference]:
    """The rows with most parts that are missed or invented."""
    found = []
    for row, (text, wanted, marked) in enumerate(zip(answers.texts, answers.wanted, answers.found, strict=True)):
        right, said = {part for _, part in wanted}, {part for _, part in marked}
        if right != said:
            same = [(words, part.label) for words, part in wanted if part in said]
            missed = [(words, part.label) for words, part in wanted if part not in said]
            invented = [(words, part.label) for words, part in marked if part not in right]
            found.append(Difference(row, text, same, missed, invented))
    return sorted(found, key=lambda one: -len(one.missed) - len(one.invented))[:MOST]


def samples(answers: Texts, *, transcripts: bool) -> list[Sample]:
    """What was written for the first rows; of transcripts the worst ones."""
    found = []
    for row, (asked, wanted, said) in enumerate(zip(answers.asked, answers.wanted, answers.written, strict=True)):
        wrong = None
        if transcripts and wanted is not None:
            wrong = edits(wanted.split(), said.split()) / max(len(wanted.split()), 1)
        found.append(Sample(row, asked, wanted, said, wrong))
    if transcripts:
        found.sort(key=lambda one: -(one.wrong or 0.0))
    return found[:SAMPLES]


def _of_classes(answers: Classes) -> list[Mistake]:
    rows = np.arange(len(answers.targets))
    sure = answers.probabilities[rows, answers.predicted]
    of_wanted = answers.probabilities[rows, answers.targets]
    wrong = rows[answers.predicted != answers.targets]
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST]
    names = answers.names
    return [
        Mistake(int(i), names[answers.targets[i]], names[answers.predicted[i]], float(sure[i]), float(of_wanted[i]))
        for i in order
    ]


def _of_labels(answers: Labels) -> list[Mistake]:
    """By the single label that was told with most certainty and is wrong."""
    truth = answers.targets.astype(bool)
    surprise = np.where(truth, 1 - answers.probabilities, answers.probabilities) * (answers.predicted != truth)
    worst = surprise.max(axis=1)
    order = [int(i) for i in np.argsort(-worst, kind="stable")[:MOST] if worst[i] > 0]
    found = []
    for row in order:
        label = int(surprise[row].argmax())
        told = float(answers.probabilities[row, label])
        chosen = (None, told) if truth[row, label] else (told, None)
        found.append(Mistake(row, _listed(answers, truth[row]), _listed(answers, answers.predicted[row]), *chosen))
    return found


def _listed(answers: Labels, truths: Sequence[bool] | np.ndarray) -> str:
    return ", ".join(name for name, holds in zip(answers.names, truths, strict=True) if holds) or "–"

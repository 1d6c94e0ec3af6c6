"""What a page shows of single answers: class by class, the mistakes, how sure the model is, what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from whet.report import mistakes, svg
from whet.report.by_class import Bin, OfClass, calibration, confused, confusion, table
from whet.report.contents import RunContents
from whet.report.judged import Classes, Judged, Labels, Marks, Numbers, Texts
from whet.report.media import Shelf
from whet.report.mistakes import Difference, Mistake, Sample
from whet.report.words import Words

WIDEST = 16
"""Classes of which every pair is shown; of more of them the most frequent mistakes stand in a list."""
PAIRS = 15
"""Mistakes in that list."""
MOST_CLASSES = 200
"""Classes of which a table tells."""
LONGEST = 600
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Asked:
    """A row as the model read it: texts, and a picture or a sound as a data URI."""

    texts: list[str]
    picture: str | None = None
    sound: str | None = None


@dataclass(frozen=True)
class AnswersPage:
    """All that is known of single answers; what is empty has no section."""

    rows: int = 0
    """Rows of which the answers are kept."""
    classes: list[OfClass] = field(default_factory=list)
    more_classes: int = 0
    """Classes that are left out."""
    names: list[str] = field(default_factory=list)
    """Heads of the confusion matrix; none where there are too many classes."""
    confusion: list[list[tuple[int, float]]] = field(default_factory=list)
    """Rows and their share of the right class, by the right class and by the answer."""
    confused: list[tuple[str, str, int, int]] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=list)
    calibration_error: float = 0.0
    reliability: Markup | None = None
    cloud: Markup | None = None
    wrong: int = 0
    """Rows that are not answered as wanted."""
    mistakes: list[tuple[Mistake, Asked]] = field(default_factory=list)
    differences: list[tuple[Difference, Asked]] = field(default_factory=list)
    samples: list[tuple[Sample, Asked]] = field(default_factory=list)


def answers_page(run: RunContents, answers: Judged | None, t: Words) -> AnswersPage:
    """What to show of the answers of a run; nothing where they are not kept."""
    rows = 0 if run.table is None else len(run.table)
    shelf = Shelf(run.recipe, run.measured)
    match answers:
        case None:
            return AnswersPage()
        case Classes():
            return _of_classes(run, answers, shelf, t)
        case Labels():
            classes = table(answers)
            return AnswersPage(
                rows=rows,
                classes=classes[:MOST_CLASSES],
                more_classes=max(0, len(classes) - MOST_CLASSES),
                wrong=mistakes.count(answers),
                mistakes=_with_rows(run, mistakes.mistakes(answers), shelf),
            )
        case Numbers():
            alt = t("Predicted numbers against the true ones, {rows} rows.", rows=rows)
            cloud = svg.cloud(answers.targets, answers.predicted, alt=alt, across=t("true value"))
            return AnswersPage(rows=rows, cloud=cloud, mistakes=_with_rows(run, mistakes.mistakes(answers), shelf))
        case Marks():
            differences = [(one, Asked([_cut(one.text)])) for one in mistakes.differences(answers)]
            return AnswersPage(
                rows=rows, classes=table(answers), wrong=mistakes.count(answers), differences=differences
            )
        case Texts():
            samples = mistakes.samples(answers, transcripts=run.problem == "transcript")
            return AnswersPage(rows=rows, samples=[(one, _asked(run, one.asked, shelf)) for one in samples])


def _of_classes(run: RunContents, answers: Classes, shelf: Shelf, t: Words) -> AnswersPage:
    bins, error = calibration(answers)
    points = [(one.probability, one.share, *one.interval, one.rows) for one in bins]
    alt = t("How often answers are right, by the probability that the model gives them.")
    few = len(answers.names) <= WIDEST
    classes = table(answers)
    return AnswersPage(
        rows=len(answers.targets),
        classes=classes[:MOST_CLASSES],
        more_classes=max(0, len(classes) - MOST_CLASSES),
        names=answers.names if few else [],
        confusion=_shares(confusion(answers)) if few else [],
        confused=[] if few else confused(answers, PAIRS),
        bins=bins,
        calibration_error=error,
        reliability=svg.reliability(points, alt=alt, across=t("probability of the answer")),
        wrong=mistakes.count(answers),
        mistakes=_with_rows(run, mistakes.mistakes(answers), shelf),
    )


def _shares(counts: np.ndarray) -> list[list[tuple[int, float]]]:
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pairs = zip(counts.tolist(), (counts / totals).tolist(), strict=True)
    return [list(zip(row, shares, strict=True)) for row, shares in pairs]


def _with_rows(run: RunContents, found: Sequence[Mistake], shelf: Shelf) -> list[tuple[Mistake, Asked]]:
    rows = run.texts([one.row for one in found])
    return [(one, _asked(run, cells, shelf)) for one, cells in zip(found, rows, strict=True)]


def _asked(run: RunContents, cells: Sequence[object], shelf: Shelf) -> Asked:
    if run.task == "image_classification":
        return Asked([_file(cells[0])], picture=shelf.picture(cells[0]))
    if run.task in ("audio_classification", "speech_recognition"):
        return Asked([_file(cells[0])], sound=shelf.sound(cells[0]))
    return Asked([_cut(cell) for cell in cells])


def _file(cell: object) -> str:
    """The name of a file and of its folder, which often is its class."""
    return str(Path(*Path(str(cell)).parts[-2:]))


def _cut(cell: object) -> str:
    text = _spoken(cell)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _spoken(cell: object) -> str:
    """A cell as one reads it: of a chat who says what, of tokens a sentence."""
    if isinstance(cell, list):
        said = [one for one in cell if isinstance(one, dict)]
        turns = [f"{one.get('role', one.get('from'))}: {one.get('content', one.get('value'))}" for one in said]
        return "\n".join(turns) if said else " ".join(map(str, cell))
    return "" if cell is None else str(cell)

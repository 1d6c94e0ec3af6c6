"""The measured rows with what is right and what was answered, in the form that fits the problem.

Shape letters are those of ``whet.core``: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whet.core import Problem, Rows
from whet.data import labels as label_reading
from whet.data import tag_schemes
from whet.data.spelling import Case, Punctuation, spelled
from whet.data.tag_schemes import Part
from whet.data.tagged_columns import spans_of
from whet.errors import DataError, RunFolderError
from whet.report.contents import OWN_COLUMNS, RunContents
from whet.run.folder import PREDICTIONS


@dataclass(frozen=True)
class Classes:
    """One class for each row."""

    names: list[str]
    targets: np.ndarray
    """(N,) class numbers."""
    predicted: np.ndarray
    """(N,) class numbers."""
    probabilities: np.ndarray
    """(N, C)"""


@dataclass(frozen=True)
class Labels:
    """Any of several labels for each row."""

    names: list[str]
    targets: np.ndarray
    """(N, C) zeros and ones."""
    probabilities: np.ndarray
    """(N, C)"""

    @property
    def predicted(self) -> np.ndarray:
        """(N, C) truths."""
        truths: np.ndarray = self.probabilities >= 0.5
        return truths


@dataclass(frozen=True)
class Numbers:
    """A number for each row."""

    targets: np.ndarray
    """(N,)"""
    predicted: np.ndarray
    """(N,)"""


@dataclass(frozen=True)
class Marks:
    """Parts of each row, each with a label."""

    texts: list[str]
    """(N,) rows as one text each."""
    wanted: list[list[tuple[str, Part]]]
    """(N,) what is marked, with its words; places count units."""
    found: list[list[tuple[str, Part]]]
    """(N,) what the model marked."""
    tags: list[tuple[Sequence[str], Sequence[str]]]
    """(N,) tags that are right and tags that were answered; none where rows are texts with spans."""
    scheme: bool
    """Whether tags tell where a part begins; each tag stands for itself else."""


@dataclass(frozen=True)
class Texts:
    """A text for each row, which may be compared with the wanted one."""

    asked: list[list[object]]
    """(N,) what the model read."""
    wanted: list[str | None]
    """(N,) None where nothing certain was wanted."""
    written: list[str]
    """(N,) what it wrote."""


Judged: TypeAlias = Classes | Labels | Numbers | Marks | Texts


def judged(run: RunContents) -> Judged | None:
    """The measured rows of a run; None where they are not kept. Raises RunFolderError where they are damaged."""
    if run.table is None or not len(run.table) or run.problem is None:
        return None
    try:
        return _READERS[run.problem](run, run.table)
    except (DataError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise RunFolderError(f"{run.path / PREDICTIONS} is damaged: {error}") from None


def _classes(run: RunContents, table: pa.Table) -> Classes:
    names = run.labels
    probabilities = _probabilities(table, len(names))
    # Rows hold few different labels, so each is read once.
    label = table.column(run.data["columns"]["label"][0]).combine_chunks()
    coded = pc.dictionary_encode(label)
    numbers = np.array([names.index(_class_of(cell, names)) for cell in coded.dictionary.to_pylist()], dtype=np.int64)
    return Classes(names, numbers[_array(coded.indices)], probabilities.argmax(axis=1), probabilities)


def _class_of(cell: object, names: Sequence[str]) -> str:
    """The class that a label names; files keep a 1.0 as a text."""
    name = label_reading.class_name(cell)
    if name in names:
        return name
    try:
        return label_reading.class_name(float(name))
    except ValueError:
        return name


def _labels(run: RunContents, table: pa.Table) -> Labels:
    columns = run.data["columns"]["label"]
    rows = Rows({name: table.column(name).to_pylist() for name in columns}, PREDICTIONS, range(1, len(table) + 1))
    targets = label_reading.targets(rows, columns, "multi_label", run.labels)
    return Labels(run.labels, targets, _probabilities(table, len(run.labels)))


def _numbers(run: RunContents, table: pa.Table) -> Numbers:
    columns = run.data["columns"]["label"]
    rows = Rows({name: table.column(name).to_pylist() for name in columns}, PREDICTIONS, range(1, len(table) + 1))
    predicted = _array(table.column(table.num_columns - OWN_COLUMNS).combine_chunks()).astype(np.float64)
    return Numbers(label_reading.numbers(rows, columns).astype(np.float64), predicted)


def _probabilities(table: pa.Table, classes: int) -> np.ndarray:
    """(N, C)"""
    column = table.column(table.num_columns - 1).combine_chunks()
    flat = _array(column.flatten())
    return np.asarray(flat, dtype=np.float64).reshape(len(table), classes)


def _array(column: pa.Array) -> np.ndarray:
    # Its own to_numpy would load pandas.
    return np.from_dlpack(column)


def _marks(run: RunContents, table: pa.Table) -> Marks:
    columns = run.data["columns"]
    cells = table.column(columns["text"][0]).to_pylist()
    wanted = table.column(columns["label"][0]).to_pylist()
    found = table.column(table.num_columns - OWN_COLUMNS).to_pylist()
    scheme = tag_schemes.is_scheme(run.labels)
    between = "" if run.recipe["task"].get("form") == "pieces" else " "
    marks = Marks([], [], [], [], scheme)
    for cell, right, answered in zip(cells, wanted, found, strict=True):
        if isinstance(cell, list):
            words = [str(word) for word in cell]
            tags = [label_reading.class_name(tag) for tag in right]
            marks.texts.append(between.join(words))
            marks.tags.append((tags, answered))
            sides = (_parts(tags, scheme), _parts(answered, scheme))
        else:
            words, between = list(str(cell)), ""
            marks.texts.append(str(cell))
            sides = (spans_of(right), [Part(one["start"], one["end"], one["label"]) for one in answered])
        for side, parts in zip((marks.wanted, marks.found), sides, strict=True):
            side.append([(between.join(words[part.start : part.end]), part) for part in parts])
    return marks


def _parts(tags: Sequence[str], scheme: bool) -> list[Part]:
    if scheme:
        return tag_schemes.parts(tags)
    return [Part(place, place + 1, tag) for place, tag in enumerate(tags)]


def _texts(run: RunContents, table: pa.Table) -> Texts:
    written = [str(text) for text in table.column(table.num_columns - OWN_COLUMNS).to_pylist()]
    label = run.data["columns"]["label"]
    # A text to go on with holds what is wanted in itself, so nothing is compared.
    wanted: list[str | None] = [None] * len(written)
    if label:
        wanted = [None if cell is None else str(cell) for cell in table.column(label[0]).to_pylist()]
    if run.problem == "transcript":
        task = run.recipe["task"]
        case: Case = "lower" if task.get("case") == "lower" else "keep"
        punctuation: Punctuation = "remove" if task.get("punctuation") == "remove" else "keep"
        wanted = [None if text is None else spelled(text, case, punctuation) for text in wanted]
        written = [spelled(text, case, punctuation) for text in written]
    return Texts(run.texts(range(len(written))), wanted, written)


_READERS: dict[Problem, Callable[[RunContents, pa.Table], Judged]] = {
    "single_label": _classes,
    "multi_label": _labels,
    "regression": _numbers,
    "tagging": _marks,
    "next_token": _texts,
    "target_text": _texts,
    "transcript": _texts,
}

"""Answers of a fine-tuned model for new texts or a file of them."""

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from whet.build import Predictor
from whet.core import Answer, Columns, Entity, Rows
from whet.data import columns as columns_of
from whet.data.media import content_of, files_in, medium_of, shown
from whet.data.problems import first_few
from whet.data.source import SUFFIXES
from whet.errors import DataError, RecipeError, RunFolderError, SaveError
from whet.protocols import Generating, Marking

TARGETS = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of the files that answers are written to."""
WAY_OUT = "fill them in, or delete these rows"


def predict(predictor: Predictor, texts: Sequence[str | tuple[str, ...] | list[str]] | str | Path) -> list[Answer]:
    """Answers for texts (a list), pairs of texts (a list of pairs), lists of tokens, or the rows of a file (a path).

    A model of pictures takes their files in place of texts, and a folder of them. Raises DataError where the file lacks
    a text column, or single texts are given to a model of pairs.
    """
    return predictor.answer(_rows(predictor, texts))


def refuse_target(path: Path) -> None:
    """Raise an InputError where answers cannot be written to ``path``; nothing is ever overwritten."""
    if path.suffix.lower() not in TARGETS:
        raise RecipeError(f"--to: {path}: answers are written as {', '.join(TARGETS)}; choose one of these endings")
    if path.exists():
        raise RunFolderError(f"--to: {path} exists and is not overwritten; choose another name")
    if not path.parent.is_dir():
        raise RunFolderError(f"--to: {path}: there is no folder {path.parent}; make it, or choose another")


def write(rows: Rows, answers: Sequence[Answer], path: Path) -> None:
    """Write the rows with two more columns, ``prediction`` and ``confidence``, as csv, tsv or jsonl by the ending.

    Raises DataError where the rows have such columns already, RunFolderError where the file exists.
    """
    refuse_target(path)
    columns = _with_answers(rows, answers)
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            _write(columns, file, path.suffix.lower())
    except OSError as error:
        raise SaveError(f"{path} could not be written: {error.strerror}") from None


def show(rows: Rows, answers: Sequence[Answer]) -> None:
    """Print the rows with their answers as csv on standard output."""
    _write(_with_answers(rows, answers), sys.stdout, ".csv")


def as_json(answers: Sequence[Answer]) -> str:
    """Answers as one JSON array."""
    return json.dumps([asdict(answer) for answer in answers], ensure_ascii=False)


def rows_of_file(predictor: Predictor, path: Path) -> Rows:
    """Rows of a file that has the model's text columns; raises DataError for an absent column and rows without text."""
    rows = predictor.read(path)
    texts = predictor.columns.text
    columns_of.check(rows, Columns(texts, ()))
    return predictor.task.usable(rows, predictor.columns, labelled=False, way_out=WAY_OUT)[0]


def rows_of_media(predictor: Predictor, names: Sequence[str | Path]) -> Rows:
    """Rows of files of the medium that the model reads, and of all such files in folders; raises DataError."""
    assert predictor.medium is not None
    files: list[object] = []
    for name in names:
        path = Path(name)
        files += map(str, files_in(path, predictor.medium)) if path.is_dir() else [str(path)]
    rows = Rows({predictor.columns.text[0]: files}, f"the given {predictor.medium}s", range(1, len(files) + 1))
    return predictor.task.usable(rows, predictor.columns, labelled=False, way_out="mend them, or leave them out")[0]


def _rows(predictor: Predictor, texts: Sequence[str | tuple[str, ...] | list[str]] | str | Path) -> Rows:
    medium = predictor.medium
    if medium is not None and not isinstance(texts, str | Path):
        return rows_of_media(predictor, [str(text) for text in texts])
    if medium is not None and (Path(str(texts)).is_dir() or medium_of(str(texts)) == medium):
        return rows_of_media(predictor, [str(texts)])
    if isinstance(texts, str) and Path(texts).suffix.lower() not in SUFFIXES:
        raise DataError(f"{texts[:60]!r} is no data file; texts are given as a list, even a single one")
    if isinstance(texts, str | Path):
        return rows_of_file(predictor, Path(texts))
    names = predictor.columns.text
    if isinstance(predictor.task, Marking):
        # A single text may come as a row of one.
        cells: list[object] = [text[0] if isinstance(text, tuple) and len(text) == 1 else text for text in texts]
        rows = Rows({names[0]: cells}, "the given texts", range(1, len(cells) + 1))
        return predictor.task.usable(rows, predictor.columns, labelled=False, way_out=WAY_OUT)[0]
    given = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
    written = isinstance(predictor.task, Generating)
    if written:
        # An instruction needs nothing that it is about.
        given = [row + ("",) * (len(names) - len(row)) for row in given]
    wrong = [i for i, row in enumerate(given, 1) if len(row) != len(names)]
    if wrong:
        raise DataError(f"text {first_few(wrong)}: the model reads {len(names)} texts per row ({', '.join(names)})")
    empty = [i for i, row in enumerate(given, 1) if not all(text.strip() for text in (row[:1] if written else row))]
    if empty:
        raise DataError(f"text {first_few(empty)} is empty; there is nothing to answer")
    columns: dict[str, list[object]] = {name: [row[i] for row in given] for i, name in enumerate(names)}
    return Rows(columns, "the given texts", range(1, len(given) + 1))


def _with_answers(rows: Rows, answers: Sequence[Answer]) -> dict[str, list[object]]:
    added: dict[str, list[object]] = {
        "prediction": [_label(answer) for answer in answers],
        "confidence": [_confidence(answer) for answer in answers],
    }
    taken = [name for name in added if name in rows.columns]
    if taken:
        raise DataError(*(f"column '{name}' stands in {rows.source} already; rename it there" for name in taken))
    # The bytes of a file are nothing for a table.
    told = {
        name: [shown(value) if isinstance(content_of(value), bytes) else value for value in values]
        for name, values in rows.columns.items()
    }
    return {**told, **added}


def _write(columns: Mapping[str, Sequence[object]], file: TextIO, suffix: str) -> None:
    records = zip(*columns.values(), strict=True)
    if suffix in (".jsonl", ".ndjson"):
        for values in records:
            record = {name: _known(value) for name, value in zip(columns, values, strict=True)}
            file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        return
    writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in values] for values in records)


def _label(answer: Answer) -> object:
    if not isinstance(answer.label, list):
        return answer.label
    # Of several classes each has a probability; what marks parts of a row stays a list.
    return [_told(one) for one in answer.label] if not answer.scores else "|".join(map(str, answer.label))


def _told(one: str | Entity) -> object:
    return asdict(one) if isinstance(one, Entity) else one


def _known(value: object) -> object:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: object) -> object:
    """A value in a table: what no cell can hold is written as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _confidence(answer: Answer) -> object:
    if isinstance(answer.label, str) and answer.scores:
        return round(answer.scores[answer.label], 6)
    return round(min((max(p, 1 - p) for p in answer.scores.values()), default=1.0), 6) if answer.scores else ""

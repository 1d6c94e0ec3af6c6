"""Answers of a fine-tuned model for new texts or a file of them."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from whet.build import Predictor
from whet.core import Answer, Rows
from whet.data.source import read
from whet.errors import DataError, RunFolderError, SaveError, did_you_mean


def predict(predictor: Predictor, texts: Sequence[str | tuple[str, ...]] | str | Path) -> list[Answer]:
    """Answers for texts (a list), pairs of texts (a list of pairs), or the rows of a file (a path).

    Raises DataError where the file lacks a text column, or single texts are given to a model of pairs.
    """
    return predictor.answer(_rows(predictor, texts))


def write(rows: Rows, answers: Sequence[Answer], path: Path) -> None:
    """Write the rows with two more columns, ``prediction`` and ``confidence``, as csv or jsonl by the ending.

    Raises RunFolderError where the file exists: nothing is overwritten.
    """
    if path.is_file():
        raise RunFolderError(f"{path} exists and is not overwritten; choose another name")
    columns = {
        **rows.columns,
        "prediction": [_cell(a) for a in answers],
        "confidence": [_confidence(a) for a in answers],
    }
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix in (".jsonl", ".ndjson"):
                for values in zip(*columns.values(), strict=True):
                    file.write(json.dumps(dict(zip(columns, values, strict=True)), ensure_ascii=False) + "\n")
                return
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    except OSError as error:
        raise SaveError(f"{path} could not be written: {error.strerror}") from None


def as_json(answers: Sequence[Answer]) -> str:
    """Answers as one JSON array."""
    return json.dumps([asdict(answer) for answer in answers], ensure_ascii=False)


def rows_of_file(predictor: Predictor, path: Path) -> Rows:
    """Rows of a file that has the model's text columns; raises DataError where it lacks one."""
    rows = read(path)
    missing = [name for name in predictor.columns.text if name not in rows.columns]
    if missing:
        raise DataError(*(f"column '{name}' not in {path}{did_you_mean(name, rows.columns)}" for name in missing))
    return rows


def _rows(predictor: Predictor, texts: Sequence[str | tuple[str, ...]] | str | Path) -> Rows:
    if isinstance(texts, str | Path):
        return rows_of_file(predictor, Path(texts))
    names = predictor.columns.text
    given = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
    wrong = [i for i, row in enumerate(given, 1) if len(row) != len(names)]
    if wrong:
        raise DataError(f"text {wrong[0]}: the model reads {len(names)} texts per row ({', '.join(names)})")
    empty = [i for i, row in enumerate(given, 1) if not any(text.strip() for text in row)]
    if empty:
        raise DataError(f"text {', '.join(map(str, empty[:5]))} is empty; there is nothing to answer")
    columns: dict[str, list[object]] = {name: [row[i] for row in given] for i, name in enumerate(names)}
    return Rows(columns, "the given texts", range(1, len(given) + 1))


def _cell(answer: Answer) -> object:
    return "|".join(answer.label) if isinstance(answer.label, list) else answer.label


def _confidence(answer: Answer) -> object:
    if isinstance(answer.label, str):
        return round(answer.scores[answer.label], 6)
    return round(min((max(p, 1 - p) for p in answer.scores.values()), default=1.0), 6) if answer.scores else ""

"""The rows of a benchmark: every contender reads the same files, in which no text stands on two sides."""

import csv
import hashlib
import random
import unicodedata
from collections.abc import Mapping
from pathlib import Path

TEXTS = {"sst2": ["text"], "trec": ["text"], "ag_news": ["title", "description"]}
"""Columns that make up the text of a row, for every data set that the benchmarks know."""
LABEL = "label"
SEED = 0
FEWEST = 8
"""Rows of a side below which a share of it means nothing."""

Row = tuple[str, str]


def prepare(folder: Path, into: Path, rows: int | None = None, *, others: bool = True) -> dict[str, Path]:
    """Write ``train``, ``validation`` and ``test`` of a data set as csv files with the columns text and label.

    Where the set has no dev.csv every tenth training row is validation. Rows whose text also stands on a later side are
    left out, as whet would do. With ``rows`` a seeded part of all three sides remains: so many training rows, and the
    same share of the ``others`` unless these remain whole. Raises SystemExit where a file or a column is missing.
    """
    train, test = (_read(folder / f"{name}.csv") for name in ("train", "test"))
    if (folder / "dev.csv").is_file():
        validation = _read(folder / "dev.csv")
    else:
        train, validation = [row for i, row in enumerate(train) if i % 10], train[::10]
    validation = _without(validation, test)
    train = _without(_without(train, test), validation)
    share = 1.0 if rows is None else min(1.0, rows / len(train))
    into.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, side in (("train", train), ("validation", validation), ("test", test)):
        files[name] = into / f"{name}.csv"
        with files[name].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *_part(side, share if others or name == "train" else 1.0)])
    return files


def read(path: Path) -> list[Row]:
    """Text and label of every row of a file that ``prepare`` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return [(text, label) for text, label in rows]


def fingerprint(files: Mapping[str, Path]) -> str:
    """SHA-256 of the content of the files."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(files[name].read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        raise SystemExit(f"{path} is missing: name with --data the folder that holds {path.parent.name}/{path.name}")
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    columns = ["text"] if "text" in table[0] else TEXTS.get(path.parent.name, ["text"])
    absent = [name for name in (*columns, LABEL) if name not in table[0]]
    if absent:
        raise SystemExit(f"{path}: no column {', '.join(absent)}; it has {', '.join(table[0])}")
    return [(" ".join(row[name] for name in columns), row[LABEL]) for row in table]


def _without(rows: list[Row], later: list[Row]) -> list[Row]:
    known = {_key(text) for text, _ in later}
    return [row for row in rows if _key(row[0]) not in known]


def _key(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def _part(rows: list[Row], share: float) -> list[Row]:
    """A seeded part of the rows, in their order."""
    count = min(len(rows), max(FEWEST, round(share * len(rows))))
    return [rows[i] for i in sorted(random.Random(SEED).sample(range(len(rows)), count))]

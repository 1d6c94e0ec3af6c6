"""Small parts of public data sets, as files that whet reads: what the bench of the advice trains on."""

import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

SEED = 0

Records: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A data set cut to a size, and what whet has to be told of it."""

    name: str
    folder: str
    rows: int
    """Training rows, of which whet takes a tenth for validation."""
    test_rows: int
    model: str | None = None
    """A folder beside those of the data; None is the embedded model."""
    label: str = "label"
    task: dict[str, Any] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    """Columns that are joined to one text; none where the file has a single one."""


MOBILENET, SMALL_MOBILENET = "mobilenetv2-1.0-224-imagenet", "mobilenetv2-0.35-224-imagenet-backbone"
PICTURES = {"name": "image_classification", "size": 96}
TAGS = {"name": "token_classification"}
CASES = (
    Case("trec-300", "trec", 300, 500),
    Case("mnist-300", "mnist", 300, 500, SMALL_MOBILENET, task=PICTURES),
    Case("spoken_digits-300", "spoken_digits", 300, 300, "yamnet-audioset", label="digit"),
    Case("sst2-100", "sst2", 100, 500),
    Case("ants_bees-201", "ants_bees", 201, 44, MOBILENET, task={**PICTURES, "size": 160}),
    Case("sms_spam-200", "sms_spam", 200, 500),
    Case("banking77-770", "banking77", 770, 700),
    Case("cifar10-300", "cifar10", 300, 400, MOBILENET, task=PICTURES),
    Case("esc10-160", "esc10", 160, 40, "yamnet-audioset"),
    Case("3i4k-350", "3i4k", 350, 500),
    Case("wnut17-300", "wnut17", 300, 300, task=TAGS),
    Case("ag_news-200", "ag_news", 200, 500, text=("title", "description")),
    Case("sst2-600", "sst2", 600, 500),
    Case("sign_digits-300", "sign_digits", 300, 200, MOBILENET, task=PICTURES),
    Case("nsmc-300", "nsmc", 300, 500, text=("document",)),
)
"""The quick and the different ones first."""


def prepare(case: Case, data: Path, into: Path) -> dict[str, Path]:
    """Write the train and the test file of a case; the same rows every time."""
    into.mkdir(parents=True, exist_ok=True)
    folder = data / case.folder
    sides = {"train": case.rows, "test": case.test_rows}
    files = {}
    for side, rows in sides.items():
        records, suffix = _records(case, folder, side)
        files[side] = into / f"{side}{suffix}"
        _write(files[side], _part(records, case.label, rows))
    return files


def recipe(case: Case, files: dict[str, Path], models: Path, seed: int) -> dict[str, Any]:
    """What is the same for every method."""
    tagged = case.task.get("name") == TAGS["name"]
    told: dict[str, Any] = {"data": {side: str(path) for side, path in files.items()}, "seed": seed}
    if not tagged:
        told["data"]["label"] = case.label
    if case.model is not None:
        told["model"] = str(models / case.model)
    return told | ({"task": case.task} if case.task else {})


def _records(case: Case, folder: Path, side: str) -> tuple[Records, str]:
    """All rows of a side, and the ending of the file that can hold them."""
    listings = [name for name in ("metadata.csv", "index.csv") if (folder / name).is_file()]
    if (folder / f"{side}.parquet").is_file():
        return pq.read_table(folder / f"{side}.parquet").to_pylist(), ".parquet"
    if (folder / f"{side}.jsonl").is_file():
        lines = (folder / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()
        return [{key: row[key] for key in ("tokens", "ner_tags")} for row in map(json.loads, lines)], ".jsonl"
    if listings:
        rows = [row for row in _table(folder / listings[0]) if row["split"] == side]
        column = "file" if "file" in rows[0] else "file_name"
        return [{"file": str(folder / row[column]), case.label: row[case.label]} for row in rows], ".csv"
    rows = _table(folder / f"{side}.csv")
    text = case.text or ("text",)
    return [{"text": " ".join(row[name] for name in text), case.label: row[case.label]} for row in rows], ".csv"


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _part(records: Records, label: str, rows: int) -> Records:
    """A seeded part with every label in its share, and at least two rows of each, in the order of the file."""
    if rows >= len(records):
        return records
    generator = random.Random(SEED)
    by_label: dict[str, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        by_label[str(record.get(label))].append(number)
    chosen: list[int] = []
    for name in sorted(by_label):
        members = by_label[name]
        wanted = max(2, round(rows * len(members) / len(records)))
        chosen += generator.sample(members, min(wanted, len(members)))
    return [records[number] for number in sorted(chosen)]


def _write(path: Path, records: Records) -> None:
    writers: dict[str, Callable[[Path, Sequence[dict[str, Any]]], None]] = {
        ".csv": _write_csv,
        ".jsonl": _write_jsonl,
        ".parquet": _write_parquet,
    }
    writers[path.suffix](path, records)


def _write_csv(path: Path, records: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _write_jsonl(path: Path, records: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def _write_parquet(path: Path, records: Sequence[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(records)), path)

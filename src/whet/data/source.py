"""Files, folders and hub data sets become rows.

Finds and dispatches: what a format looks like inside stands in ``delimited`` and ``records``, which file plays which
part in ``folder``. Knows no task and no meaning of a column.
"""

from dataclasses import replace
from pathlib import Path

from whet.core import Choice, Rows
from whet.data import tag_lines
from whet.data.decode import decode, read_bytes
from whet.data.delimited import read_delimited
from whet.data.folder import class_folders, holds_parts, parts_of, table_files
from whet.data.hub import PREFIX, read_hub
from whet.data.passages import read_passages
from whet.data.problems import first_few
from whet.data.records import read_json, read_json_lines, read_parquet
from whet.errors import DataError, did_you_mean

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", *tag_lines.SUFFIXES)

_WAYS_OUT = {
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".gz": "unpack it first",
    ".zip": "unpack it first",
}


def read(path: str | Path, *, encoding: str | None = None, delimiter: str | None = None, tagged: bool = False) -> Rows:
    """The rows of one CSV, TSV, JSON, JSON Lines or Parquet file, the passages of a plain text, or tagged sentences.

    Cells of CSV and TSV stay text; JSON and Parquet keep their types. ``places`` are line numbers (CSV: the line a
    record starts on, the header is line 1) or, for JSON and Parquet, record numbers. ``encoding`` None is UTF-8;
    ``delimiter`` None is found in the header. A plain text that is ``tagged`` has a token and its tag in each line.
    Raises DataError with all problems of the file at once.
    """
    return _read(Path(path), encoding, delimiter, tagged)[0]


def read_splits(
    train: str,
    validation: str | None,
    test: str | None,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    tagged: bool = False,
) -> tuple[dict[str, Rows], list[Choice]]:
    """Rows by part (``train``, and ``validation`` and ``test`` where there are such rows), and what was decided.

    ``train`` is a file, a folder or ``hub:owner/name``; ``validation`` and ``test`` are files, and stand in for what a
    folder or hub data set itself offers. Raises DataError with the problems of all files at once.
    """
    given = {part: path for part, path in (("validation", validation), ("test", test)) if path is not None}
    if train.startswith(PREFIX):
        splits, choices = read_hub(train)
        files: dict[str, Path] = {}
    elif Path(train).is_dir():
        splits, files, choices = _read_folder(Path(train), encoding)
    else:
        splits, files, choices = {}, {"train": Path(train)}, []
    files |= {part: Path(path) for part, path in given.items()}
    choices = [choice for choice in choices if choice.path.removeprefix("data.") not in given]
    problems: list[str] = []
    decided: list[Choice] = []
    for part, path in files.items():
        try:
            splits[part], found = _read(path, encoding, delimiter, tagged)
        except DataError as error:
            problems += [problem for problem in error.problems if problem not in problems]
        else:
            decided += found
    if problems:
        raise DataError(*problems)
    return {part: splits[part] for part in ("train", "validation", "test") if part in splits}, choices + _merge(decided)


def _read_folder(folder: Path, encoding: str | None) -> tuple[dict[str, Rows], dict[str, Path], list[Choice]]:
    """Rows that are read already, files that are still to read, and how the folder was understood."""
    files, unused = table_files(folder, SUFFIXES)
    index = [path for path in files.values() if not parts_of([path.stem])]
    if index and holds_parts(folder):
        # A list of the files that stand in folders beside it.
        files, unused = {}, index
    if files:
        tail = f"; not used: {first_few([path.name for path in unused])}" if unused else ""
        reasons = {part: f"{folder.name}/{path.name}, by its name" for part, path in files.items()}
        if len(files) == 1:
            reasons["train"] = f"the only data file in {folder.name}" if not unused else reasons["train"]
        reasons["train"] += tail
        return {}, files, [Choice(f"data.{part}", str(files[part]), "inferred", reasons[part]) for part in files]
    splits = class_folders(folder, encoding)
    choices = []
    for part, rows in splits.items():
        classes = len(set(rows.columns["label"]))
        place = folder if len(splits) == 1 and rows.source == folder.name else folder / rows.source
        tail = f"; not used: {first_few([path.name for path in unused])}" if unused and part == "train" else ""
        reason = f"{len(rows):,} files in {classes} folders of {rows.source}; a folder's name is the label{tail}"
        choices.append(Choice(f"data.{part}", str(place), "inferred", reason))
    return splits, {}, choices


def _read(path: Path, encoding: str | None, delimiter: str | None, tagged: bool) -> tuple[Rows, list[Choice]]:
    rows, choices = _read_table(path, encoding, delimiter, tagged)
    return replace(rows, folder=path.parent), choices


def _read_table(path: Path, encoding: str | None, delimiter: str | None, tagged: bool) -> tuple[Rows, list[Choice]]:
    _check(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(path), []
    data = read_bytes(path)
    text = decode(data, path.name, encoding)
    if not text.strip():
        raise DataError(f"{path} is empty ({len(data)} bytes); write or copy it once more")
    used = encoding or "utf-8"
    chosen = [Choice("data.encoding", used, "given" if encoding else "default")]
    if suffix == ".json":
        return read_json(text, path.name), chosen
    if suffix in tag_lines.SUFFIXES or (tagged and suffix == ".txt"):
        return tag_lines.read_tag_lines(text, path.name), chosen
    if suffix == ".txt":
        return read_passages(text, path.name), chosen
    if suffix in {".jsonl", ".ndjson"}:
        return read_json_lines(text, path.name), chosen
    rows, separated = read_delimited(text, path.name, delimiter)
    return rows, [*chosen, separated]


def _check(path: Path) -> None:
    """Raise DataError unless ``path`` is a file of a known format."""
    try:
        folder = path.is_dir()
        exists = path.exists()
    except OSError as error:
        raise DataError(f"{str(path)[:80]} cannot be read: {error.strerror}") from error
    if folder:
        raise DataError(f"{path} is a folder where one file is needed; only data.train may be a folder")
    if not exists:
        raise DataError(_missing(path))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        way_out = _WAYS_OUT.get(suffix, "convert it to one of these")
        shown = f"the suffix {suffix}" if suffix else "no suffix"
        raise DataError(f"{path.name} has {shown}, and whet reads {', '.join(SUFFIXES)}; {way_out}")


def _missing(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        hint = f"; a data set of the hub is written hub:{path}" if len(path.parts) == 2 and not path.suffix else ""
        return f"{path} does not exist: there is no folder {parent}{hint}"
    # did_you_mean lists every name where none is near, which is too much for a whole folder
    near = did_you_mean(path.name, [file.name for file in parent.iterdir() if not file.name.startswith(".")])
    return f"{path} does not exist{near if 'did you mean' in near else f'; see what there is with: ls {parent}'}"


def _merge(choices: list[Choice]) -> list[Choice]:
    """One choice for each path; where files differ, no value holds for all of them."""
    merged: dict[str, Choice] = {}
    for choice in choices:
        first = merged.setdefault(choice.path, choice)
        if first.value != choice.value:
            reason = "; ".join(filter(None, (first.reason, choice.reason)))
            merged[choice.path] = Choice(choice.path, None, "inferred", reason)
    return list(merged.values())

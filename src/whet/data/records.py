"""JSON, JSON Lines and Parquet become rows; values keep their types.

Knows no file system beyond the one Parquet file it is given, and no meaning of a column.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from whet.core import Rows
from whet.data.delimited import name_problems
from whet.data.problems import at, first_few
from whet.errors import DataError


def read_json(text: str, name: str) -> Rows:
    """The rows of an array of objects, or of ``{"data": [...]}``; a row's place is its number in the array."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object a line? then give it the suffix .jsonl" if error.msg == "Extra data" else ""
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{name} is not valid JSON at {where}: {error.msg}{hint}") from error
    except RecursionError as error:
        raise DataError(f"{name} is not a table: its JSON is nested too deeply") from error
    records = content.get("data") if isinstance(content, dict) else content
    if not isinstance(records, list):
        found = f"an object with the keys {first_few(list(content))}" if isinstance(content, dict) else _kind(content)
        raise DataError(f'{name} holds {found}; an array of objects is needed, or {{"data": [...]}}')
    wrong = [f"record {i} is {_kind(record)}" for i, record in enumerate(records, 1) if not isinstance(record, dict)]
    if wrong:
        raise DataError(f'{name}: {first_few(wrong)}; every record must be an object such as {{"text": "..."}}')
    return _rows(records, range(1, len(records) + 1), name)


def read_json_lines(text: str, name: str) -> Rows:
    """The rows of text with one JSON object a line; a row's place is its line. Names every bad line at once."""
    records: list[dict[str, object]] = []
    places: list[int] = []
    malformed: list[str] = []
    wrong: list[str] = []
    # not splitlines(): JSON strings may hold other line separators, such as U+2028
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except json.JSONDecodeError as error:
            malformed.append(f"line {line}, column {error.colno} ({error.msg})")
            continue
        except RecursionError:
            malformed.append(f"line {line} (nested too deeply)")
            continue
        if isinstance(record, dict):
            records.append(record)
            places.append(line)
        else:
            wrong.append(f"line {line} is {_kind(record)}")
    problems = []
    if malformed:
        hint = ""
        if not records and text.lstrip().startswith(("[", "{")):
            hint = "; if the whole file is one JSON array, give it the suffix .json"
        problems.append(f"{name} is not valid JSON at {first_few(malformed, '; ')}{hint}")
    if wrong:
        problems.append(f'{name}: {first_few(wrong)}; every line must be an object such as {{"text": "..."}}')
    if problems:
        raise DataError(*problems)
    return _rows(records, places, name)


def read_parquet(path: Path) -> Rows:
    """The rows of a Parquet file; class numbers that the file itself names become those names."""
    try:
        table = pq.read_table(path)
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: permission denied; allow it with: chmod u+r {path}") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name} is not a readable Parquet file: {reason}; write or copy it once more") from error
    problems = name_problems(table.column_names)
    if problems:
        raise DataError(*(f"{path.name}: {problem}" for problem in problems))
    if table.num_rows == 0:
        raise DataError(f"{path.name} has columns and not a single row")
    classes = _class_names(table.schema)
    columns: dict[str, list[object]] = {}
    for column in table.column_names:
        values = table.column(column).to_pylist()
        names = classes.get(column)
        columns[column] = [_named(names, value) for value in values] if names else values
    return Rows(columns, path.name, range(1, table.num_rows + 1))


def _named(names: list[str], value: object) -> object:
    """A class number, or a list of them, by name."""
    if isinstance(value, list):
        return [_named(names, one) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes by column, as the ``datasets`` library leaves them in a file's metadata; of lists too."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None:
        return {}
    try:
        features = json.loads(metadata)["info"]["features"]
        told = {name: feature.get("feature", feature) for name, feature in features.items()}
        return {name: feature["names"] for name, feature in told.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _encodes(value: object) -> bool:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows(records: list[dict[str, object]], places: Sequence[int], name: str) -> Rows:
    names = list(dict.fromkeys(key for record in records for key in record))
    problems = name_problems(names)
    if not records:
        problems.append("there is not a single row")
    elif not names:
        problems.append("its objects are all empty")
    broken = [place for place, record in zip(places, records, strict=True) if not all(map(_encodes, record.values()))]
    if broken:
        problems.append(f"half a character (a lone surrogate such as \\ud800) stands at {at(name, broken)}; mend it")
    if problems:
        raise DataError(*(f"{name}: {problem}" for problem in problems))
    return Rows({key: [record.get(key) for record in records] for key in names}, name, list(places))


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")

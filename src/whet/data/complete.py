"""Rows that lack a text or a label: told with their places, or left out on request.

Knows no file format and no task.
"""

import math

from whet.core import Columns, Medium, Rows
from whet.data.problems import at, first_few
from whet.errors import DataError
from whet.protocols import COMPLETE


def complete(
    rows: Rows,
    columns: Columns,
    *,
    drop: bool,
    way_out: str = COMPLETE,
    medium: Medium | None = None,
) -> tuple[Rows, int]:
    """The rows that have all their texts and labels, and how many others there were.

    Blank strings, None and NaN are missing; an empty list is a label (none of the classes applies). Raises DataError
    where a row lacks something and ``drop`` is False, where nothing is left, and where a text is no text. Of a
    ``medium`` there are files, or paths, in place of texts.
    """
    part = medium or "text"
    if medium is None:
        _check_types(rows, columns)
    textless = _lacking(rows, columns.text)
    unlabelled = _lacking(rows, columns.label)
    missing = set(textless) | set(unlabelled)
    if not missing:
        return rows, 0
    if len(missing) == len(rows):
        raise DataError(
            f"not one of the {len(rows):,} rows of {rows.source} has both a {part} and a label{_hint(columns)}"
        )
    if drop:
        return rows.take(i for i in range(len(rows)) if i not in missing), len(missing)
    problems = [
        f"{rows.source}: {_have(len(indices))} no {what} in {_named(names)}: "
        f"{at(rows.source, [rows.places[i] for i in indices])}"
        for what, names, indices in ((part, columns.text, textless), ("label", columns.label, unlabelled))
        if indices
    ]
    raise DataError(*problems, way_out)


def _check_types(rows: Rows, columns: Columns) -> None:
    problems = []
    for name in columns.text:
        values = rows.columns[name]
        wrong = [i for i, value in enumerate(values) if isinstance(value, list | dict | bytes)]
        if wrong:
            first = values[wrong[0]]
            kind = "lists" if isinstance(first, list) else "objects" if isinstance(first, dict) else "bytes"
            where = at(rows.source, [rows.places[i] for i in wrong])
            problems.append(
                f"column '{name}' of {rows.source} holds {kind}, no text ({where}); name another with data.text=NAME"
            )
    if problems:
        raise DataError(*problems)


def _lacking(rows: Rows, names: tuple[str, ...]) -> list[int]:
    lacking = {i for name in names for i, value in enumerate(rows.columns[name]) if _missing(value)}
    return sorted(lacking)


def _missing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _have(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,} rows have"


def _named(names: tuple[str, ...]) -> str:
    return f"column {first_few([repr(name) for name in names])}"


def _hint(columns: Columns) -> str:
    return f"; are {first_few([repr(name) for name in (*columns.text, *columns.label)])} the right columns?"

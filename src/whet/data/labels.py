"""What is in the label column: classes, several classes per row, or numbers; and rows whose label cannot be used."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from whet.core import Problem, Rows
from whet.errors import DataError, did_you_mean

FEW = 20
"""Up to so many distinct whole numbers are classes; more of them, or fractions, are values on a scale."""
SHOWN = 5


def problem_of(rows: Rows, label: Sequence[str]) -> tuple[Problem, str]:
    """``single_label``, ``multi_label`` or ``regression`` for the rows of a label column, and why."""
    if len(label) > 1:
        return "multi_label", f"{len(label)} label columns"
    values = rows.columns[label[0]]
    if any(isinstance(value, list | tuple) for value in values):
        return "multi_label", f"'{label[0]}' holds lists"
    distinct = {str(value).strip() for value in values}
    numbers = [number for text in distinct if (number := _number(text)) is not None]
    if len(numbers) < len(distinct):
        return "single_label", f"'{label[0]}' holds {len(distinct)} distinct texts"
    whole = all(number.is_integer() for number in numbers)
    if whole and len(distinct) <= FEW:
        more = "" if len(distinct) <= 2 else "; if they are a scale, set task.problem=regression"
        return "single_label", f"'{label[0]}' holds {len(distinct)} distinct whole numbers{more}"
    kind = "whole numbers" if whole else "numbers"
    return "regression", f"'{label[0]}' holds {len(distinct)} distinct {kind}"


def classes(rows: Rows, label: Sequence[str], problem: Problem, *, to_split: bool) -> list[str]:
    """Names of the classes in natural order (2 before 10).

    Raises DataError for fewer than two classes and, where the rows are ``to_split``, for classes with a single row.
    """
    if len(label) > 1:
        return list(label)
    places: dict[str, list[int]] = {}
    for place, names in zip(rows.places, _names(rows, label[0], problem), strict=True):
        for name in names:
            places.setdefault(name, []).append(place)
    if len(places) < 2:
        only = f"the only class is {next(iter(places))!r}" if places else "there is no class at all"
        raise DataError(
            f"column '{label[0]}' of {rows.source}: {only}; a classifier needs rows of at least two classes"
        )
    single = sorted(name for name, lines in places.items() if len(lines) == 1)
    if to_split and problem == "single_label" and single:
        shown = ", ".join(f"{name!r} (line {places[name][0]})" for name in single[:SHOWN])
        more = f" and {len(single) - SHOWN} more" if len(single) > SHOWN else ""
        raise DataError(
            f"column '{label[0]}' of {rows.source}: a class with one row cannot be both learned and tested: "
            f"{shown}{more}; add rows, correct the label or delete them"
            + ("; for numbers on a scale set task.problem=regression" if all(map(_number, places)) else "")
        )
    return sorted(places, key=natural_order)


def targets(rows: Rows, label: Sequence[str], problem: Problem, names: Sequence[str] | None) -> np.ndarray:
    """Targets of all rows: (N,) class numbers, (N, C) zeros and ones, or (N,) numbers.

    Raises DataError naming every label that is not among ``names``, with its lines.
    """
    if problem == "regression":
        return numbers(rows, label)
    assert names is not None
    if len(label) > 1:
        return _from_columns(rows, label)
    position = {name: i for i, name in enumerate(names)}
    listed = _names(rows, label[0], problem)
    unknown: dict[str, list[int]] = {}
    for place, row in zip(rows.places, listed, strict=True):
        for name in row:
            if name not in position:
                unknown.setdefault(name, []).append(place)
    if unknown:
        raise DataError(
            *(
                f"label {name!r} in {rows.source}, line {_lines(lines)}, is not a class of the training rows"
                f"{did_you_mean(name, names)}"
                for name, lines in unknown.items()
            )
        )
    if problem == "single_label":
        return np.array([position[row[0]] for row in listed], dtype=np.int64)
    result = np.zeros((len(rows), len(names)), dtype=np.float32)
    for i, row in enumerate(listed):
        result[i, [position[name] for name in row]] = 1.0
    return result


def numbers(rows: Rows, label: Sequence[str]) -> np.ndarray:
    """(N,) finite numbers; raises DataError naming all cells that are none."""
    if len(label) != 1:
        raise DataError(f"regression needs one label column, not {len(label)}: {', '.join(label)}")
    values = [_number(value) for value in rows.columns[label[0]]]
    wrong = [
        (place, cell)
        for place, cell, value in zip(rows.places, rows.columns[label[0]], values, strict=True)
        if value is None or not math.isfinite(value)
    ]
    if wrong:
        shown = ", ".join(f"line {place}: {cell!r}" for place, cell in wrong[:SHOWN])
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise DataError(
            f"column '{label[0]}' of {rows.source} holds what is no finite number: {shown}{more}; "
            "correct or delete them"
        )
    return np.array(values, dtype=np.float32)


def balanced_weights(rows: Rows, label: Sequence[str], problem: Problem, names: Sequence[str]) -> dict[str, float]:
    """Weight of each class by inverse frequency, N / (C * count), so that the mean over the rows is 1."""
    found = targets(rows, label, problem, names)
    counts = found.sum(axis=0) if problem == "multi_label" else np.bincount(found, minlength=len(names))
    total = float(counts.sum())
    pairs = zip(names, counts, strict=True)
    return {name: round(total / (len(names) * max(1.0, float(count))), 6) for name, count in pairs}


def natural_order(name: str) -> tuple[tuple[int, float, str], ...]:
    """A sorting key in which numbers inside of names count as numbers, and -1 stands before 0."""
    if (number := _number(name)) is not None and math.isfinite(number):
        return ((0, number, name),)
    parts = re.split(r"(\d+)", name)
    return tuple((0, float(part), part) if part.isdigit() else (1, 0.0, part) for part in parts if part)


def class_name(value: object) -> str:
    """The name of a class: 1, 1.0 and '1' are the same class, True is 'True'."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _names(rows: Rows, label: str, problem: Problem) -> list[list[str]]:
    if problem == "single_label":
        return [[class_name(value)] for value in rows.columns[label]]
    return [_listed(value) for value in rows.columns[label]]


def _listed(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [class_name(item) for item in value]
    return [name.strip() for name in str(value).split("|") if name.strip()]


def _from_columns(rows: Rows, label: Sequence[str]) -> np.ndarray:
    result = np.zeros((len(rows), len(label)), dtype=np.float32)
    wrong = []
    for position, name in enumerate(label):
        for i, cell in enumerate(rows.columns[name]):
            value = _number(cell)
            if value not in (0.0, 1.0):
                wrong.append(f"column '{name}' of {rows.source}, line {rows.places[i]}: {cell!r} is not 0 or 1")
                continue
            result[i, position] = value
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more such cells"] if len(wrong) > SHOWN else []
        raise DataError(*wrong[:SHOWN], *more)
    return result


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return float(value)
    try:
        return float(value) if isinstance(value, int | float) else float(str(value).strip())
    except ValueError:
        return None


def _lines(places: Iterable[int]) -> str:
    lines = list(places)
    return ", ".join(map(str, lines[:SHOWN])) + (f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")

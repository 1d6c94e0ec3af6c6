"""What is in the label column: classes, several classes per row, or numbers; rows whose label cannot be used; answers
in the words of that column.

Knows no file format and no model.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence, Sized
from typing import Literal

import numpy as np

from whet.core import Answer, Problem, Rows
from whet.data.problems import SHOWN, at, first_few
from whet.errors import DataError, RecipeError, did_you_mean

FEW = 20
"""Up to so many distinct whole numbers are classes; more of them, or fractions, are values on a scale."""
SCALE = (0.03, 30.0)
"""Smallest and largest standard deviation of numbers that the default learning rates reach."""
LARGEST = float(np.finfo(np.float32).max)
"""Models compute in this range."""
LONGEST_CELL = 40
"""Characters of a cell that a message repeats."""
FLAGS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


def problem_of(rows: Rows, label: Sequence[str]) -> tuple[Problem, str]:
    """``single_label``, ``multi_label`` or ``regression`` for the rows of a label column, and why."""
    if len(label) > 1:
        return "multi_label", f"{len(label)} label columns"
    values = rows.columns[label[0]]
    if any(isinstance(value, list | tuple) for value in values):
        return "multi_label", f"'{label[0]}' holds lists"
    distinct = {class_name(value) for value in values}
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

    Raises DataError for labels that do not fit the problem, fewer than two classes and, where the rows are
    ``to_split``, classes with a single row.
    """
    if len(label) > 1:
        if problem == "single_label":
            raise DataError(f"{len(label)} label columns ({', '.join(label)}) say several things of a row; name one")
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
    names = sorted(places, key=natural_order)
    single = [name for name in names if len(places[name]) == 1]
    if to_split and problem == "single_label" and single:
        shown = first_few([f"{name!r} ({at(rows.source, places[name])})" for name in single])
        scale = all(_number(name) is not None for name in places)
        raise DataError(
            f"column '{label[0]}' of {rows.source}: a class with one row cannot be both learned and tested: "
            f"{shown}; add rows, correct the label or delete them"
            + ("; for numbers on a scale set task.problem=regression" if scale else "")
        )
    return names


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
        raise DataError(*unknown_classes(unknown, rows.source, names))
    if problem == "single_label":
        return np.array([position[row[0]] for row in listed], dtype=np.int64)
    result = np.zeros((len(rows), len(names)), dtype=np.float32)
    for i, row in enumerate(listed):
        result[i, [position[name] for name in row]] = 1.0
    return result


def unknown_classes(unknown: Mapping[str, Sequence[int]], source: str, names: Sequence[str]) -> list[str]:
    """What to tell of labels, with the places of their rows, that are not among the classes."""
    where = {name: f"{source}, {at(source, places)}" for name, places in unknown.items()}
    return _few(
        [f"label {name!r} in {place}, is not a known class{_near(name, names)}" for name, place in where.items()]
    )


def numbers(rows: Rows, label: Sequence[str]) -> np.ndarray:
    """(N,) finite numbers; raises DataError naming the cells that are none."""
    if len(label) != 1:
        raise DataError(f"regression needs one label column, not {len(label)}: {', '.join(label)}")
    values = [_number(value) for value in rows.columns[label[0]]]
    wrong = [i for i, value in enumerate(values) if value is None or not abs(value) <= LARGEST]
    if wrong:
        shown = first_few(_cells(rows, label[0], wrong))
        raise DataError(
            f"column '{label[0]}' of {rows.source} holds what is no finite number: {shown}; correct or delete them"
        )
    return np.array(values, dtype=np.float32)


def check_scale(rows: Rows, label: Sequence[str]) -> None:
    """Raise DataError where numbers cannot be learned: no finite ones, all the same, or of a scale far from 1.

    The squared error of prices in thousands would swamp every learning rate, and a model answers in the very numbers
    of the rows, so their scale is the user's to choose.
    """
    values = numbers(rows, label)
    spread = float(values.std())
    if spread == 0:
        raise DataError(f"column '{label[0]}' of {rows.source} holds one number only, {values[0]:g}; nothing to learn")
    if not (SCALE[0] <= spread <= SCALE[1] and abs(float(values.mean())) <= 10 * SCALE[1]):
        factor = 10.0 ** round(math.log10(max(spread, abs(float(values.mean())))))
        raise DataError(
            f"column '{label[0]}' of {rows.source}: the numbers have mean {values.mean():g} and standard deviation "
            f"{spread:g}, too far from 1 to be learned well; divide them by {factor:g}, and multiply the answers"
        )


def given_classes(given: Sequence[str], label: Sequence[str]) -> list[str]:
    """Classes that the user named; raises RecipeError where they cannot be those of the label columns."""
    names = [class_name(name) for name in given]
    repeated = sorted({name for name in names if names.count(name) > 1}, key=natural_order)
    if repeated:
        raise RecipeError(f"task.labels: {first_few([repr(name) for name in repeated])} stands twice; name each once")
    if len(label) > 1 and names != list(label):
        raise RecipeError(
            f"task.labels: with {len(label)} label columns the classes are those columns in their order; leave it out"
        )
    return names


def class_weights(
    wanted: Literal["balanced"] | Mapping[str, float] | None, found: np.ndarray, names: Sequence[str]
) -> dict[str, float] | None:
    """Weight of each class; 'balanced' is N / (C * count), so that the mean over the rows of a single label is 1.

    ``found`` are targets, (N,) class numbers or (N, C) zeros and ones. Raises RecipeError for weights that do not name
    every class once.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = found.sum(axis=0) if found.ndim > 1 else np.bincount(found, minlength=len(names))
        shares = len(names) * np.maximum(1, counts) / counts.sum()
        return {name: round(1 / float(share), 6) for name, share in zip(names, shares, strict=True)}
    given = {class_name(name): weight for name, weight in wanted.items()}
    problems = [f"task.class_weights: class {name!r} has none" for name in names if name not in given]
    problems += [
        f"task.class_weights: {name!r} is not a class{_near(name, names)}" for name in given if name not in names
    ]
    if problems:
        raise RecipeError(*_few(problems))
    return given


def answers(predictions: np.ndarray, problem: Problem, names: Sequence[str]) -> list[Answer]:
    """Predictions in the words of the data: (N, C) probabilities of the classes, or (N,) numbers.

    The answer is the most probable class, or for several labels every class of a probability of at least one half.
    """
    if problem == "regression":
        return [Answer(float(value), {}) for value in predictions]
    scores = [{name: float(value) for name, value in zip(names, row, strict=True)} for row in predictions]
    if problem == "single_label":
        return [Answer(max(row, key=row.__getitem__), row) for row in scores]
    return [Answer([name for name, value in row.items() if value >= 0.5], row) for row in scores]


def natural_order(name: str) -> tuple[tuple[int, float, str], ...]:
    """A sorting key in which numbers inside of names count as numbers, and -1 stands before 0."""
    if (number := _number(name)) is not None and math.isfinite(number):
        return ((0, number, name),)
    parts = re.split(r"(\d+)", name)
    return tuple((0, float(part), part) if part.isdecimal() else (1, 0.0, part) for part in parts if part)


def class_name(value: object) -> str:
    """The name of a class: 1, 1.0 and '1' are the same class, True is 'True', and so are two spellings in Unicode."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return unicodedata.normalize("NFC", str(value).strip())


def _names(rows: Rows, label: str, problem: Problem) -> list[list[str]]:
    single = problem == "single_label"
    found = [[value] if single else _listed(value) for value in rows.columns[label]]
    wrong = [
        i
        for i, items in enumerate(found)
        if any(isinstance(item, Sized) and not isinstance(item, str) for item in items)
    ]
    if wrong:
        lists = any(isinstance(rows.columns[label][i], list | tuple) for i in wrong)
        way_out = "; for several classes in a row set task.problem=multi_label" if single and lists else ""
        raise DataError(
            f"column '{label}' of {rows.source} holds what is no name of a class: "
            f"{first_few(_cells(rows, label, wrong))}{way_out}"
        )
    names = [[class_name(item) for item in items] for items in found]
    return names if single else [[name for name in row if name] for row in names]


def _listed(value: object) -> Sequence[object]:
    items = value if isinstance(value, list | tuple) else str(value).split("|")
    return [item for item in items if item is not None]


def _from_columns(rows: Rows, label: Sequence[str]) -> np.ndarray:
    result = np.zeros((len(rows), len(label)), dtype=np.float32)
    problems = []
    for position, name in enumerate(label):
        flags = [FLAGS.get(str(cell).strip().lower()) for cell in rows.columns[name]]
        wrong = [i for i, flag in enumerate(flags) if flag is None]
        if wrong:
            shown = first_few(_cells(rows, name, wrong))
            problems.append(f"column '{name}' of {rows.source} holds what is not 0 or 1: {shown}; correct them")
            continue
        result[:, position] = flags
    if problems:
        raise DataError(*problems)
    return result


def _number(value: object) -> float | None:
    if isinstance(value, bool | int | float):
        text = str(float(value)) if isinstance(value, bool) else str(value)
    else:
        text = str(value).strip()
    # Python reads 2024_01 as a number, nobody else does.
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _cells(rows: Rows, column: str, indices: Sequence[int]) -> list[str]:
    """Cells as a message shows them, each with its place."""
    told = []
    for i in indices:
        text = repr(rows.columns[column][i])
        text = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}..."
        told.append(f"{text} ({at(rows.source, [rows.places[i]])})")
    return told


def _near(name: str, names: Sequence[str]) -> str:
    """The nearest name, or all of them where they are few enough to read."""
    near = did_you_mean(name, names)
    return near if "did you mean" in near or len(names) <= FEW else f"; there are {len(names)}, none of them near"


def _few(problems: list[str]) -> list[str]:
    """The first problems of one kind, and how many more there are."""
    more = len(problems) - SHOWN
    return problems if more <= 0 else [*problems[:SHOWN], f"and {more} more of this kind"]

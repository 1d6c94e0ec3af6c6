"""Rows that say themselves on which side they stand, in a column of their own. Knows no file format and no task."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from whet.core import Choice, Rows
from whet.data.folder import PARTS
from whet.data.problems import at, first_few
from whet.errors import DataError, did_you_mean

RANDOM = "random"
"""Stands for no such column: sides are drawn."""

_NAMES = frozenset({"split", "splits", "subset", "partition", "set", "fold", "분할", "구분"})
"""Last words of the names that such a column goes by."""
_WORDS = {"train": ("학습", "훈련"), "validation": ("development", "검증"), "test": ("testing", "평가", "테스트")}
"""What such columns say beside the names of files."""
_SIDES = {word: side for side, words in PARTS.items() for word in (*words, *_WORDS[side])}


def by_column(
    splits: Mapping[str, Rows], column: str | None, taken: Collection[str]
) -> tuple[dict[str, Rows], list[Choice]]:
    """Rows by side, those of ``train`` as their own column says; as they were where there is none, or sides are drawn.

    ``column`` is what the user named; columns that are ``taken`` play another part. The column is left out of the rows
    then: it is neither a text nor a label. Raises DataError for a column that is absent, or that does not say the side
    of every row.
    """
    rows = splits["train"]
    found = None
    if column is None:
        found = next((name for name in rows.columns if name not in taken and _tells(name, rows.columns[name])), None)
    elif column != RANDOM:
        found = column
        _check(rows, column)
    if found is None:
        return dict(splits), []
    sides = [_side(value) for value in rows.columns[found]]
    others = replace(rows, columns={name: values for name, values in rows.columns.items() if name != found})
    marked = {side: [row for row, own in enumerate(sides) if own == side] for side in PARTS}
    apart = {side: others.take(chosen) for side, chosen in marked.items() if chosen}
    given = {side: part for side, part in splits.items() if side != "train"}
    why = f"its values say who trains: {', '.join(f'{len(part):,} {side}' for side, part in apart.items())}"
    if left := [side for side in apart if side in given]:
        why += f"; there are other rows for {' and '.join(left)}, so these are left out"
    whole = {**apart, **given}
    told = Choice("data.split", found, "given" if column else "inferred", why)
    return {side: whole[side] for side in PARTS if side in whole}, [told]


def _tells(name: str, values: Sequence[object]) -> bool:
    """Whether a column is called like one that says the side of a row, and says so of each, and not of all the same."""
    if not _NAMES & {re.split(r"[\W_]+", name.casefold())[-1]}:
        return False
    sides = {_side(value) for value in values}
    return None not in sides and "train" in sides and len(sides) > 1


def _side(value: object) -> str | None:
    return _SIDES.get(str(value).strip().casefold())


def _check(rows: Rows, column: str) -> None:
    """Raise DataError where a column does not say the side of every row."""
    if column not in rows.columns:
        way_out = f"{did_you_mean(column, rows.columns)}; data.split={RANDOM} draws the sides"
        raise DataError(f"data.split: column '{column}' not in {rows.source}{way_out}")
    values = rows.columns[column]
    wrong = [row for row, value in enumerate(values) if _side(value) is None]
    if wrong:
        told = first_few([f"{values[row]!r} ({at(rows.source, [rows.places[row]])})" for row in wrong])
        raise DataError(
            f"data.split: column '{column}' of {rows.source} says no side: {told}; known are "
            f"{', '.join(word for words in PARTS.values() for word in words)}"
        )
    if {_side(value) for value in values} == {"train"} or "train" not in map(_side, values):
        raise DataError(
            f"data.split: column '{column}' of {rows.source} tells no row to train from others; leave it out"
        )

"""How problems of many rows are told: the first few places, and how many more there are.

Knows no file format and no column.
"""

from collections.abc import Sequence

SHOWN = 5
"""How many places of one kind of problem a message names."""


def first_few(items: Sequence[object], separator: str = ", ") -> str:
    """The first items in words, and the number of the others: ``"3, 9, 12, 15, 20 and 12 more"``."""
    shown = separator.join(str(item) for item in items[:SHOWN])
    return shown if len(items) <= SHOWN else f"{shown} and {len(items) - SHOWN} more"


_IN_LINES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".conll", ".iob", ".bio")


def at(source: str, places: Sequence[int]) -> str:
    """Where rows stand, such as ``"lines 3, 9"``; formats without lines count their records instead."""
    unit = "line" if source.lower().endswith(_IN_LINES) else "record"
    return f"{unit if len(places) == 1 else unit + 's'} {first_few(places)}"

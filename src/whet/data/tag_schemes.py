"""Tags that mark parts of a row: what is marked by B-, I- and their kin, read as leniently as conlleval does.

Knows no file format and no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"
"""The tag of what belongs to no part."""

_MARK = re.compile(r"([BIESLU])-(.+)|O", re.DOTALL)
_GOES_ON = ("I", "E", "L")
_ENDS = ("E", "L", "S", "U")


class Part(NamedTuple):
    """Some units in a row of them, and what they are together."""

    start: int
    end: int
    """Where the next part would begin."""
    label: str


def is_scheme(names: Iterable[str]) -> bool:
    """Do all tags tell where a part begins or goes on (IOB1, IOB2, IOBES, BILOU), and what it is?"""
    matches = [_MARK.fullmatch(name) for name in names]
    return all(matches) and any(match is not None and match[1] for match in matches)


def parts(tags: Sequence[str]) -> list[Part]:
    """The parts that tags of a scheme mark.

    A part goes on where I-, E- or L- of its own label follows, unless an end was marked; everything else but O begins
    a new one. So IOB1, IOB2, IOBES, BILOU and what breaks their rules are all read.
    """
    found: list[Part] = []
    start, label, ended = 0, "", False
    for position, tag in enumerate([*tags, OUTSIDE]):
        match = _MARK.fullmatch(tag)
        mark, named = (match[1] or "", match[2] or "") if match is not None else ("", "")
        if label and mark in _GOES_ON and named == label and not ended:
            ended = mark in _ENDS
            continue
        if label:
            found.append(Part(start, position, label))
        start, label, ended = position, named, mark in _ENDS
    return found


def going_on(tag: str) -> str:
    """The tag of what goes on where this tag stands: I- of the same label, or the very tag where it is of no scheme."""
    match = _MARK.fullmatch(tag)
    return f"I-{match[2]}" if match is not None and match[1] else tag


def marked(marks: Iterable[Part], length: int) -> list[str]:
    """Tags of ``length`` units by IOB2."""
    tags = [OUTSIDE] * length
    for start, end, label in marks:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def of_labels(labels: Iterable[str]) -> list[str]:
    """All tags of IOB2 for what parts are called."""
    return [OUTSIDE, *(f"{mark}-{label}" for label in labels for mark in "BI")]

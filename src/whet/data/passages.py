"""A plain text as rows: passages of some thousand characters, cut where the text itself has a break."""

from __future__ import annotations

import re

from whet.core import Rows

LONG = 4000
"""Characters of a passage, unless no break comes."""

_BREAK = re.compile(r"\n[ \t]*\n+")


def read_passages(text: str, name: str) -> Rows:
    """The passages of a text in column ``text``, each from the line it begins on; cut at empty lines, else at lines."""
    passages: list[str] = []
    places: list[int] = []
    begin, line = 0, 1
    while begin < len(text):
        end = _end(text, begin)
        passage = text[begin:end]
        if passage.strip():
            blank = len(passage) - len(passage.lstrip("\n"))
            passages.append(passage.strip("\n"))
            places.append(line + blank)
        line += passage.count("\n")
        begin = end
    return Rows({"text": list(passages)}, name, places)


def _end(text: str, begin: int) -> int:
    """Where the passage ends that begins here."""
    if len(text) - begin <= LONG:
        return len(text)
    later = _BREAK.search(text, begin + LONG)
    for end in (later.end() if later else 0, text.find("\n", begin + LONG) + 1):
        if begin < end <= begin + 2 * LONG:
            return end
    last = text.rfind("\n", begin, begin + 2 * LONG)
    return begin + LONG if last <= begin else last + 1

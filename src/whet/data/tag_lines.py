"""Files with a token and its tag in each line, and an empty line after each sentence, become rows of lists.

The layout of the CoNLL shared tasks: cells between tabs, or between spaces where a line has no tab; the token is the
first and the tag the last. Knows no file system and no meaning of a tag.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.core import Rows
from whet.data.problems import first_few
from whet.errors import DataError

SUFFIXES = (".conll", ".iob", ".bio")

TOKENS, TAGS = "tokens", "tags"


@dataclass
class _Sentences:
    """What is read so far."""

    width: int = 0
    """Cells of a line; those of the first one hold for all."""
    rows: list[list[list[str]]] = field(default_factory=list)
    """Sentences of lines of cells."""
    places: list[int] = field(default_factory=list)
    open: bool = False

    def add(self, cells: list[str], line: int) -> None:
        if not self.open:
            self.rows.append([])
            self.places.append(line)
            self.open = True
        self.rows[-1].append(cells)


def read_tag_lines(text: str, name: str) -> Rows:
    """The sentences of a text; a row's place is the line on which its first token stands.

    Columns are ``tokens`` and ``tags``, and ``column_2`` and so on for what stands between them. Comments (lines that
    begin with ``# `` or ``##`` before the first token of a sentence) and the marks between documents are left out.
    Raises DataError naming lines without a tag, or with another number of cells than the first.
    """
    found = _Sentences()
    lone: list[int] = []
    ragged: list[str] = []
    # not splitlines(): a token may be another line separator, such as U+2028
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip() or line.startswith("-DOCSTART-"):
            found.open = False
            continue
        if not found.open and _is_comment(line):
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        found.width = found.width or len(cells)
        if len(cells) < 2 or not cells[-1].strip():
            lone.append(number)
        elif len(cells) != found.width:
            ragged.append(f"line {number} has {len(cells)}")
        else:
            found.add(cells, number)
    problems = []
    if lone:
        problems.append(f"{name}: there is a token without a tag in line {first_few(lone)}; write both, or delete it")
    if ragged:
        problems.append(f"{name}: the first token has {found.width} cells, but {first_few(ragged)}; make them alike")
    if not problems and not found.rows:
        problems.append(f"{name}: there is not a single token with a tag")
    if problems:
        raise DataError(*problems)
    names = [TOKENS, *(f"column_{i}" for i in range(2, found.width)), TAGS]
    columns: dict[str, list[object]] = {
        column: [[cells[i].strip() if i else cells[i] for cells in row] for row in found.rows]
        for i, column in enumerate(names)
    }
    return Rows(columns, name, found.places)


def _is_comment(line: str) -> bool:
    """Tweets begin with # too: a comment has no tag, or says what something is."""
    return line.startswith("##") or (line.startswith("# ") and (" = " in line or len(line.split()) != 2))

"""CSV and TSV text becomes rows; cells stay text, nothing is guessed from them.

Knows no file system and no meaning of a column.
"""

import csv
import io
import re
from dataclasses import dataclass, field
from typing import Literal

from whet.core import Choice, Rows
from whet.data.problems import first_few
from whet.errors import DataError

LONGEST_CELL = 1_000_000
"""Characters; a longer cell is taken for a quotation mark that never closes."""

_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}


@dataclass
class _Table:
    """What a reader found: the header, the cells by column, and everything that is wrong."""

    delimiter: str
    header: list[str] = field(default_factory=list)
    columns: list[list[object]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    multiline: bool = False
    """True where a cell goes on over several lines."""
    unclosed: list[int] = field(default_factory=list)
    unpaired: list[int] = field(default_factory=list)
    ragged: list[str] = field(default_factory=list)
    overlong: list[str] = field(default_factory=list)

    def add(self, record: list[str], line: int) -> None:
        """Take in one record that starts on ``line``; the first is the header."""
        if not self.header:
            self.header = [cell.strip() for cell in record]
            self.columns = [[] for _ in record]
            return
        if len(record) != len(self.header):
            self.ragged.append(f"line {line} has {len(record)}")
            return
        for name, column, cell in zip(self.header, self.columns, record, strict=True):
            if len(cell) > LONGEST_CELL:
                self.overlong.append(f"in line {line}, column '{name}' ({len(cell):,} characters)")
            column.append(cell)
        self.places.append(line)

    def problems(self) -> list[str]:
        """Everything that is wrong below the header, one text for each kind."""
        problems = []
        if self.unclosed:
            problems.append(f"the record of line {first_few(self.unclosed)} opens a quotation mark that never closes")
        if self.unpaired:
            problems.append(
                f"a quoted cell goes on after its closing quotation mark (line {first_few(self.unpaired)}); "
                'a quotation mark inside a quoted cell is written twice: ""'
            )
        if self.overlong:
            problems.append(
                f"a cell is longer than {LONGEST_CELL:,} characters {first_few(self.overlong)}; "
                "mostly a quotation mark before it is never closed, else cut the text"
            )
        if self.ragged:
            sign = _NAMES.get(self.delimiter, repr(self.delimiter))
            problems.append(
                f"the header has {len(self.header)} cells, but {first_few(self.ragged)}; "
                f"put cells that contain the delimiter ({sign}) in quotation marks"
            )
        return problems


def read_delimited(text: str, name: str, delimiter: str | None) -> tuple[Rows, Choice]:
    """The rows of CSV or TSV text, and how its cells are told apart.

    ``delimiter`` None: a tab for a name that ends in ``.tsv``, else whichever of comma, semicolon, tab and bar the
    header has. The place of a row is the line its record starts on. Raises DataError with all problems at once.
    """
    choice = _delimiter(text, name, delimiter)
    sign = str(choice.value)
    table = _parse(text, sign, quoted=True)
    if sign == "\t" and (table.problems() or table.multiline):
        # Many TSV files are written without quoting, so a lone quotation mark would swallow the lines after it.
        literal = _parse(text, sign, quoted=False)
        if not literal.problems():
            table = literal
            reason = f"{choice.reason}; quotation marks in {name} are plain characters, they do not pair up"
            choice = Choice(choice.path, choice.value, choice.origin, reason)
    problems = [*name_problems(table.header), *table.problems()]
    if not problems and not table.places:
        problems = ["there is a header and not a single row"]
    if problems:
        raise DataError(*(f"{name}: {problem}" for problem in problems))
    return Rows(dict(zip(table.header, table.columns, strict=True)), name, table.places), choice


def name_problems(names: list[str]) -> list[str]:
    """What is wrong with the names of columns: empty ones and repeated ones."""
    problems = []
    empty = [position for position, name in enumerate(names, start=1) if not name]
    if empty:
        hint = " (an index that pandas wrote? save with index=False)" if empty == [1] else ""
        problems.append(f"the header has no name for column {first_few(empty)}{hint}; name or remove it")
    for name in dict.fromkeys(names):
        positions = [position for position, other in enumerate(names, start=1) if other == name]
        if name and len(positions) > 1:
            listed = first_few(positions)
            problems.append(
                f"column name '{name}' stands {len(positions)} times (columns {listed}); rename all but one"
            )
    return problems


def _delimiter(text: str, name: str, given: str | None) -> Choice:
    if given is not None:
        sign = {"tab": "\t", "\\t": "\t"}.get(given, given)
        if len(sign) != 1 or sign in '"\r\n':
            raise DataError(f"delimiter '{given}' is not a single character; try --set data.delimiter=';' or tab")
        return Choice("data.delimiter", sign, "given")
    if name.lower().endswith(".tsv"):
        return Choice("data.delimiter", "\t", "default")
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    if "," not in header:
        best = max((";", "\t", "|"), key=header.count)
        if best in header:
            return Choice("data.delimiter", best, "inferred", f"{name}: its header has no comma, but a {_NAMES[best]}")
    return Choice("data.delimiter", ",", "default")


def _parse(text: str, delimiter: str, *, quoted: bool) -> _Table:
    table = _Table(delimiter)
    lines = io.StringIO(text, newline="")
    previous = csv.field_size_limit(min(max(len(text), csv.field_size_limit()), 2**31 - 1))
    try:
        # strict: a quotation mark that does not pair up is an error instead of silently swallowed lines
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                record = next(reader, None)
            except csv.Error as error:
                (table.unclosed if "unexpected end of data" in str(error) else table.unpaired).append(line)
                continue
            if record is None:
                return table
            if record:
                table.multiline |= reader.line_num > line
                table.add(record, line)
    finally:
        csv.field_size_limit(previous)

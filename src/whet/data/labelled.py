"""What all tasks share whose rows are texts or files with labels: which columns those are, and which rows lack them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from whet.core import Choice, Columns, Medium, Rows
from whet.data import columns as columns_of
from whet.data.complete import complete
from whet.data.media import media_column
from whet.data.problems import at, first_few
from whet.errors import DataError
from whet.protocols import COMPLETE


class LabelledTexts:
    """Columns of texts and labels, and rows that have both."""

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        """By well-known names first, by the shape of the values second."""
        return columns_of.infer(rows, text=text, label=label, group=group)

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        """The rows that have all their texts, and labels where they should."""
        return complete(rows, columns if labelled else Columns(columns.text, ()), drop=drop, way_out=way_out)


class LabelledFiles:
    """Columns of files, or of their paths, and labels; rows that have both, and whose files can be read."""

    medium: ClassVar[Medium]

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        """The files by what their cells hold or name, the labels as beside texts."""
        if text is not None and len(text) > 1:
            raise DataError(f"data.text: a row has one {self.medium}, not {len(text)}: {', '.join(text)}")
        found = media_column(rows) if text is None else None
        if text is None and (found is None or found[1] != self.medium):
            raise DataError(
                f"no column of {rows.source} names or holds {self.medium}s; columns are "
                f"{first_few([repr(name) for name in rows.columns])}; name it with --set data.text=NAME"
            )
        files = text or [found[0] if found else ""]
        columns, choices = columns_of.infer(rows, text=files, label=label, group=group)
        if found is not None:
            told = Choice("data.text", files[0], "inferred", f"it holds {self.medium}s or their paths")
            choices = [told if choice.path == "data.text" else choice for choice in choices]
        return columns, choices

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        """The rows that have a file, which can be read, and labels where they should."""
        asked = columns if labelled else Columns(columns.text, ())
        problems: list[str] = []
        kept = rows
        try:
            kept, _ = complete(rows, asked, drop=drop, way_out=way_out, medium=self.medium)
        except DataError as error:
            problems += error.problems
        content, broken = self.examine(kept, columns.text[0])
        if broken and not drop:
            told = [f"{what} ({at(kept.source, [kept.places[i]])})" for i, what in broken.items()]
            count = f"{len(broken):,} of {len(kept):,} {self.medium}s"
            problems.insert(0, f"{kept.source}: {count} cannot be read: {first_few(told, '; ')}")
            problems += [] if way_out in problems else [way_out]
        if len(broken) == len(kept):
            problems = problems or [f"not one of the {len(kept):,} {self.medium}s of {kept.source} can be read"]
        if problems:
            raise DataError(*problems)
        whole = replace(kept, content=content)
        good = whole.take(i for i in range(len(kept)) if i not in broken) if broken else whole
        return good, len(rows) - len(good)

    @abstractmethod
    def examine(self, rows: Rows, column: str) -> tuple[list[str], dict[int, str]]:
        """(N,) a digest of what each file holds, and why those that cannot be read cannot, by row."""

"""What all tasks share whose rows are texts with labels: which columns those are, and which rows lack them."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core import Choice, Columns, Rows
from whet.data import columns as columns_of
from whet.data.complete import complete
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

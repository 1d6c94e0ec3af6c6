"""Rows of sounds with what is said in them: which columns those are, and which rows lack something of it."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core import Choice, Columns, Rows
from whet.data.columns import check
from whet.data.labelled import LabelledFiles
from whet.errors import DataError

TRANSCRIPTS = (
    *("transcript", "transcription", "normalized_text", "text", "sentence", "utterance"),
    *("전사", "받아쓰기", "문장", "텍스트"),
)
"""Names of columns with what is said, the surest first."""


def transcript_column(rows: Rows) -> str | None:
    """The column of what is said, by its name."""
    plain = {name.casefold(): name for name in rows.columns}
    return next((plain[name] for name in TRANSCRIPTS if name in plain), None)


class SpokenFiles(LabelledFiles):
    """Columns of sounds, or of their paths, and of transcripts; rows that have both, and can be heard."""

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        """The sounds by what their cells hold or name, the transcripts by their name."""
        if label is not None and len(label) != 1:
            raise DataError(f"data.label: a sound has one transcript, not {len(label)}: {', '.join(label)}")
        said = transcript_column(rows) if label is None else label[0]
        if said is None:
            raise DataError(
                f"no column of {rows.source} has the name of transcripts, such as transcript, text or sentence; "
                f"columns are {', '.join(map(repr, rows.columns))}; name it with --set data.label=NAME"
            )
        check(rows, Columns((), (said,), group))
        columns, choices = super().find_columns(rows, text=text, label=[said], group=group)
        if label is None:
            why = Choice("data.label", said, "inferred", "by its name: what is said")
            choices = [why if choice.path == "data.label" else choice for choice in choices]
        return columns, choices

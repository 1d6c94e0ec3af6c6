"""Which task a table is for, where its columns leave no doubt."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core import Rows
from whet.data.media import media_column
from whet.data.paired_columns import is_rewritten
from whet.data.spoken import transcript_column
from whet.data.tagged_columns import is_tagged
from whet.data.written_columns import is_written

_NAMED = "there are texts, and a label is named"
_OF_MEDIA = {"picture": "image_classification", "sound": "audio_classification"}


def task_of(rows: Rows, label: Sequence[str] | None = None) -> tuple[str, str]:
    """Name of the task, and why it is this one; ``label`` are the columns that the user named for it."""
    if (found := media_column(rows)) is not None:
        column, medium = found
        named = any(isinstance(value, str) for value in rows.columns[column])
        why = f"column '{column}' {'names' if named else 'holds'} {medium}s"
        said = transcript_column(rows) if medium == "sound" else None
        if said is not None and label in (None, [said]):
            return "speech_recognition", f"{why}, column '{said}' holds what is said"
        return _OF_MEDIA[medium], why
    found_written = [("causal_lm", is_written(rows)), ("seq2seq", is_rewritten(rows))]
    for name, told in found_written:
        if told is not None:
            # Whoever names a label may want classes of what could be gone on with.
            return (name, told) if label is None else ("text_classification", "there are texts, and a label is named")
    if (tagged := is_tagged(rows)) is not None:
        lists = label is None or all(isinstance(cell, list) for cell in rows.columns.get(label[0], [None]))
        return (
            ("token_classification", tagged)
            if lists
            else ("text_classification", "there are texts, and a label is named")
        )
    return "text_classification", "there are texts and labels"

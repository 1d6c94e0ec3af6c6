"""Which task a table is for, where its columns leave no doubt."""

from __future__ import annotations

from whet.core import Rows
from whet.data.media import media_column
from whet.data.paired_columns import is_rewritten
from whet.data.tagged_columns import is_tagged
from whet.data.written_columns import is_written

_OF_MEDIA = {"picture": "image_classification", "sound": "audio_classification"}


def task_of(rows: Rows) -> tuple[str, str]:
    """Name of the task, and why it is this one."""
    if (why := is_written(rows)) is not None:
        return "causal_lm", why
    if (why := is_rewritten(rows)) is not None:
        return "seq2seq", why
    if (why := is_tagged(rows)) is not None:
        return "token_classification", why
    if (found := media_column(rows)) is not None:
        column, medium = found
        named = any(isinstance(value, str) for value in rows.columns[column])
        return _OF_MEDIA[medium], f"column '{column}' {'names' if named else 'holds'} {medium}s"
    return "text_classification", "there are texts and labels"

"""Which columns hold texts to go on with: plain texts, prompts and completions, instructions and answers, chats."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core import Choice, Columns, Rows
from whet.data import columns as columns_of
from whet.data.chats import Form, MisfitError, messages_of
from whet.data.problems import at
from whet.errors import DataError

CHATS = ("messages", "conversations", "conversation", "chat", "dialog", "대화")
"""Names of columns with lists of messages."""

PAIRS = (
    (("instruction", "input"), ("output", "response")),
    (("instruction", "context"), ("response", "output")),
    (("instruction",), ("output", "response", "answer")),
    (("prompt",), ("completion", "response", "answer", "output")),
    (("question",), ("answer", "response")),
    (("질문",), ("답변", "대답")),
    (("지시",), ("출력", "응답")),
)
"""Names of columns with prompts, and of those with the completions that belong to them, the surest first."""

TEXTS = ("text", "content", "document", "story", "code", "본문", "텍스트", "문서")
"""Names of columns with plain texts."""

OPENING = 80
"""Characters of a plain text from which the model goes on, to show what it learned."""


def is_written(rows: Rows) -> str | None:
    """Why the rows are to be learned as texts and not to be classified; None where that is not sure."""
    names = {name.casefold(): name for name in rows.columns}
    for chat in CHATS:
        if chat in names and any(isinstance(value, list) for value in rows.columns[names[chat]]):
            return f"column '{names[chat]}' holds chats"
    for prompts, completions in PAIRS[:4]:
        found = next((names[name] for name in completions if name in names), None)
        if found is not None and all(name in names for name in prompts):
            return f"columns {' and '.join(repr(names[name]) for name in prompts)} come with '{found}'"
    return "plain texts" if rows.source.endswith(".txt") else None


def infer(
    rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
) -> tuple[Columns, list[Choice]]:
    """Columns of texts, of prompts and completions, or of chats; raises DataError where none are found."""
    if text is not None:
        columns, choices = columns_of.infer(rows, text=text, label=label or (), group=group)
        return columns, choices
    names = {name.casefold(): name for name in rows.columns}
    found = _chats(rows, names) or _pairs(names, label) or _texts(names)
    if found is None:
        raise DataError(
            f"no column of {rows.source} looks like texts to go on with; columns are "
            f"{', '.join(map(repr, rows.columns))}; name the prompt with data.text and the answer with data.label"
        )
    texts, labels, why = found
    columns_of.infer(rows, text=texts, label=labels, group=group)
    choices = [Choice("data.text", texts[0] if len(texts) == 1 else list(texts), "inferred", why)]
    if labels:
        choices.append(Choice("data.label", labels[0], "given" if label else "inferred", "" if label else why))
    return Columns(texts, labels, group), choices


def usable(rows: Rows, columns: Columns, form: Form, *, drop: bool, labelled: bool, way_out: str) -> tuple[Rows, int]:
    """The rows that can be learned, or asked where they are not ``labelled``; raises DataError naming the others."""
    problems: dict[str, list[int]] = {}
    for row in range(len(rows)):
        if form == "chats":
            why = _chat_problem(rows.columns[columns.text[0]][row], labelled)
        else:
            why = _text_problem(rows, columns, row, labelled)
        if why is not None:
            problems.setdefault(why, []).append(row)
    wrong = {row for rows_of_kind in problems.values() for row in rows_of_kind}
    if not wrong:
        return rows, 0
    if drop and len(wrong) < len(rows):
        return rows.take(i for i in range(len(rows)) if i not in wrong), len(wrong)
    told = [
        f"{rows.source}: {at(rows.source, [rows.places[i] for i in places])}: {why}" for why, places in problems.items()
    ]
    raise DataError(*told, way_out)


def openings(rows: Rows, columns: Columns, form: Form) -> Rows:
    """Rows as one would ask with them: of a plain text only the beginning, cut at a space."""
    if form != "text":
        return rows
    name = columns.text[0]
    begun: list[object] = []
    for value in rows.columns[name]:
        beginning, _, last = str(value)[:OPENING].rpartition(" ")
        begun.append(beginning or last)
    return Rows({**rows.columns, name: begun}, rows.source, rows.places)


def references(rows: Rows, columns: Columns, form: Form) -> list[str]:
    """The answers that rows hold; none where they are plain texts."""
    if form == "text":
        return []
    if form == "pairs":
        return [str(value) for value in rows.columns[columns.label[0]]]
    chats = [messages_of(value) for value in rows.columns[columns.text[0]]]
    return [chat[-1]["content"] if chat[-1]["role"] == "assistant" else "" for chat in chats]


def _chats(rows: Rows, names: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...], str] | None:
    for name in CHATS:
        if name in names and any(isinstance(value, list) for value in rows.columns[names[name]]):
            return (names[name],), (), "lists of messages"
    return None


def _pairs(names: dict[str, str], label: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...], str] | None:
    for prompts, completions in PAIRS:
        wanted = tuple(name.casefold() for name in label) if label is not None else completions
        found = next((names[name] for name in wanted if name in names), None)
        if found is not None and all(name in names for name in prompts):
            return tuple(names[name] for name in prompts), (found,), "by their names"
    return None


def _texts(names: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...], str] | None:
    found = next((names[name] for name in TEXTS if name in names), None)
    if found is None and len(names) == 1:
        found = next(iter(names.values()))
    return None if found is None else ((found,), (), "by its name: the text itself is learned")


def _chat_problem(value: object, labelled: bool) -> str | None:
    if isinstance(value, str) and value.strip() and not labelled:
        return None
    try:
        messages = messages_of(value)
    except MisfitError as error:
        return f"the cell {error}"
    if labelled and not any(message["role"] == "assistant" and message["content"].strip() for message in messages):
        return "the chat has no answer to learn from"
    return None


def _text_problem(rows: Rows, columns: Columns, row: int, labelled: bool) -> str | None:
    # The second column of a prompt is what an instruction is about; not every instruction needs one.
    answers = [(name, "answer") for name in columns.label] if labelled else []
    for name, part in ((columns.text[0], "text"), *answers):
        value = rows.columns[name][row]
        if isinstance(value, list | dict | bytes):
            return f"column '{name}' holds no text"
        if value is None or not str(value).strip() or value != value:
            return f"there is no {part} in column '{name}'"
    return None

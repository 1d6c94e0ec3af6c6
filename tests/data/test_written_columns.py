"""Which columns are to be gone on with, and which rows can be."""

import pytest

from whet.core import Columns, Rows
from whet.data.written_columns import infer, is_written, openings, references, usable
from whet.errors import DataError

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def table(source: str = "a.jsonl", **columns: list[object]) -> Rows:
    return Rows(columns, source, range(1, 1 + len(next(iter(columns.values())))))


@pytest.mark.parametrize(
    ("rows", "text", "label", "written"),
    [
        (table(messages=[CHAT]), ("messages",), (), True),
        (table(Conversations=[CHAT], id=["1"]), ("Conversations",), (), True),
        (table(instruction=["Add"], input=["1"], output=["2"]), ("instruction", "input"), ("output",), True),
        (table(instruction=["Add"], output=["2"]), ("instruction",), ("output",), True),
        (table(prompt=["a"], completion=["b"]), ("prompt",), ("completion",), True),
        (table(question=["a"], answer=["b"], label=["c"]), ("question",), ("answer",), False),
        (table("b.txt", text=["a"]), ("text",), (), True),
        (table(text=["a"], label=["b"]), ("text",), (), False),
        (table(story=["a"]), ("story",), (), False),
        (table(whatever=["a"]), ("whatever",), (), False),
    ],
)
def test_columns_by_their_names(rows: Rows, text: tuple[str, ...], label: tuple[str, ...], written: bool) -> None:
    columns, choices = infer(rows, text=None, label=None, group=None)
    assert (columns.text, columns.label) == (text, label)
    assert all(choice.reason for choice in choices)
    assert (is_written(rows) is not None) is written


def test_named_columns_hold_and_a_wrong_name_is_told() -> None:
    rows = table(ask=["a"], reply=["b"])
    columns, _ = infer(rows, text=["ask"], label=["reply"], group=None)
    assert columns == Columns(("ask",), ("reply",))
    assert infer(rows, text=["ask"], label=None, group=None)[0] == Columns(("ask",), ())
    with pytest.raises(DataError, match=r"column 'replly' not in a.jsonl; did you mean 'reply'"):
        infer(rows, text=["ask"], label=["replly"], group=None)
    with pytest.raises(DataError, match=r"no column of a.jsonl looks like texts to go on with.*data.text"):
        infer(rows, text=None, label=None, group=None)


def test_all_rows_that_cannot_be_learned_are_told_at_once() -> None:
    rows = table(messages=[CHAT, CHAT[:1], [], "text", CHAT])
    columns = Columns(("messages",), ())
    with pytest.raises(DataError) as raised:
        usable(rows, columns, "chats", drop=False, labelled=True, way_out="fill them in")
    assert list(raised.value.problems) == [
        "a.jsonl: line 2: the chat has no answer to learn from",
        "a.jsonl: lines 3, 4: the cell is no list of messages",
        "fill them in",
    ]
    kept, dropped = usable(rows, columns, "chats", drop=True, labelled=True, way_out="")
    assert (kept.places, dropped) == ([1, 5], 3)
    # Who asks has no answer yet.
    asked = table(messages=[CHAT[:1], "Hello?"])
    assert usable(asked, columns, "chats", drop=False, labelled=False, way_out="") == (asked, 0)


def test_an_instruction_without_an_input_can_be_learned_and_one_without_an_answer_cannot() -> None:
    columns = Columns(("instruction", "input"), ("output",))
    rows = table(instruction=["a", "b", ""], input=[None, "", "x"], output=["1", " ", "2"])
    with pytest.raises(DataError) as raised:
        usable(rows, columns, "pairs", drop=False, labelled=True, way_out="way out")
    assert list(raised.value.problems[:2]) == [
        "a.jsonl: line 2: there is no answer in column 'output'",
        "a.jsonl: line 3: there is no text in column 'instruction'",
    ]


def test_what_is_asked_and_what_is_compared() -> None:
    text = table(text=["once upon a time " * 20, "short"])
    begun = openings(text, Columns(("text",), ()), "text").columns["text"]
    assert all(str(whole).startswith(str(part)) for whole, part in zip(text.columns["text"], begun, strict=True))
    assert len(str(begun[0])) <= 80
    assert not str(begun[0]).endswith(" ")
    assert references(text, Columns(("text",), ()), "text") == []
    assert references(table(messages=[CHAT, CHAT[:1]]), Columns(("messages",), ()), "chats") == ["Hello", ""]
    assert references(table(p=["a"], c=["b"]), Columns(("p",), ("c",)), "pairs") == ["b"]

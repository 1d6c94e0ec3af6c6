"""Which columns are tokens and tags, or texts and spans; which rows cannot be learned."""

from typing import Any

import pytest

from whet.core import Columns, Rows
from whet.data.kinds import task_of
from whet.data.tagged_columns import form_of, infer, usable
from whet.errors import DataError

TOKENS: list[Any] = [["a", "b"], ["c", "a", "a"]]
SPANS: list[Any] = [[{"start": 0, "end": 1, "label": "x"}], []]


def table(**columns: list[Any]) -> Rows:
    return Rows(columns, "data.jsonl", range(1, 1 + len(next(iter(columns.values())))))


def found(rows: Rows, text: str | None = None, label: str | None = None) -> tuple[str, str]:
    columns, _ = infer(rows, text=text and [text], label=label and [label], group=None)
    return columns.text[0], columns.label[0]


@pytest.mark.parametrize("name", ["ner_tags", "tags", "labels", "pos", "UPOS"])
def test_tokens_and_tags_are_found_by_name(name: str) -> None:
    rows = table(id=["1", "2"], tokens=TOKENS, **{name: [["O", "x"], ["O", "O", "x"]]})
    assert found(rows) == ("tokens", name)
    assert task_of(rows)[0] == "token_classification"


def test_the_surest_tags_win_and_the_others_are_told() -> None:
    rows = table(tokens=TOKENS, pos_tags=[["N", "N"], ["V", "N", "N"]], ner_tags=[[0, 1], [0, 0, 1]])
    columns, choices = infer(rows, text=None, label=None, group=None)
    assert columns.label == ("ner_tags",)
    assert "'pos_tags' could be tags too" in choices[1].reason
    assert found(rows, label="pos_tags") == ("tokens", "pos_tags")


def test_texts_with_spans_come_before_tokens() -> None:
    rows = table(text=["a b", "c a a"], entities=SPANS, tokens=TOKENS, ner_tags=[["O", "x"], ["O", "O", "x"]])
    assert found(rows) == ("text", "entities")
    assert form_of(rows, Columns(("text",), ("entities",))) == "spans"
    assert found(table(text=["a b", "c"], label=[[[0, 1, "x"]], []])) == ("text", "label")


def test_lists_without_a_known_name_are_found_by_their_shape() -> None:
    assert found(table(forms=TOKENS, what=[[1, 0], [1, 1, 0]])) == ("forms", "what")


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["a b", "c"], "label": ["x", "y"]},
        {"text": ["a b", "c"], "labels": [["x"], ["y", "z"]]},
        {"messages": [[{"role": "user", "content": "a"}]] * 2},
    ],
)
def test_what_is_no_tagging_is_not_taken_for_it(columns: dict[str, list[Any]]) -> None:
    assert task_of(table(**columns))[0] != "token_classification"
    with pytest.raises(DataError, match="no two columns"):
        infer(table(**columns), text=None, label=None, group=None)


def test_pieces_are_told_from_words_by_the_spaces_among_them() -> None:
    rows = table(tokens=[["a", " ", "b"], ["c"]], tags=[["x", "O", "x"], ["O"]])
    assert form_of(rows, Columns(("tokens",), ("tags",))) == "pieces"


@pytest.mark.parametrize(
    ("tokens", "tags", "why"),
    [
        ([], [], "there is no token"),
        (["", " "], ["O", "O"], "there is no token"),
        (["a", None], ["O", "O"], "a token is no text"),
        (["a", "b"], ["O"], "not one tag for each token"),
        (["a", "b"], ["O", None], "a tag is empty"),
        (["a"], None, "no list of tags"),
        (None, ["O"], "no list of tokens"),
    ],
)
def test_rows_that_do_not_fit_are_named_or_dropped(tokens: Any, tags: Any, why: str) -> None:
    rows = table(tokens=[["a"], tokens, ["b"]], tags=[["O"], tags, ["x"]])
    columns = Columns(("tokens",), ("tags",))
    with pytest.raises(DataError, match=rf"line 2: .*{why}"):
        usable(rows, columns, "words", drop=False, labelled=True, way_out="go")
    kept, dropped = usable(rows, columns, "words", drop=True, labelled=True, way_out="go")
    assert (list(kept.places), dropped) == ([1, 3], 1)


@pytest.mark.parametrize(
    ("spans", "why"),
    [
        ([(0, 2, "x"), (1, 3, "x")], "spans overlap"),
        ([(0, 9, "x")], "does not lie inside"),
        ([(2, 2, "x")], "does not lie inside"),
        ([{"start": 0, "end": 1}], "no start, end and label"),
        ([{"start": 0, "end": 1, "label": "x", "text": "b"}], "not where the text that it tells stands"),
        (None, "no list of what is marked"),
    ],
)
def test_spans_that_do_not_fit_are_named(spans: Any, why: str) -> None:
    rows = table(text=["a b c", "a b c"], entities=[SPANS[0], spans])
    with pytest.raises(DataError, match=rf"line 2: .*{why}"):
        usable(rows, Columns(("text",), ("entities",)), "spans", drop=False, labelled=True, way_out="go")


def test_rows_that_are_asked_may_be_sentences_or_lists() -> None:
    rows = table(tokens=[["a"], "a b"])
    assert usable(rows, Columns(("tokens",), ()), "words", drop=False, labelled=False, way_out="go")[0] == rows
    with pytest.raises(DataError, match="there is no text"):
        usable(table(tokens=[" "]), Columns(("tokens",), ()), "words", drop=False, labelled=False, way_out="go")

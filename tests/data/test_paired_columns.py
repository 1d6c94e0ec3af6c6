"""Which columns are sources and targets."""

from typing import Any

import pytest

from whet.core import Rows
from whet.data.kinds import task_of
from whet.data.paired_columns import infer
from whet.errors import DataError

A, B, C = ["a b", "c d", "e"], ["x", "y z", "w"], ["1", "2", "3"]


def table(**columns: list[Any]) -> Rows:
    return Rows(columns, "data.csv", range(2, 5))


def found(rows: Rows, text: str | None = None, label: str | None = None) -> tuple[str, str]:
    columns, _ = infer(rows, text=text and [text], label=label and [label], group=None)
    return columns.text[0], columns.label[0]


@pytest.mark.parametrize(
    ("source", "target"),
    [("source", "target"), ("dialogue", "summary"), ("article", "highlights"), ("document", "summary")],
)
def test_well_known_pairs_are_found_and_tell_the_task(source: str, target: str) -> None:
    rows = table(id=C, **{target: B, source: A})
    assert found(rows) == (source, target)
    assert task_of(rows)[0] == "seq2seq"


def test_classes_are_no_targets() -> None:
    assert task_of(table(source=A, target=["x", "x", "x"]))[0] == "text_classification"
    assert task_of(table(article=A, summary=B, label=["x", "y", "x"]))[0] == "text_classification"


def test_one_column_that_is_named_is_enough_where_one_other_is_left() -> None:
    assert found(table(en=A, de=B), text="en") == ("en", "de")
    assert found(table(en=A, de=B), label="en") == ("de", "en")
    assert found(table(en=A, de=B, fr=C), text="fr", label="de") == ("fr", "de")


def test_a_direction_that_nobody_told_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"'en', 'de'; name both, such as --set data\.text=en"):
        infer(table(en=A, de=B), text=None, label=None, group=None)
    with pytest.raises(DataError, match="not clear"):
        infer(table(en=A, de=B, fr=C), text=["en"], label=None, group=None)
    with pytest.raises(DataError, match="one column becomes one other"):
        infer(table(en=A, de=B, fr=C), text=["en", "de"], label=["fr"], group=None)

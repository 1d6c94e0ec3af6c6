"""Rows without a text or a label are told with their lines, or left out on request."""

import pytest

from whet.core import Columns, Rows
from whet.data.complete import complete
from whet.errors import DataError

PAIR = Columns(("a", "b"), ("label",))
ONE = Columns(("a",), ("label",))


def table(source: str = "data.csv", **columns: list[object]) -> Rows:
    length = len(next(iter(columns.values())))
    return Rows(columns, source, range(2, length + 2))


def test_complete_rows_come_back_as_they_are() -> None:
    rows = table(a=["x", 0, 1.5], label=["p", 0, 0.0])
    assert complete(rows, ONE, drop=False) == (rows, 0)


@pytest.mark.parametrize("missing", [None, "", " \t\n", float("nan")])
def test_every_kind_of_nothing_is_found_in_any_text_and_in_the_label(missing: object) -> None:
    rows = table(a=["x", missing, "x", "x"], b=["y", "y", missing, "y"], label=["p", "p", "p", missing])
    with pytest.raises(DataError) as caught:
        complete(rows, PAIR, drop=False)
    message = str(caught.value)
    assert "2 rows have no text in column 'a', 'b': lines 3, 4" in message
    assert "1 row has no label in column 'label': line 5" in message
    assert "--set data.incomplete=drop" in message


def test_dropping_leaves_the_other_rows_with_their_places() -> None:
    rows = table(a=["x", "", "y", "z"], label=["p", "p", None, "q"])
    kept, dropped = complete(rows, ONE, drop=True)
    assert dropped == 2
    assert kept.columns == {"a": ["x", "z"], "label": ["p", "q"]}
    assert list(kept.places) == [2, 5]


def test_an_empty_list_is_a_label_and_unlabelled_rows_need_none() -> None:
    rows = table(a=["x", "y"], label=[[], ["p"]])
    assert complete(rows, ONE, drop=False)[1] == 0
    assert complete(table(a=["x"], label=[None]), Columns(("a",), ()), drop=False)[1] == 0


def test_many_places_are_cut_short() -> None:
    rows = table("data.parquet", a=["x", *[""] * 17], label=["p"] * 18)
    with pytest.raises(DataError, match="records 3, 4, 5, 6, 7 and 12 more"):
        complete(rows, ONE, drop=False)


@pytest.mark.parametrize("drop", [False, True])
def test_nothing_left_is_an_error(drop: bool) -> None:
    with pytest.raises(DataError, match="not one of the 2 rows"):
        complete(table(a=["", "x"], label=["p", ""]), ONE, drop=drop)


@pytest.mark.parametrize(("value", "kind"), [(["x"], "lists"), ({"x": 1}, "objects"), (b"x", "bytes")])
def test_a_text_that_is_no_text_names_its_type(value: object, kind: str) -> None:
    with pytest.raises(DataError, match=rf"column 'a' of data.csv holds {kind}, no text \(line 3\)"):
        complete(table(a=["x", value], label=["p", "p"]), ONE, drop=True)

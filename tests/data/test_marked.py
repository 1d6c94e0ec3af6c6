"""Rows that say on which side they stand: understood where that is sure, overruled, and refused with the rows."""

import pytest

from whet.core import Rows
from whet.data.marked import by_column
from whet.errors import DataError


def rows(sides: list[object], name: str = "split", **columns: list[object]) -> Rows:
    texts: list[object] = [f"text {number}" for number in range(len(sides))]
    return Rows({"text": texts, name: sides, **columns}, "rows.csv", range(2, len(sides) + 2))


def texts(splits: dict[str, Rows]) -> dict[str, list[object]]:
    return {side: part.columns["text"] for side, part in splits.items()}


@pytest.mark.parametrize("name", ["split", "Split", "data_split", "subset", "분할"])
@pytest.mark.parametrize(
    "sides",
    [["train", "dev", "train", "test"], ["Training", " VALID", "training", "test"], ["학습", "검증", "훈련", "평가"]],
)
def test_known_words_in_a_column_of_such_a_name_are_the_sides(name: str, sides: list[object]) -> None:
    splits, choices = by_column({"train": rows(sides, name)}, None, ())
    assert texts(splits) == {"train": ["text 0", "text 2"], "validation": ["text 1"], "test": ["text 3"]}
    assert list(splits["train"].places) == [2, 4]
    assert all(name not in part.columns for part in splits.values())
    assert [(one.path, one.value, one.origin) for one in choices] == [("data.split", name, "inferred")]
    assert choices[0].reason == "its values say who trains: 2 train, 1 validation, 1 test"


@pytest.mark.parametrize(
    ("sides", "name"),
    [
        (["train", "test", "maybe"], "split"),
        (["train", "test", None], "split"),
        (["train", "train"], "split"),
        (["validation", "test"], "split"),
        (["1", "2", "3"], "fold"),
        (["train", "test"], "vehicle"),
    ],
)
def test_what_is_not_sure_is_a_column_like_any_other(sides: list[object], name: str) -> None:
    table = rows(sides, name)
    assert by_column({"train": table}, None, ()) == ({"train": table}, [])


def test_a_column_that_plays_another_part_or_is_overruled_is_left_alone() -> None:
    table = rows(["train", "test"])
    assert by_column({"train": table}, None, ["split"]) == ({"train": table}, [])
    assert by_column({"train": table}, "random", ()) == ({"train": table}, [])


def test_files_of_their_own_stand_in_for_marked_rows_and_that_is_told() -> None:
    other = rows(["train"])
    splits, (choice,) = by_column({"train": rows(["train", "test", "val"]), "test": other}, None, ())
    assert splits["test"] is other
    assert list(splits) == ["train", "validation", "test"]
    assert "there are other rows for test, so these are left out" in choice.reason


def test_a_column_is_named_whatever_it_is_called() -> None:
    splits, (choice,) = by_column({"train": rows(["train", "test"], "usage")}, "usage", ())
    assert (list(splits), choice.origin) == (["train", "test"], "given")


@pytest.mark.parametrize(
    ("sides", "told"),
    [
        (["train", "tset", "", "test"], r"says no side: 'tset' \(line 3\), '' \(line 4\); known are train, training,"),
        (["train", "train"], "tells no row to train from others"),
        (["validation", "test"], "tells no row to train from others"),
    ],
)
def test_a_named_column_has_to_say_the_side_of_every_row(sides: list[object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        by_column({"train": rows(sides)}, "split", ())


def test_a_named_column_has_to_be_there() -> None:
    with pytest.raises(DataError, match=r"column 'splits' not in rows.csv; did you mean 'split'\?.*data.split=random"):
        by_column({"train": rows(["train", "test"])}, "splits", ())

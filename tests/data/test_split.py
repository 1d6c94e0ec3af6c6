"""Splits: every row once, no text and no group on two sides, classes everywhere, the same seed the same split."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.core import Columns, Rows
from whet.data.split import split, without_leaks
from whet.errors import DataError

ONE = Columns(("text",), ("label",))


def table(source: str = "data.csv", **columns: list[object]) -> Rows:
    length = len(next(iter(columns.values())))
    return Rows(columns, source, range(1, length + 1))


def lines(sides: dict[str, Rows]) -> list[int]:
    return sorted(place for rows in sides.values() for place in rows.places)


def many(number: int = 300, classes: int = 3) -> Rows:
    return table(text=[f"text {i}" for i in range(number)], label=[f"c{i % classes}" for i in range(number)])


rows_of_all_kinds = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 30))),
    min_size=1,
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(rows_of_all_kinds, st.booleans(), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 3))
def test_no_row_is_lost_and_no_text_or_group_stands_on_two_sides(
    drawn: list[tuple[int, str, int | None]], grouped: bool, test: float, seed: int
) -> None:
    rows = table(text=[f"t{t}" for t, _, _ in drawn], label=[c for _, c, _ in drawn], group=[g for _, _, g in drawn])
    columns = Columns(("text",), ("label",), "group" if grouped else None)
    try:
        sides = split(rows, columns, validation=0.2, test=test, seed=seed)
    except DataError:
        return
    assert list(sides) == (["train", "validation", "test"] if test else ["train", "validation"])
    assert all(len(side) for side in sides.values())
    assert lines(sides) == list(range(1, len(rows) + 1))
    for column in ("text", "group") if grouped else ("text",):
        values = [set(side.columns[column]) - {None} for side in sides.values()]
        assert sum(map(len, values)) == len(set().union(*values))
    again = split(rows, columns, validation=0.2, test=test, seed=seed)
    assert again == sides


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=6), st.floats(0.01, 0.4), st.integers(0, 3))
def test_a_class_with_three_texts_stands_on_three_sides(sizes: list[int], share: float, seed: int) -> None:
    labels: list[object] = [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rows = table(text=[f"t{i}" for i in range(len(labels))], label=labels)
    sides = split(rows, ONE, validation=share, test=share, seed=seed)
    assert all(set(side.columns["label"]) == set(labels) for side in sides.values())


def test_shares_and_classes_are_kept() -> None:
    sides = split(many(), ONE, validation=0.1, test=0.2, seed=0)
    assert {name: Counter(rows.columns["label"]) for name, rows in sides.items()} == {
        "train": {"c0": 70, "c1": 70, "c2": 70},
        "validation": {"c0": 10, "c1": 10, "c2": 10},
        "test": {"c0": 20, "c1": 20, "c2": 20},
    }
    assert all(list(rows.places) == sorted(rows.places) for rows in sides.values())


def test_the_split_of_a_seed_is_the_same_on_every_platform() -> None:
    sides = split(many(20, 2), ONE, validation=0.2, test=0.2, seed=7)
    assert {name: list(rows.places) for name, rows in sides.items()} == {
        "train": [2, 4, 5, 8, 9, 11, 13, 14, 15, 16, 17, 18],
        "validation": [7, 10, 19, 20],
        "test": [1, 3, 6, 12],
    }
    assert split(many(20, 2), ONE, validation=0.2, test=0.2, seed=8) != sides


def test_case_white_space_and_composition_do_not_make_a_text_another() -> None:
    same = ["Good  film", "good film ", "GOOD\tFILM", "각 방", "\u1100\u1161\u11a8 방"]
    rows = table(text=[*same, *(f"t{i}" for i in range(40))], label=["a"] * 45)
    sides = split(rows, ONE, validation=0.3, test=0.3, seed=1)
    for texts in (same[:3], same[3:]):
        assert sum(bool(set(texts) & set(side.columns["text"])) for side in sides.values()) == 1


def test_pairs_are_the_same_only_where_both_texts_are() -> None:
    pair = Columns(("a", "b"), ("label",))
    rows = table(a=["x"] * 30, b=[f"y{i}" for i in range(30)], label=["p"] * 30)
    assert len(split(rows, pair, validation=0.5, test=0, seed=0)["validation"]) == 15
    with pytest.raises(DataError, match="only 1 different text"):
        split(table(a=["x"] * 9, b=["y"] * 9, label=["p"] * 9), pair, validation=0.5, test=0, seed=0)


def test_text_and_group_together_chain_rows() -> None:
    chain = [("a", 1), ("b", 1), ("b", 2), ("c", 2)]
    rows = table(
        text=[*(text for text, _ in chain), *(f"t{i}" for i in range(20))],
        group=[*(group for _, group in chain), *([None] * 20)],
        label=["p"] * 24,
    )
    for seed in range(5):
        sides = split(rows, Columns(("text",), ("label",), "group"), validation=0.4, test=0, seed=seed)
        assert sum(bool({1, 2, 3, 4} & set(side.places)) for side in sides.values()) == 1


def test_the_values_of_a_regression_are_spread_over_all_sides() -> None:
    rows = table(text=[f"t{i}" for i in range(200)], label=[f"{i / 7:.3f}" for i in range(200)])
    side = split(rows, ONE, validation=0.1, test=0, seed=0)["validation"]
    tenths = Counter((place - 1) // 20 for place in side.places)
    assert set(tenths.values()) == {2}


def test_many_class_numbers_are_classes_and_not_values_of_a_regression() -> None:
    rows = table(text=[f"t{i}" for i in range(400)], label=[str(i % 40) for i in range(400)])
    side = split(rows, ONE, validation=0.1, test=0, seed=0)["validation"]
    assert set(Counter(side.columns["label"]).values()) == {1}


@pytest.mark.parametrize("flags", [False, True])
def test_the_rarest_label_of_several_reaches_every_side(flags: bool) -> None:
    sets = [["common"] if i % 10 else ["common", "rare"] for i in range(30)]
    columns = Columns(("text",), ("common", "rare")) if flags else ONE
    rows = table(
        text=[f"t{i}" for i in range(30)],
        label=list(sets),
        common=["1"] * 30,
        rare=["1" if "rare" in labels else "0" for labels in sets],
    )
    sides = split(rows, columns, validation=0.1, test=0.1, seed=0)
    assert all("1" in side.columns["rare"] for side in sides.values())


def test_rows_without_labels_are_split_by_chance() -> None:
    sides = split(many(), Columns(("text",), ()), validation=0.1, test=0, seed=0)
    assert {name: len(rows) for name, rows in sides.items()} == {"train": 270, "validation": 30}


@pytest.mark.parametrize(
    ("validation", "test", "word"),
    [(0.6, 0.4, "none are left to train on"), (-0.1, 0, "-0.1"), (0, 1.5, "1.5"), (float("nan"), 0, "nan")],
)
def test_impossible_shares_are_refused(validation: float, test: float, word: str) -> None:
    with pytest.raises(DataError, match=word):
        split(many(), ONE, validation=validation, test=test, seed=0)


def test_rows_that_cannot_be_split_are_told_why() -> None:
    grouped = table(text=[f"t{i}" for i in range(9)], label=["p"] * 9, author=["me"] * 9)
    with pytest.raises(DataError, match=r"only 1 group, .*data\.validation"):
        split(grouped, Columns(("text",), ("label",), "author"), validation=0.2, test=0, seed=0)
    with pytest.raises(DataError, match="only 2 different texts"):
        split(many(2), ONE, validation=0.1, test=0.1, seed=0)
    lonely = table(text=[f"t{i}" for i in range(6)], label=[f"c{i}" for i in range(6)])
    with pytest.raises(DataError, match="no row would be left for validation"):
        split(lonely, ONE, validation=0.2, test=0, seed=0)


# --- sides that come from files of their own ---


def test_rows_that_a_later_side_has_too_are_left_out_and_told() -> None:
    splits = {
        "train": table("train.csv", text=["a", "B ", "c", "d", "e"], label=["p"] * 5, author=[1, 2, 3, 4, None]),
        "validation": table("dev.csv", text=["c", "f"], label=["p"] * 2, author=[5, None]),
        "test": table("test.csv", text=["b", "F", "x"], label=["p"] * 3, author=[6, None, 4]),
    }
    kept, choices = without_leaks(splits, Columns(("text",), ("label",), "author"))
    assert {name: rows.columns["text"] for name, rows in kept.items()} == {
        "train": ["a", "e"],
        "validation": ["c"],
        "test": ["b", "F", "x"],
    }
    told = {choice.path: (choice.value, choice.reason) for choice in choices}
    assert told["data.validation"] == (1, "1 row whose text also stands in test.csv was left out of validation")
    assert told["data.train"][0] == 2
    for part in ("'author' also stands in test.csv", "text also stands in dev.csv", "left out of training"):
        assert part in told["data.train"][1]


def test_sides_without_leaks_come_back_as_they_are() -> None:
    splits = {"train": many(10), "test": table(text=["other"], label=["p"])}
    assert without_leaks(splits, ONE) == (splits, [])
    assert without_leaks({"train": many(10)}, ONE) == ({"train": many(10)}, [])


def test_the_same_file_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"every row of data\.csv .* also stands in data\.csv"):
        without_leaks({"train": many(10), "test": many(10)}, ONE)

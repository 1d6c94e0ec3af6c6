"""What a label column holds, what becomes of it, and which labels are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core import Answer, Problem, Rows
from whet.data import labels
from whet.errors import DataError, RecipeError


def rows(*values: object, source: str = "data.csv", **more: list[object]) -> Rows:
    return Rows({"label": list(values), **more}, source, range(2, len(values) + 2))


def problem(*values: object) -> Problem:
    return labels.problem_of(rows(*values), ["label"])[0]


def classes(*values: object, problem: Problem = "single_label", to_split: bool = False) -> list[str]:
    return labels.classes(rows(*values), ["label"], problem, to_split=to_split)


def targets(table: Rows, names: list[str] | None, problem: Problem = "single_label") -> list[object]:
    found: list[object] = labels.targets(table, ["label"], problem, names).tolist()
    return found


# --- which problem ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b"], "single_label"),
        (["1", "b"], "single_label"),
        (["0", "1"], "single_label"),
        ([0, 1], "single_label"),
        ([0.0, 1.0], "single_label"),
        ([True, False], "single_label"),
        (["True", "False"], "single_label"),
        (["-1", "0", "1"], "single_label"),
        ([str(i) for i in range(20)], "single_label"),
        ([str(i) for i in range(21)], "regression"),
        (["0.5", "1"], "regression"),
        ([0.25, 1], "regression"),
        (["1e-3", "2"], "regression"),
        ([f"2024_{month:02d}" for month in range(30)], "single_label"),
        ([["a"], ["b", "c"]], "multi_label"),
        ([[], ["a"]], "multi_label"),
        (["a|b", "a"], "single_label"),
    ],
)
def test_the_problem_follows_from_the_values(values: list[object], expected: Problem) -> None:
    assert problem(*values) == expected


def test_several_label_columns_are_several_labels() -> None:
    assert labels.problem_of(rows(0, 1, other=[1, 0]), ["label", "other"]) == ("multi_label", "2 label columns")


def test_few_whole_numbers_could_be_a_scale_and_the_reason_says_so() -> None:
    assert "task.problem=regression" in labels.problem_of(rows(1, 2, 3, 4, 5), ["label"])[1]
    assert "task.problem=regression" not in labels.problem_of(rows(0, 1), ["label"])[1]


# --- classes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["-1", "1", "0"], ["-1", "0", "1"]),
        (["level 10", "level 2", "Level 1"], ["Level 1", "level 2", "level 10"]),
        (["b", "a"], ["a", "b"]),
        (["나", "가"], ["가", "나"]),
        (["1.5", "1", "a"], ["1", "1.5", "a"]),
        ([" a", "a ", "b"], ["a", "b"]),
        ([1, 1.0, "1", 2], ["1", "2"]),
        ([True, False], ["False", "True"]),
        (["caf\u00e9", "cafe\u0301", "tea"], ["caf\u00e9", "tea"]),
        (["²", "³", "x²"], ["x²", "²", "³"]),
        (["nan", "inf", "x"], ["inf", "nan", "x"]),
    ],
)
def test_classes_stand_in_natural_order(values: list[object], expected: list[str]) -> None:
    assert classes(*values) == expected


def test_several_classes_in_a_cell_are_a_list_or_stand_between_bars() -> None:
    assert classes("b|a", "c", "", " a | d ", problem="multi_label") == ["a", "b", "c", "d"]
    assert classes(["b", "a"], [], ["c", None, ""], problem="multi_label") == ["a", "b", "c"]


@given(st.lists(st.text().filter(labels.class_name), min_size=2, unique_by=labels.class_name))
def test_any_text_can_be_a_class_and_the_order_does_not_depend_on_the_rows(names: list[str]) -> None:
    found = classes(*names)
    assert found == classes(*reversed(names))
    assert set(found) == set(map(labels.class_name, names))


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"column 'label' of data\.csv: the only class is 'a'; .* at least two classes"):
        classes("a", "a")
    with pytest.raises(DataError, match="there is no class at all"):
        classes([], [], problem="multi_label")


def test_classes_of_one_row_are_refused_before_a_split_alone() -> None:
    values = ["a", "a", "b", *(f"rare {number}" for number in range(12))]
    assert len(classes(*values)) == 14
    with pytest.raises(DataError) as caught:
        classes(*values, to_split=True)
    assert "'b' (line 4), 'rare 0' (line 5), 'rare 1' (line 6)" in str(caught.value)
    assert "and 8 more; add rows" in str(caught.value)
    assert "regression" not in str(caught.value)


def test_single_numbers_may_be_a_scale() -> None:
    with pytest.raises(DataError, match=r"for numbers on a scale set task\.problem=regression"):
        classes(0, 1, 2, 2, to_split=True)


def test_what_is_no_name_of_a_class_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"\['a'\] \(line 2\); for several classes in a row set task.problem=multi_label"
    ):
        classes(["a"], "b")
    with pytest.raises(DataError, match=r"\{'a': 1\} \(line 2\)$"):
        classes({"a": 1}, "b")
    with pytest.raises(DataError, match=r"\[\['a'\]\] \(line 2\)"):
        classes([["a"]], ["b"], problem="multi_label")


def test_several_columns_are_no_single_label() -> None:
    table = rows(0, 1, other=[1, 0])
    assert labels.classes(table, ["label", "other"], "multi_label", to_split=True) == ["label", "other"]
    with pytest.raises(DataError, match=r"2 label columns \(label, other\) say several things of a row"):
        labels.classes(table, ["label", "other"], "single_label", to_split=False)


# --- targets ------------------------------------------------------------------------------------------------------


def test_classes_become_numbers_in_the_order_of_the_names() -> None:
    assert targets(rows("b", "a", " a"), ["b", "a"]) == [0, 1, 1]
    assert targets(rows(1, 2.0, "1"), ["1", "2"]) == [0, 1, 0]


def test_several_classes_become_zeros_and_ones() -> None:
    assert targets(rows("a|b", "", "b"), ["a", "b"], "multi_label") == [[1, 1], [0, 0], [0, 1]]
    table = rows("1", 0, True, other=["0.0", 1.0, "true"])
    found = labels.targets(table, ["label", "other"], "multi_label", ["label", "other"])
    assert found.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert found.dtype == np.float32


def test_numbers_stay_numbers() -> None:
    assert targets(rows("0.5", 2, True, " -1e2 "), None, "regression") == [0.5, 2.0, 1.0, -100.0]


def test_every_unknown_label_is_named_with_its_places() -> None:
    with pytest.raises(DataError) as caught:
        targets(rows("good", "godo", "bad", "godo", "xyz", source="test.jsonl"), ["good", "bad"])
    assert caught.value.problems == (
        "label 'godo' in test.jsonl, lines 3, 5, is not a known class; did you mean 'good'?",
        "label 'xyz' in test.jsonl, line 6, is not a known class; known are: good, bad",
    )


def test_of_many_unknown_labels_the_first_are_named() -> None:
    with pytest.raises(DataError) as caught:
        targets(rows(*(f"{letter}?" for letter in "abcdefgh")), [f"class {number}" for number in range(100)])
    assert len(caught.value.problems) == 6
    assert caught.value.problems[0].endswith(
        "'a?' in data.csv, line 2, is not a known class; there are 100, none of them near"
    )
    assert caught.value.problems[-1] == "and 3 more of this kind"


@pytest.mark.parametrize("cell", ["two", "nan", "inf", "-inf", "1e999", "1e39", 10**400, None, "1_000", ["1"], ""])
def test_what_is_no_finite_number_is_refused(cell: object) -> None:
    with pytest.raises(DataError) as caught:
        targets(rows(1, cell, 2), None, "regression")
    assert "column 'label' of data.csv holds what is no finite number: " in str(caught.value)
    assert "(line 3); correct or delete them" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_neither_0_nor_1_is_refused_in_every_column() -> None:
    table = rows(0, 2, *"xxxxxx", other=[0.5, *[1] * 7])
    with pytest.raises(DataError) as caught:
        labels.targets(table, ["label", "other"], "multi_label", ["label", "other"])
    first, second = caught.value.problems
    assert first.startswith("column 'label' of data.csv holds what is not 0 or 1: 2 (line 3), 'x' (line 4)")
    assert first.endswith("and 2 more; correct them")
    assert second == "column 'other' of data.csv holds what is not 0 or 1: 0.5 (line 2); correct them"


def test_a_regression_has_one_column() -> None:
    with pytest.raises(DataError, match="one label column, not 2: label, other"):
        labels.numbers(rows(1, 2, other=[1, 2]), ["label", "other"])


# --- names and weights that the user gives ------------------------------------------------------------------------


def test_given_classes_are_taken_in_their_order() -> None:
    assert labels.given_classes(["b", " a"], ["label"]) == ["b", "a"]
    assert labels.given_classes(["x", "y"], ["x", "y"]) == ["x", "y"]


def test_given_classes_that_cannot_be_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"task\.labels: 'a' stands twice"):
        labels.given_classes(["a", "b", "a "], ["label"])
    with pytest.raises(RecipeError, match="the classes are those columns in their order"):
        labels.given_classes(["y", "x"], ["x", "y"])


def test_balanced_weights_go_by_inverse_frequency_and_are_1_in_the_mean_over_the_rows() -> None:
    found = np.array([0] * 6 + [1] * 3 + [2] * 1)
    weights = labels.class_weights("balanced", found, ["a", "b", "c"])
    assert weights == {"a": 0.555556, "b": 1.111111, "c": 3.333333}
    assert np.mean([list(weights.values())[target] for target in found]) == pytest.approx(1, abs=1e-5)


def test_a_class_without_rows_weighs_as_one_with_a_single_row() -> None:
    assert labels.class_weights("balanced", np.array([0, 0]), ["a", "b"]) == {"a": 0.5, "b": 1.0}


def test_balanced_weights_of_several_labels_go_by_the_frequency_of_each() -> None:
    found = np.array([[1, 0], [1, 1], [1, 0]], np.float32)
    assert labels.class_weights("balanced", found, ["a", "b"]) == {"a": 0.666667, "b": 2.0}


def test_given_weights_name_every_class_once() -> None:
    found = np.array([0, 1])
    assert labels.class_weights(None, found, ["a", "b"]) is None
    assert labels.class_weights({"b": 2.0, "a": 1.0}, found, ["a", "b"]) == {"a": 1.0, "b": 2.0}
    with pytest.raises(RecipeError) as caught:
        labels.class_weights({"aa": 2.0}, found, ["aaa", "b"])
    assert caught.value.problems == (
        "task.class_weights: class 'aaa' has none",
        "task.class_weights: class 'b' has none",
        "task.class_weights: 'aa' is not a class; did you mean 'aaa'?",
    )


# --- answers ------------------------------------------------------------------------------------------------------


def test_answers_speak_the_words_of_the_data() -> None:
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    named = [{"a": 0.25, "b": 0.75}, {"a": 0.5, "b": 0.5}]
    single = labels.answers(probabilities, "single_label", ["a", "b"])
    assert single == [Answer("b", named[0]), Answer("a", named[1])]
    several = labels.answers(probabilities, "multi_label", ["a", "b"])
    assert several == [Answer(["b"], named[0]), Answer(["a", "b"], named[1])]
    assert labels.answers(np.array([0.25]), "regression", ()) == [Answer(0.25, {})]
    assert labels.answers(np.zeros((1, 2)), "multi_label", ["a", "b"])[0].label == []


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((12000, 15500, 9000), ["mean 12166.7", "divide them by 10000"]),
        ((0.001, 0.002, 0.0015), ["divide them by 0.001"]),
        ((1000.5, 1001.5, 1002), ["too far from 1"]),
        ((3, 3, 3), ["one number only, 3"]),
    ],
)
def test_numbers_of_a_scale_that_cannot_be_learned_are_refused(numbers: tuple[float, ...], words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        labels.check_scale(rows(*numbers), ["label"])
    assert all(word in str(error.value) for word in words)
    labels.check_scale(rows(1.0, 4.5, 10.0), ["label"])

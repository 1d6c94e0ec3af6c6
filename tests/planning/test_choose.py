"""The method of a recipe: named, advised, or the one that its other options need."""

from dataclasses import replace
from typing import Any

import pytest

from whet import catalog, recipe
from whet.planning.advise import Facts
from whet.planning.choose import choose_method

FACTS = Facts("text_classification", "single_label", rows=4000, parameters=10**7, classes=2, rarest=900)
LARGE = replace(FACTS, parameters=400_000_000)
HUGE = replace(FACTS, parameters=65 * 10**9)


def chosen(facts: Facts, **more: Any) -> tuple[str, int, dict[str, object]]:
    """The method, its epochs and what is told, for a recipe that names no method."""
    name, method, defaults, told = choose_method(recipe.parse({"data": "d.csv", **more}), None, facts)
    assert isinstance(method, catalog.load("method", name))
    assert all(choice.origin == "inferred" and choice.reason for choice in told)
    return name, defaults.epochs, {choice.path: choice.value for choice in told}


def test_a_named_method_stays_and_nothing_is_told() -> None:
    asked = catalog.build("method", "ia3", {})
    found = choose_method(recipe.parse({"data": "d.csv", "method": "ia3"}), asked, FACTS)
    assert found == ("ia3", asked, asked.defaults, [])


def test_the_advice_is_taken_and_told() -> None:
    assert chosen(FACTS) == ("full", 3, {"method.name": "full"})
    assert chosen(LARGE) == ("lora", 3, {"method.name": "lora"})
    few = replace(FACTS, rows=320)
    assert chosen(few) == ("full", 10, {"method.name": "full", "training.epochs": 10})


@pytest.mark.parametrize("training", [{"epochs": 2}, {"steps": 5}])
def test_a_length_that_is_given_stays(training: dict[str, int]) -> None:
    name, epochs, told = chosen(replace(FACTS, rows=320), training=training)
    assert (name, epochs, set(told)) == ("full", 3, {"method.name"})


@pytest.mark.parametrize(
    "more", [{"surgery": {"drop_blocks": 1}}, {"training": {"l2_sp": 1.0}}, {"training": {"mixes": [0.5]}}]
)
def test_what_changes_weights_gets_no_adapter(more: dict[str, Any]) -> None:
    assert chosen(LARGE, **more)[0] == "full"


def test_a_model_that_was_read_already_is_not_quantised() -> None:
    assert chosen(HUGE)[0] == "lora"

"""Spaces: what one can write, what is refused with the way out, and what is searched where nothing is named."""

from typing import Any

import pytest

from tests.test_catalog import needed
from whet import catalog
from whet.errors import RecipeError
from whet.protocols import Tunable
from whet.verbs.searching import search_space as space
from whet.verbs.searching.search_space import Multiple, Range, Values

RESOLVED: dict[str, Any] = {
    "method": {"name": "lora", "rank": 16, "alpha": 32.0, "start": "zero", "decompose": False, "dropout": 0.0},
    "training": {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 6e-4,
        "schedule": {"name": "linear", "final": 0.1},
        "optimizer": "adamw",
        "weight_decay": 0.01,
    },
}
RAW: dict[str, Any] = {"data": "reviews.csv", "method": "lora"}


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("training.learning_rate", "1e-5..1e-3", Range(1e-5, 1e-3, log=True, whole=False)),
        ("training.learning_rate", "2e-5 .. 5e-5", Range(2e-5, 5e-5, log=True, whole=False)),
        ("training.warmup", "0.0..0.3", Range(0.0, 0.3, log=False, whole=False)),
        ("training.epochs", "2..6", Range(2, 6, log=False, whole=True)),
        ("method.rank", "4..64", Range(4, 64, log=True, whole=True)),
        ("method.rank", "4,8,16", Values((4, 8, 16))),
        ("training.schedule", "linear, cosine", Values(("linear", "cosine"))),
        ("method.decompose", "true,false", Values((True, False))),
        ("training.dropout", "null,0,0.2", Values((None, 0, 0.2))),
    ],
)
def test_what_is_written_is_what_is_searched(path: str, text: str, found: object) -> None:
    assert space.read({path: text}) == {path: found}


def test_what_follows_another_setting_is_not_drawn() -> None:
    spaces = space.read({"method.rank": "4,8", "method.alpha": "2*method.rank"})
    assert spaces["method.alpha"] == Multiple(2.0, "method.rank")
    assert space.settings(spaces, {"method.rank": 8}) == {"method.rank": 8, "method.alpha": 16.0}
    assert space.begin(spaces, RESOLVED) == {"method.rank": 8}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1e-3..1e-5", "lower end comes first"),
        ("1e-5..", "a range has two numbers"),
        ("0..1", "more than 0"),
        ("1e-4", "single value leaves nothing to search; set it with --set training.learning_rate=1e-4"),
        ("1e-4,0.0001", "names a value twice"),
        ("two*method.rank", "write it as NUMBER*PATH"),
        ("2*method.rank", "'method.rank' is not searched"),
    ],
)
def test_a_space_that_is_none_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        space.read({"training.learning_rate": text})
    assert said in str(caught.value)


def test_all_problems_of_what_is_named_come_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        space.split(["data.text=a,b", "rank=4,8", "training.metric=f1,accuracy", "method.rank=4,8", "method.rank=2,4"])
    said = caught.value.problems
    assert [word in problem for word, problem in zip(["data.text", "rank", "metric", "twice"], said, strict=True)] == [
        True
    ] * 4


def test_values_that_the_recipe_refuses_are_refused_before_the_search() -> None:
    texts = {
        "method.rank": "0,8",
        "training.warmup": "0.1..1.5",
        "training.schedule": "linear,cosin",
        "method.rnk": "1,2",
    }
    with pytest.raises(RecipeError) as caught:
        space.check(RAW, space.read(texts))
    said = str(caught.value)
    for word in ("method.rank: 0", "training.warmup: 1.5", "did you mean 'cosine'", "did you mean 'rank'"):
        assert word in said


def test_the_options_of_a_method_that_is_still_open_are_not_asked_for() -> None:
    space.check({"data": "reviews.csv"}, space.read({"method.rank": "4,8"}))


def test_a_search_begins_with_the_recipe_or_with_what_is_nearest() -> None:
    texts = {
        "training.learning_rate": "1e-5..1e-4",
        "method.rank": "4,8",
        "training.schedule": "cosine,linear",
        "training.dropout": "null,0.1",
        "training.epochs": "1..3",
        "method.start": "pissa,zero",
    }
    assert space.begin(space.read(texts), RESOLVED) == {
        "training.learning_rate": 1e-4,
        "method.rank": 8,
        "training.schedule": "linear",
        "training.dropout": None,
        "training.epochs": 3,
        "method.start": "zero",
    }


def test_numbers_that_were_drawn_have_few_digits_and_stay_inside() -> None:
    spaces = space.read({"training.learning_rate": "1.2345e-5..1e-3", "training.epochs": "1..9"})
    drawn = {"training.learning_rate": 3.14159e-4, "training.epochs": 7}
    assert space.settings(spaces, drawn) == {"training.learning_rate": 3.14e-4, "training.epochs": 7}
    lowest = space.settings(spaces, drawn | {"training.learning_rate": 1.2345e-5})
    assert lowest["training.learning_rate"] == 1.2345e-5


def test_sgd_learns_a_hundred_times_faster_than_what_was_drawn() -> None:
    spaces = space.read({"training.learning_rate": "1e-5..1e-3", "training.optimizer": "adamw,sgd"})
    drawn = {"training.learning_rate": 1e-4, "training.optimizer": "adamw"}
    assert space.settings(spaces, drawn)["training.learning_rate"] == 1e-4
    assert space.settings(spaces, drawn | {"training.optimizer": "sgd"})["training.learning_rate"] == 1e-2


def test_a_trial_keeps_the_rest_of_the_recipe_and_the_options_of_its_schedule() -> None:
    raw = {**RAW, "training": {"schedule": {"name": "linear", "final": 0.1}, "epochs": 2}}
    same = space.recipe_with(raw, {"training.schedule": "linear", "method.rank": 8})
    assert same["training"] == raw["training"]
    assert same["method"] == {"name": "lora", "rank": 8}
    other = space.recipe_with(raw, {"training.schedule": "cosine"})
    assert other["training"]["schedule"] == "cosine"
    assert raw["method"] == "lora"


# --- usual spaces -------------------------------------------------------------------------------------------------


def test_the_usual_spaces_lie_around_the_recipe() -> None:
    found = space.usual(RESOLVED, catalog.load("method", "lora").searched)
    assert found["training.learning_rate"] == "6e-05..0.006"
    assert found["training.batch_size"] == "8,16,32"
    assert found["training.schedule"] == "linear,cosine,constant"
    assert found["training.weight_decay"] == "0.0,0.01,0.1"
    assert found["training.dropout"] == "null,0.0,0.2"
    assert found["method.rank"] == "4,8,16,32,64"
    assert found["method.alpha"] == "2*method.rank"
    begun = space.settings(space.read(found), space.begin(space.read(found), RESOLVED))
    assert {path: space.value_at(RESOLVED, path) for path in begun} == begun


def test_alpha_stays_where_it_does_not_follow_the_rank_in_the_recipe() -> None:
    values = {**RESOLVED, "method": {**RESOLVED["method"], "alpha": 8.0}}
    assert "method.alpha" not in space.usual(values, catalog.load("method", "lora").searched)


def test_with_a_number_of_steps_the_batch_size_stays() -> None:
    values = {**RESOLVED, "training": {**RESOLVED["training"], "steps": 100}}
    assert "training.batch_size" not in space.usual(values, {})


def test_the_rate_of_sgd_is_searched_where_sgd_learns() -> None:
    values = {**RESOLVED, "training": {**RESOLVED["training"], "optimizer": "sgd"}}
    assert space.usual(values, {})["training.learning_rate"] == "0.006..0.6"
    given = space.usual(values, {}, given=["training.learning_rate"])
    assert given["training.learning_rate"] == "6e-05..0.006"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("training.learning_rate", "6e-05..0.006"),
        ("training.optimizer", "adamw,sgd"),
        ("method.start", "zero,pissa"),
        ("method.decompose", "true,false"),
        ("method.alpha", "2*method.rank"),
        ("method.b_rate", "0.25..4"),
    ],
)
def test_a_path_alone_has_its_usual_space(path: str, text: str) -> None:
    usual = space.usual(RESOLVED, catalog.load("method", "lora").searched)
    values = {**RESOLVED, "method": {**RESOLVED["method"], "b_rate": 1.0}}
    assert space.usual_of(path, values, usual) == text


@pytest.mark.parametrize("path", ["training.epochs", "method.dropout", "method.rnak", "surgery.drop_blocks"])
def test_a_path_without_a_usual_space_says_how_to_name_one(path: str) -> None:
    with pytest.raises(RecipeError, match=r"has no usual space.*name its values"):
        space.usual_of(path, RESOLVED, {})


@pytest.mark.parametrize("name", catalog.names("method"))
def test_what_methods_declare_is_what_they_take(name: str) -> None:
    built = catalog.build("method", name, needed("method", name))
    if not isinstance(built, Tunable):
        return
    spaces = space.read({f"method.{option}": text for option, text in built.searched.items()})
    settings = catalog.settings(built)
    for path, found in spaces.items():
        option = path.removeprefix("method.")
        if isinstance(found, Values):
            assert settings[option] in found.values, "trial 0 would not be the recipe"
            for value in found.values:
                catalog.build("method", name, {**settings, option: value})
        else:
            assert isinstance(found, Multiple)

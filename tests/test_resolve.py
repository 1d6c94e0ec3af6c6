"""What a recipe leaves open is filled, and every value says where it comes from."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import catalog, resolve
from whet import recipe as recipes
from whet.core import Choice, Columns, Defaults
from whet.errors import RecipeError
from whet.recipe import Recipe
from whet.sections import SCHEDULES

COLUMNS = Columns(("text",), ("label",))
PLAIN = Defaults(learning_rate=5e-5, schedule="linear", warmup=0.1)
FOUND = [
    Choice("data.text", "text", "inferred", "by its name"),
    Choice("data.label", "label", "inferred", "by its name"),
    Choice("task.name", "text_classification", "inferred", "there are texts and labels"),
    Choice("task.problem", "single_label", "inferred", "'label' holds 2 distinct texts"),
    Choice("method.name", "lora", "inferred", "the model is large"),
]


def parse(**sections: Any) -> Recipe:
    return recipes.parse({"data": "reviews.csv", **sections})


def training(defaults: Defaults = PLAIN, **options: Any) -> dict[str, Any]:
    return resolve.training_values(parse(training=options), defaults, "accuracy")


def resolved(recipe: Recipe) -> dict[str, Any]:
    """All values of a recipe, as a run resolves them."""
    return {
        "data": resolve.data_values(recipe, COLUMNS),
        "model": recipe.model or "embedded",
        "task": {"name": "text_classification", "problem": "single_label", "label_smoothing": 0.0},
        "method": {"name": "lora", "rank": 16, **(recipe.method.options if recipe.method else {})},
        "training": resolve.training_values(recipe, PLAIN, "accuracy"),
        "seed": recipe.seed,
    }


def explained(recipe: Recipe, *remarks: Choice) -> list[Choice]:
    return resolve.explained(recipe, resolved(recipe), [*FOUND, *remarks], "lora")


def leaves(values: dict[str, Any]) -> list[str]:
    return [
        f"{key}.{name}" if name else key for key, v in values.items() for name in (v if isinstance(v, dict) else [""])
    ]


# --- data ---------------------------------------------------------------------------------------------------------


def test_files_are_absolute_and_columns_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = resolve.data_values(parse(data={"train": "a.csv", "validation": "hub:me/b"}), COLUMNS)
    assert values == {
        "train": str(tmp_path / "a.csv"),
        "validation": "hub:me/b",
        "test_share": 0.1,
        "text": "text",
        "label": "label",
        "incomplete": "refuse",
    }


def test_pairs_and_several_labels_are_lists() -> None:
    values = resolve.data_values(parse(), Columns(("a", "b"), ("c", "d")))
    assert (values["text"], values["label"]) == (["a", "b"], ["c", "d"])


def test_a_share_beside_a_file_is_left_out_so_that_the_result_is_a_recipe_again() -> None:
    data = {"train": "a.csv", "validation": "b.csv", "test": "c.csv"}
    values = resolve.data_values(parse(data=data), COLUMNS)
    assert not {"validation_share", "test_share"} & values.keys()
    again = recipes.parse({"data": values})
    assert resolve.data_values(again, COLUMNS) == values


# --- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", catalog.names("method"))
def test_what_is_open_comes_from_the_method(method: str) -> None:
    defaults: Defaults = catalog.load("method", method).defaults
    values = training(defaults)
    wanted = {key: value for key, value in vars(defaults).items() if value is not None and key != "settled_steps"}
    wanted["schedule"] = SCHEDULES[defaults.schedule]().model_dump()
    assert {key: values[key] for key in wanted} == wanted
    assert values["metric"] == "accuracy"


def test_what_is_given_stays() -> None:
    options: dict[str, Any] = {
        "epochs": 7,
        "learning_rate": 0.5,
        "schedule": {"name": "cosine", "final": 0.2},
        "warmup": 0.0,
        "weight_decay": 0.0,
        "layer_decay": 0.5,
        "dropout": 0.0,
        "metric": "macro_f1",
        "batch_size": 3,
        "max_gradient_norm": None,
    }
    values = training(**options)
    assert {key: values[key] for key in options} == options


def test_steps_replace_epochs() -> None:
    values = training(steps=9)
    assert values["steps"] == 9
    assert "epochs" not in values


def test_momentum_is_there_for_sgd_alone_unless_the_schedule_moves_it() -> None:
    assert "momentum" not in training()
    assert training(optimizer="sgd")["momentum"] == resolve.SGD_MOMENTUM
    assert training(optimizer="sgd", momentum=0.0)["momentum"] == 0.0
    assert "momentum" not in training(optimizer="sgd", schedule="one_cycle")


@pytest.mark.parametrize("schedule", ["one_cycle", "slanted_triangular"])
def test_a_schedule_that_rises_by_itself_has_no_warm_up(schedule: str) -> None:
    assert training(schedule=schedule)["warmup"] == 0.0
    rising = Defaults(learning_rate=5e-5, schedule=schedule, warmup=0.1)
    assert training(rising)["warmup"] == 0.0
    assert training(rising, schedule="linear", warmup=0.2)["warmup"] == 0.2
    with pytest.raises(
        RecipeError, match=rf"^training\.warmup: schedule '{schedule}', which is the method's own, rises"
    ):
        training(rising, warmup=0.2)


# --- reasons ------------------------------------------------------------------------------------------------------


def test_every_value_has_its_origin_and_its_reason() -> None:
    recipe = parse(
        data={"train": "reviews.csv", "label": "label"},
        method={"name": "lora", "rank": 8},
        training={"epochs": 2, "schedule": "one_cycle"},
    )
    told = {choice.path: (choice.value, choice.origin, choice.reason) for choice in explained(recipe)}
    assert told["data.train"] == (str(Path("reviews.csv").resolve()), "given", "")
    assert told["data.label"] == ("label", "given", "")
    assert told["data.text"] == ("text", "inferred", "by its name")
    assert told["data.test_share"] == (0.1, "default", "")
    assert told["method.name"] == ("lora", "given", "")
    assert told["method.rank"] == (8, "given", "")
    assert told["task.problem"] == ("single_label", "inferred", "'label' holds 2 distinct texts")
    assert told["task.label_smoothing"] == (0.0, "default", "")
    assert told["training.epochs"] == (2, "given", "")
    assert told["training.schedule"] == ("one_cycle", "given", "")
    assert told["training.warmup"] == (0.0, "default", "schedule 'one_cycle' rises by itself")
    assert told["training.learning_rate"] == (5e-5, "default", "default of method 'lora'")
    assert told["training.metric"] == ("accuracy", "default", "default of task 'text_classification'")
    assert told["training.batch_size"] == (16, "default", "")
    assert told["seed"] == (0, "default", "")


def test_null_leaves_a_value_open_but_turns_clipping_off() -> None:
    recipe = parse(model=None, training={"warmup": None, "max_gradient_norm": None})
    origins = {choice.path: choice.origin for choice in explained(recipe)}
    assert origins["training.warmup"] == "default"
    assert origins["training.max_gradient_norm"] == "given"
    assert origins["model"] == "default"


def test_remarks_about_a_given_value_are_kept_at_the_end() -> None:
    dropped = Choice("data.train", 37, "inferred", "3 rows were left out")
    share = Choice("data.test_share", 0.1, "inferred", "no test file: 4 of 40 rows")
    delimiter = Choice("data.delimiter", ";", "inferred", "its header has no comma")
    told = explained(parse(), dropped, share, delimiter)
    assert told[-2:] == [dropped, delimiter]
    assert share in told[:-2]


def test_several_reasons_of_one_value_are_told_together() -> None:
    told = explained(parse(), Choice("data.text", "text", "inferred", "and it is long"))
    assert Choice("data.text", "text", "inferred", "by its name; and it is long") in told


training_options = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(1, 9),
        "learning_rate": st.floats(1e-6, 1),
        "schedule": st.sampled_from(["constant", "linear", "cosine"]),
        "warmup": st.one_of(st.none(), st.floats(0, 0.5)),
        "optimizer": st.sampled_from(["adamw", "sgd"]),
        "max_gradient_norm": st.one_of(st.none(), st.floats(0.1, 2)),
        "patience": st.one_of(st.none(), st.integers(1, 3)),
        "metric": st.sampled_from(["accuracy", "macro_f1"]),
    },
)
sections = st.fixed_dictionaries(
    {"data": st.sampled_from([{"train": "a.csv"}, {"train": "a.csv", "label": "label", "test": "b.csv"}])},
    optional={
        "model": st.sampled_from([None, "bert"]),
        "method": st.sampled_from(["lora", {"name": "lora", "rank": 4}, None]),
        "training": training_options,
        "seed": st.integers(0, 5),
    },
)


@settings(deadline=None, max_examples=60)
@given(raw=sections)
def test_each_value_has_exactly_one_choice_and_the_resolved_recipe_is_a_recipe(raw: dict[str, Any]) -> None:
    recipe = recipes.parse(raw)
    values = resolved(recipe)
    choices = explained(recipe)
    assert [choice.path for choice in choices[: len(leaves(values))]] == leaves(values)
    assert len(choices) == len(leaves(values))
    asked = recipes.given(recipe)
    assert {choice.path for choice in choices if choice.origin == "given"} == asked & set(leaves(values))
    assert all(choice.reason for choice in choices if choice.origin == "inferred")
    again = recipes.parse(values)
    assert resolve.training_values(again, PLAIN, "accuracy") == values["training"]
    assert resolve.data_values(again, COLUMNS) == values["data"]


@settings(deadline=None, max_examples=30)
@given(raw=sections)
def test_in_the_written_recipe_every_value_that_was_not_given_has_a_comment(raw: dict[str, Any]) -> None:
    recipe = recipes.parse(raw)
    asked = recipes.given(recipe)
    section = ""
    for line in recipes.dump(resolved(recipe), explained(recipe)).splitlines():
        name = line.strip().partition(":")[0]
        if line.endswith(":"):
            section = f"{name}."
            continue
        path = f"{section}{name}" if line.startswith(" ") else name
        assert ("  # " in line) == (path not in asked), line


def test_a_short_run_learns_faster_by_the_root_of_what_it_lacks_and_at_most_twice_as_fast() -> None:
    defaults = Defaults(learning_rate=5e-5, schedule="linear", warmup=0.1, settled_steps=1300)
    rates = {steps: defaults.rate_for(steps) for steps in (1, 325, 650, 1300, 10**6)}
    assert rates == {1: 1e-4, 325: 1e-4, 650: 7.1e-5, 1300: 5e-5, 10**6: 5e-5}
    assert PLAIN.rate_for(1) == PLAIN.learning_rate

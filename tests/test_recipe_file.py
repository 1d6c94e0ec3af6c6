"""A recipe is written with its reasons and reads back the same, and its JSON schema agrees with what whet takes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_recipe import problems, training, with_data, written
from whet import catalog
from whet import recipe as recipes
from whet.core import Choice
from whet.recipe import Recipe
from whet.sections import Augment, Data, Section, Surgery, Training

# --- writing ------------------------------------------------------------------------------------------------------

ODD = [
    "a # b",
    "a: b",
    "- a",
    "",
    " a ",
    "yes",
    "null",
    "1",
    "1e5",
    "...",
    "---",
    "가나다",
    "\n",
    "a\nb",
    "\x00",
    "'",
    '"',
]
texts = st.one_of(
    st.sampled_from([*ODD, "\u2028", "\x85", "\ufeff", "😀", "x" * 200, "{a", "[", "!a", "&a", "*a", "|", ">"]),
    st.text(),
)
scalars = st.one_of(
    texts, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)
)
options = st.dictionaries(
    st.sampled_from(["name", "labels", "rank", "targets"]),
    st.one_of(scalars, st.lists(scalars, max_size=4), st.dictionaries(texts, scalars, max_size=3)),
    max_size=4,
)
whole = st.fixed_dictionaries({"data": options, "model": scalars, "task": options, "seed": st.integers()})


@settings(deadline=None)
@given(values=whole, reasons=st.lists(texts, min_size=1))
def test_what_is_written_reads_back_the_same_whatever_it_holds(values: dict[str, Any], reasons: list[str]) -> None:
    paths = ["model", "seed", *(f"{section}.{key}" for section in ("data", "task") for key in values[section])]
    choices = [Choice(path, None, "inferred", reasons[i % len(reasons)]) for i, path in enumerate(paths)]
    text = recipes.dump(values, choices)
    assert yaml.safe_load(text) == values
    assert yaml.load(text, recipes._StrictLoader) == values
    assert text.count("\n") == 4 + len(values["data"]) + len(values["task"])


def test_a_recipe_file_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    values = {
        "data": {"train": str(tmp_path / "가 #1.csv"), "text": ["a\nb", "c: d"], "label": "라벨"},
        "task": {"name": "text_classification", "labels": ["yes", "2: two", "셋"]},
        "seed": 3,
    }
    assert recipes.read(written(tmp_path, recipes.dump(values, []))) == values


def test_every_value_that_was_decided_carries_its_reason_and_a_given_one_none() -> None:
    values = {
        "data": {"train": "a.csv", "label": "b"},
        "training": {"schedule": {"name": "linear", "final": 0.0}},
        "seed": 0,
    }
    choices = [
        Choice("data.train", "a.csv", "given"),
        Choice("data.label", "b", "inferred", "by its\nname"),
        Choice("training.schedule", "linear", "default", "default of method 'full'"),
        Choice("seed", 0, "default"),
        Choice("data.train", 37, "inferred", "3 rows were left out"),
    ]
    assert recipes.dump(values, choices).splitlines() == [
        "data:",
        "  train: a.csv  # 3 rows were left out",
        "  label: b  # by its name",
        "training:",
        "  schedule: {name: linear, final: 0.0}  # default of method 'full'",
        "seed: 0  # default",
    ]


# --- schema -------------------------------------------------------------------------------------------------------


def fits(value: object, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether a value fits a JSON schema; knows the words that the recipe's schema is made of."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "not" in schema and fits(value, schema["not"], root):
        return False
    for word, combine in (("anyOf", any), ("oneOf", any)):
        if word in schema and not combine(fits(value, one, root) for one in schema[word]):
            return False
    kinds = {"string": str, "integer": int, "number": int | float, "object": dict, "array": list, "null": type(None)}
    if "type" in schema and (not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool)):
        return False
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties", True)
        below = {key: known.get(key, other) for key in value}
        if any(one is False for one in below.values()) or not set(schema.get("required", ())) <= value.keys():
            return False
        return all(one is True or fits(value[key], one, root) for key, one in below.items())
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {}), root) for item in value)
    if isinstance(value, int | float):
        low, above = schema.get("minimum", value), schema.get("exclusiveMinimum", value - 1)
        high, below_this = schema.get("maximum", value), schema.get("exclusiveMaximum", value + 1)
        return bool(low <= value <= high and above < value < below_this)
    return True


SCHEMA = recipes.schema()


@pytest.mark.parametrize(
    "raw",
    [
        {"data": "reviews.csv"},
        with_data(method="lora", task="text_classification", model="bert", seed=3),
        with_data(method={"name": "lora", "rank": 4, "targets": ["*.query"]}),
        with_data(method={"name": "last_blocks", "count": 3}),
        with_data(task={"name": "text_classification", "class_weights": {"a": 1, "b": 2.5}}),
        with_data(task={"name": "text_classification", "class_weights": "balanced"}),
        with_data(task={"samples": 2}),
        training(schedule="cosine", learning_rate=0.001, max_gradient_norm=None, optimizer="sgd"),
        training(schedule={"name": "step", "every": 0.5}),
        {"data": {"train": "a", "text": ["b", "c"], "label": "d", "incomplete": "drop", "delimiter": ";"}},
    ],
)
def test_the_schema_takes_what_whet_takes(raw: dict[str, Any]) -> None:
    recipes.parse(raw)
    assert fits(raw, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"data": {}},
        {"data": 5},
        with_data(epochs=3),
        with_data(method="lroa"),
        with_data(method={"name": "lora", "rank": 0}),
        with_data(method={"name": "full", "rank": 8}),
        with_data(method={"rank": 8}),
        with_data(task={"name": "seq2seq", "class_weights": "balanced"}),
        training(epochs=0),
        training(epochs="many"),
        training(schedule="cosin"),
        training(schedule={"name": "linear", "every": 0.5}),
        training(optimizer="adam"),
        {"data": {"train": "a", "incomplete": "keep"}},
    ],
)
def test_the_schema_refuses_what_whet_refuses(raw: dict[str, Any]) -> None:
    problems(raw)
    assert not fits(raw, SCHEMA, SCHEMA)


def test_the_schema_describes_every_option_and_leaves_no_reference_open() -> None:
    parts: dict[str, type[Section]] = {"data": Data, "surgery": Surgery, "augment": Augment, "training": Training}
    sections = {"": SCHEMA, **{name: SCHEMA["$defs"][model.__name__] for name, model in parts.items()}}
    whole: dict[str, type[Section]] = {"": Recipe, **parts}
    for section, model in whole.items():
        described = {name: bool(one.get("description")) for name, one in sections[section]["properties"].items()}
        described |= {"surgery": True, "augment": True, "training": True} if section == "" else {}
        assert described == dict.fromkeys(model.model_fields, True)
    references = set(re.findall(r"#/\$defs/(\w+)", str(SCHEMA)))
    assert references <= SCHEMA["$defs"].keys()
    for kind in catalog.FOLDERS:
        named = {
            one["properties"]["name"]["const"] for one in SCHEMA["properties"][kind]["anyOf"] if "properties" in one
        }
        assert named == set(catalog.names(kind))

"""Fills what a recipe leaves open, and says of every value whether it was given, a default, or inferred and why.

Pure values in and out: it reads no data and no model.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from whet.core import Choice, Columns, Defaults
from whet.recipe import HUB, Recipe, given
from whet.sections import RISING, SCHEDULES

SGD_MOMENTUM = 0.9


def data_values(recipe: Recipe, columns: Columns) -> dict[str, Any]:
    """The data section with columns filled in and absolute paths, so that it means the same from any folder."""
    values = {key: value for key, value in recipe.data.model_dump().items() if value is not None}
    for key in ("train", "validation", "test"):
        if key in values and not values[key].startswith(HUB):
            values[key] = str(Path(values[key]).resolve())
    values["text"] = columns.text[0] if len(columns.text) == 1 else list(columns.text)
    values["label"] = columns.label[0] if len(columns.label) == 1 else list(columns.label)
    return values


def training_values(recipe: Recipe, defaults: Defaults, metric: str) -> dict[str, Any]:
    """The training section with the method's own defaults where nothing was given."""
    values = recipe.training.model_dump()
    schedule = SCHEDULES[defaults.schedule]()
    fallback = {
        "learning_rate": defaults.learning_rate,
        "schedule": schedule.model_dump(),
        "weight_decay": defaults.weight_decay,
        "layer_decay": defaults.layer_decay,
        "dropout": defaults.dropout,
        "metric": metric,
        "epochs": None if values["steps"] else defaults.epochs,
        "momentum": SGD_MOMENTUM if values["optimizer"] == "sgd" else None,
    }
    for key, value in fallback.items():
        if values[key] is None:
            values[key] = value
    if values["warmup"] is None:
        values["warmup"] = 0.0 if values["schedule"]["name"] in RISING else defaults.warmup
    return {key: value for key, value in values.items() if value is not None or key == "max_gradient_norm"}


def explained(recipe: Recipe, values: Mapping[str, Any], decided: Iterable[Choice], method: str) -> list[Choice]:
    """One choice for every value of a resolved recipe, in its order; ``decided`` holds the inferred ones."""
    inferred = {choice.path: choice for choice in decided if choice.origin == "inferred"}
    asked = given(recipe)
    own = {*Defaults.__dataclass_fields__} & set(type(recipe.training).model_fields)
    choices = []
    for path, value in _leaves(values):
        if path in asked:
            choices.append(Choice(path, value, "given"))
        elif path in inferred:
            choices.append(Choice(path, value, "inferred", inferred.pop(path).reason))
        else:
            of_method = path.removeprefix("training.") in own
            choices.append(Choice(path, value, "default", f"default of method '{method}'" if of_method else ""))
    return choices + [choice for choice in inferred.values() if choice.path not in asked]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path.count(".") < 1:
            yield from _leaves(value, f"{path}.")
        elif isinstance(value, Mapping) and path == "training.schedule":
            yield path, value["name"]
        else:
            yield path, value

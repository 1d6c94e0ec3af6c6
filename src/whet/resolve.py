"""Fills what a recipe leaves open, and says of every value whether it was given, a default, or inferred and why.

Pure values in and out: it reads no data and no model.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from whet.core import Choice, Columns, Defaults, Examples
from whet.errors import RecipeError
from whet.recipe import HUB, Recipe, given
from whet.sections import RISING, SCHEDULES, Training

SGD_MOMENTUM = 0.9
METHOD_DEFAULTS = Training.model_fields.keys() & Defaults.__dataclass_fields__.keys()
"""Options of the training section for which every method has a default of its own."""


def data_values(
    recipe: Recipe, columns: Columns, own_sides: Collection[str] = (), split: str | None = None
) -> dict[str, Any]:
    """The data section with columns filled in and absolute paths, so that it means the same from any folder.

    ``own_sides`` came with the data, so no share of the rows was split off for them. ``split`` is the column that says
    who stands where.
    """
    values = {key: value for key, value in recipe.data.model_dump().items() if value is not None}
    for key in ("train", "validation", "test"):
        if key in values or key in own_sides:
            values.pop(f"{key}_share", None)
        if key in values and not values[key].startswith(HUB):
            values[key] = str(Path(values[key]).resolve())
    values["text"] = columns.text[0] if len(columns.text) == 1 else list(columns.text)
    values["label"] = columns.label[0] if len(columns.label) == 1 else list(columns.label)
    if split is not None:
        values["split"] = split
    return values


def training_values(recipe: Recipe, defaults: Defaults, metric: str) -> dict[str, Any]:
    """The training section with the method's own defaults where nothing was given.

    Raises RecipeError for a warm-up before the method's own schedule where that rises by itself.
    """
    values = recipe.training.model_dump()
    schedule = values["schedule"] or SCHEDULES[defaults.schedule]().model_dump()
    rises = schedule["name"] in RISING
    if values["warmup"] and rises:
        raise RecipeError(
            f"training.warmup: schedule '{schedule['name']}', which is the method's own, rises by itself; "
            "leave warmup out, or set training.schedule=linear"
        )
    moves_momentum = schedule["name"] == "one_cycle"
    fallback = {
        "learning_rate": defaults.learning_rate,
        "schedule": schedule,
        "warmup": 0.0 if rises else defaults.warmup,
        "weight_decay": defaults.weight_decay,
        "layer_decay": defaults.layer_decay,
        "dropout": defaults.dropout,
        "metric": metric,
        "epochs": None if values["steps"] else defaults.epochs,
        "momentum": SGD_MOMENTUM if values["optimizer"] == "sgd" and not moves_momentum else None,
    }
    values |= {key: value for key, value in fallback.items() if values[key] is None}
    return {key: value for key, value in values.items() if value is not None or key == "max_gradient_norm"}


def explained(recipe: Recipe, values: Mapping[str, Any], decided: Iterable[Choice], method: str) -> list[Choice]:
    """One choice for every value of a resolved recipe, in its order.

    ``decided`` holds what was inferred. What it says of anything but a value of the recipe, such as rows that were left
    out of a file, follows at the end.
    """
    inferred = [choice for choice in decided if choice.origin == "inferred"]
    asked = given(recipe)
    choices, used = [], set()
    for path, value in _leaves(values):
        about = [choice for choice in inferred if choice.path == path and (path not in asked or choice.value == value)]
        used |= {id(choice) for choice in about}
        if path in asked:
            choices.append(Choice(path, value, "given"))
        elif about:
            choices.append(Choice(path, value, "inferred", "; ".join(c.reason for c in about if c.reason)))
        else:
            choices.append(Choice(path, value, "default", _reason(path, values, method)))
    return choices + [choice for choice in inferred if id(choice) not in used]


def _reason(path: str, values: Mapping[str, Any], method: str) -> str:
    """Why a default is what it is; empty where there is one default for all."""
    section, _, option = path.partition(".")
    schedule = values["training"]["schedule"]["name"]
    if section != "training":
        return ""
    if option == "warmup" and schedule in RISING:
        return f"schedule '{schedule}' rises by itself"
    if option == "metric":
        return f"default of task '{values['task']['name']}'"
    return f"default of method '{method}'" if option in METHOD_DEFAULTS else ""


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if not isinstance(value, Mapping):
            yield key, value
            continue
        for name, one in value.items():
            yield f"{key}.{name}", one["name"] if (key, name) == ("training", "schedule") else one


def rate(
    recipe: Recipe, defaults: Defaults, training: Mapping[str, Any], rows: int, decided: list[Choice]
) -> dict[str, float]:
    """The learning rate, where it is left open, for the number of steps that the run will have."""
    if recipe.training.learning_rate is not None:
        return {}
    steps = training.get("steps") or training["epochs"] * math.ceil(rows / training["batch_size"])
    rate = defaults.rate_for(steps)
    if rate != defaults.learning_rate:
        why = f"{defaults.learning_rate:g} in a run of {defaults.settled_steps:,} steps or more; this one has {steps:,}"
        decided.append(Choice("training.learning_rate", rate, "inferred", why))
    return {"learning_rate": rate}


def lengths(examples: Mapping[str, Examples], limit: int) -> list[Choice]:
    """How long the rows are, and what was lost of those that are too long."""
    longest = max(int(part.lengths.max(initial=0)) for part in examples.values())
    told = [Choice("task.max_length", limit, "inferred", f"the longest row has {longest} tokens")]
    if cut := sum(part.truncated for part in examples.values()):
        rows = sum(len(part) for part in examples.values())
        told = [Choice("task.max_length", f"{cut} rows cut", "inferred", f"{cut} of {rows} rows lose their end")]
    return told

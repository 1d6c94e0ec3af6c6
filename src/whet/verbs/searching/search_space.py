"""Which settings a search tries: how a space is written, and the spaces of a search that names none.

::

    training.learning_rate=1e-5..1e-3         anything between; by orders of magnitude for rates, and where the ends are
                                              ten times apart
    method.rank=4..64                         whole numbers where both ends are
    training.schedule=linear,cosine           one of these
    method.alpha=2*method.rank                not searched: follows another setting
    training.learning_rate                    its own usual space

Reads no data and no model, and loads neither torch nor Optuna.
"""

import copy
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from whet import catalog
from whet import recipe as recipes
from whet.errors import RecipeError, did_you_mean

RATE = "training.learning_rate"
BATCH = "training.batch_size"
OPTIMIZER = "training.optimizer"
SCHEDULE = "training.schedule"

AROUND = 10.0
"""How many times lower and higher than its beginning the learning rate is tried."""
SGD = 100.0
"""How many times faster SGD with momentum learns than AdamW at its best."""
DIGITS = 3
"""Of a number that was drawn; more of them mean nothing."""

SECTIONS = ("training", "method", "augment", "surgery")
"""What a space can be of."""
FIXED = {
    "training.metric": "decides which trial is the best, so it is the same for all",
    "training.precision": "is chosen for this machine, and changes the speed rather than the score",
    "training.cache": "changes the speed and never the score",
    "training.micro_batch_size": "changes memory and never the score",
    "training.checkpoint_every": "changes nothing but what is saved",
    "method.name": "is what 'whet compare' is for: its trials are not all of the same cost",
}
"""Settings that are not searched, and why."""


@dataclass(frozen=True)
class Range:
    """Every number from ``low`` to ``high``."""

    low: float
    high: float
    log: bool
    """Whether a factor of two is as far at the lower end as at the higher one."""
    whole: bool

    def nearest(self, value: object) -> float:
        """The number of the range that is nearest to a value; its middle where that is no number."""
        if not _is_number(value):
            value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        assert isinstance(value, int | float)
        inside = min(max(float(value), self.low), self.high)
        return round(inside) if self.whole else inside

    def rounded(self, value: float) -> float:
        """A number of the range with few digits."""
        return value if self.whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Values:
    """A few values."""

    values: tuple[bool | int | float | str | None, ...]

    def nearest(self, value: object) -> bool | int | float | str | None:
        """The very value where it is one of them, else the nearest number, else the first."""
        for one in self.values:
            if one == value and isinstance(one, bool) == isinstance(value, bool):
                return one
        numbers = [one for one in self.values if isinstance(one, int | float) and not isinstance(one, bool)]
        if not _is_number(value) or not numbers:
            return self.values[0]
        assert isinstance(value, int | float)
        wanted = float(value)
        return min(numbers, key=lambda one: abs(one - wanted))


@dataclass(frozen=True)
class Multiple:
    """So many times another setting."""

    factor: float
    of: str


Space: TypeAlias = Range | Values | Multiple
Spaces: TypeAlias = dict[str, Space]


# --- reading --------------------------------------------------------------------------------------------------


def split(written: Iterable[str]) -> dict[str, str]:
    """Path to values, as they stand behind ``--space``; empty values ask for the usual space of that path.

    Raises RecipeError with all that name nothing that can be searched.
    """
    found: dict[str, str] = {}
    problems = []
    for one in written:
        path, _, text = (part.strip() for part in one.partition("="))
        section, _, option = path.partition(".")
        if path in FIXED:
            problems.append(f"--space {path}: {FIXED[path]}")
        elif section not in SECTIONS or not option:
            problems.append(
                f"--space {one}: write it as PATH=VALUES, such as training.learning_rate=1e-5..1e-3 or "
                f"method.rank=4,8,16; what can be searched is in {', '.join(SECTIONS)}"
            )
        elif path in found:
            problems.append(f"--space {path}: is named twice")
        else:
            found[path] = text
    if problems:
        raise RecipeError(*problems)
    return found


def read(texts: Mapping[str, str]) -> Spaces:
    """Spaces from what was written; raises RecipeError with all problems."""
    spaces: Spaces = {}
    problems = []
    for path, text in texts.items():
        try:
            spaces[path] = _space(path, text)
        except ValueError as error:
            problems.append(f"--space {path}={text}: {error}")
    for path, space in spaces.items():
        if isinstance(space, Multiple) and not isinstance(spaces.get(space.of), Range | Values):
            searched = [other for other, one in spaces.items() if not isinstance(one, Multiple)]
            problems.append(
                f"--space {path}={texts[path]}: '{space.of}' is not searched{did_you_mean(space.of, searched)}"
            )
    if problems:
        raise RecipeError(*problems)
    return spaces


def _space(path: str, text: str) -> Space:
    if "*" in text:
        factor, _, other = text.partition("*")
        number = _plain(factor)
        if not _is_number(number) or not other.strip():
            raise ValueError("write it as NUMBER*PATH, such as 2*method.rank")
        assert isinstance(number, int | float)
        return Multiple(float(number), other.strip())
    if ".." in text:
        return _range(path, text)
    values = tuple(_plain(one) for one in text.split(","))
    if len(set(map(repr, values))) < len(values):
        raise ValueError("names a value twice")
    if len(values) < 2:
        raise ValueError(f"a single value leaves nothing to search; set it with --set {path}={text}, or name more")
    return Values(values)


def _range(path: str, text: str) -> Range:
    ends = re.split(r"\.\.", text)
    numbers = [_plain(end) for end in ends]
    if len(numbers) != 2 or not all(_is_number(number) for number in numbers):
        raise ValueError("a range has two numbers, such as 1e-5..1e-3")
    low, high = (number for number in numbers if isinstance(number, int | float))
    if not low < high:
        raise ValueError("its lower end comes first")
    whole = isinstance(low, int) and isinstance(high, int)
    if path == RATE and low <= 0:
        raise ValueError("a learning rate is more than 0")
    return Range(low, high, log=low > 0 and (path == RATE or high >= 10 * low), whole=whole)


def _plain(text: str) -> bool | int | float | str | None:
    """A value as the recipe would read it."""
    text = text.strip()
    words: dict[str, bool | None] = {"null": None, "~": None, "true": True, "false": False}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- the recipes of trials ------------------------------------------------------------------------------------


def settings(spaces: Spaces, drawn: Mapping[str, Any], *, exact: bool = False) -> dict[str, Any]:
    """What a trial sets, by path, from what was drawn for it; ``exact`` keeps all digits of its numbers."""
    found: dict[str, Any] = {}
    for path, space in spaces.items():
        match space:
            case Range():
                found[path] = drawn[path] if exact else space.rounded(drawn[path])
            case Values():
                found[path] = drawn[path]
    if found.get(OPTIMIZER) == "sgd" and RATE in found:
        found[RATE] = float(f"{SGD * found[RATE]:.{DIGITS}g}")
    for path, space in spaces.items():
        if isinstance(space, Multiple):
            found[path] = space.factor * found[space.of]
    return found


def begin(spaces: Spaces, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the search begins with: the values of a resolved recipe, or those nearest to them in the spaces."""
    found: dict[str, Any] = {}
    for path, space in spaces.items():
        if not isinstance(space, Multiple):
            found[path] = space.nearest(value_at(values, path))
    return found


def recipe_with(raw: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe with other settings; a schedule that is the recipe's own keeps its options."""
    made = copy.deepcopy(dict(raw))
    for path, value in chosen.items():
        if path != SCHEDULE or recipes.name_of(value_at(raw, path)) != value:
            recipes.put(made, path.split("."), value)
    return made


def check(raw: Mapping[str, Any], spaces: Spaces) -> None:
    """Raise RecipeError for every end of a space that the recipe would refuse; methods that are open are not asked."""
    problems: list[str] = []
    for path, space in spaces.items():
        if path.startswith("method.") and recipes.name_of(raw.get("method")) is None:
            continue
        match space:
            case Range():
                tried: tuple[object, ...] = (space.low, space.high)
            case Values():
                tried = space.values
            case Multiple():
                tried = ()
        for value in tried:
            try:
                recipes.parse(recipe_with(raw, {path: value}))
            except RecipeError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise RecipeError(*problems)


def value_at(values: Mapping[str, Any], path: str) -> object:
    """The value at a dotted path; None where there is none. Of a schedule it is the name."""
    place: Any = values
    for key in path.split("."):
        if isinstance(place, str) and key == "name":
            return place
        place = place.get(key) if isinstance(place, Mapping) else None
    return recipes.name_of(place) if path == SCHEDULE else place


# --- usual spaces ---------------------------------------------------------------------------------------------


def usual(values: Mapping[str, Any], of_method: Mapping[str, str], *, given: Iterable[str] = ()) -> dict[str, str]:
    """The spaces of a search that names none, around a resolved recipe, as one would write them.

    ``of_method`` are those that the method declares for its own options, ``given`` the paths that the user set.
    """
    training = values["training"]
    rate = training["learning_rate"]
    if training["optimizer"] == "sgd" and RATE not in given:
        # What a method has by default is for AdamW.
        rate *= SGD
    batch = training["batch_size"]
    schedules = dict.fromkeys([training["schedule"]["name"], "linear", "cosine", "constant"])
    decays = sorted({0.0, 0.01, 0.1, training["weight_decay"]})
    dropouts = dict.fromkeys([training.get("dropout"), None, 0.0, 0.2])
    found = {
        RATE: f"{rate / AROUND:.3g}..{min(rate * AROUND, 9.0):.3g}",
        SCHEDULE: _written(schedules),
        "training.weight_decay": _written(decays),
        "training.dropout": _written(dropouts),
    }
    if "steps" not in training:
        # With a fixed number of steps a larger batch would simply be a longer run.
        found[BATCH] = _written(sorted({max(1, batch // 2), batch, 2 * batch}))
    of_options = {f"method.{option}": text for option, text in of_method.items()}
    # What follows another setting has to do so in the recipe, or trial 0 would not be this recipe.
    return found | {path: text for path, text in of_options.items() if "*" not in text or _holds(path, text, values)}


def _holds(path: str, text: str, values: Mapping[str, Any]) -> bool:
    """Whether a setting is so many times another one already."""
    space = _space(path, text)
    of = value_at(values, space.of) if isinstance(space, Multiple) else None
    return isinstance(space, Multiple) and _is_number(of) and value_at(values, path) == space.factor * float(str(of))


def usual_of(path: str, values: Mapping[str, Any], spaces: Mapping[str, str]) -> str:
    """The usual space of one path; raises RecipeError where there is none."""
    if path in spaces:
        return spaces[path]
    if path == OPTIMIZER:
        return "adamw,sgd"
    section, _, option = path.partition(".")
    if section == "method":
        name = values["method"]["name"]
        known = catalog.schema("method", name).get("properties", {})
        if option in known and (text := _from_bounds(known[option], value_at(values, path))):
            return text
    raise RecipeError(
        f"--space {path}: has no usual space{did_you_mean(path, [*spaces, OPTIMIZER])}; or name its values, as in "
        f"{path}=LOW..HIGH or {path}=A,B,C"
    )


def _from_bounds(schema: Mapping[str, Any], value: object) -> str:
    """All values of an option that has few, a quarter to four times of a number, within its bounds; else nothing."""
    if "enum" in schema:
        return _written(schema["enum"])
    if schema.get("type") == "boolean":
        return "true,false"
    if schema.get("type") not in ("integer", "number") or not isinstance(value, int | float) or value <= 0:
        return ""
    low, high = value / 4, value * 4
    low = max(low, schema.get("minimum", low))
    high = min(high, schema.get("maximum", high))
    # An end that is no value itself is never reached.
    if high >= schema.get("exclusiveMaximum", math.inf):
        high = (value + schema["exclusiveMaximum"]) / 2
    if schema["type"] == "integer":
        low, high = math.ceil(low), math.floor(high)
    return f"{low:.{DIGITS}g}..{high:.{DIGITS}g}" if low < high else ""


def _written(values: Iterable[object]) -> str:
    words = {None: "null", True: "true", False: "false"}
    return ",".join(words[v] if v is None or isinstance(v, bool) else f"{v}" for v in values)

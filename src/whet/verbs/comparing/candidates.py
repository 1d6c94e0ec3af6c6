"""Who takes part in a comparison: every method on every model at every learning rate, each as a recipe of its own."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from whet import recipe as recipes
from whet.errors import RecipeError, RunFolderError
from whet.planning.budget import seconds_in
from whet.recipe import Recipe

ASKED = "asked.json"
"""What a comparison was asked for, so that it can go on."""

METHODS = ("full", "head", "last_blocks", "lora", "bitfit", "adapter", "lp_ft", "layernorm", "scratch")
"""Who takes part where no methods are named; ``scratch`` shows what pre-training is worth."""

EPOCHS = 3
_COUNTED = re.compile(r"(\d+)\s*(step|epoch)s?", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """What every candidate gets: as many steps as all others, or as much time; one of the three."""

    steps: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    """Of all candidates together."""


@dataclass(frozen=True)
class Asked:
    """What is to be compared."""

    recipe: dict[str, Any]
    """What all have in common, as plain values."""
    methods: Sequence[str | dict[str, Any]] = ()
    """Names, or names with options; none are ``METHODS``."""
    models: Sequence[str] = ()
    """None are the recipe's own."""
    rates: Sequence[float | None] = ()
    """Learning rates that each method is tried with, None for its own; none are each method's own."""
    seeds: int = 1
    budget: Budget = Budget()
    exhaustive: bool = False
    """Whether nobody is dropped."""
    command: str = ""
    jobs: int | None = None
    """Candidates that train beside each other; None leaves it to the machine."""


@dataclass(frozen=True)
class Entrant:
    """A candidate, and the recipe that it runs with any seed."""

    name: str
    method: str
    model: str | None
    settings: dict[str, object]
    raw: dict[str, Any]

    def recipe(self, seed: int, split_off: bool) -> Recipe:
        """The recipe of one run, as ``plain``."""
        return recipes.parse(self.plain(seed, split_off))

    def plain(self, seed: int, split_off: bool) -> dict[str, Any]:
        """The recipe of one run; ``split_off`` says that sides are split off the training rows.

        Runs with any seed are measured on the same rows.
        """
        raw = copy.deepcopy(self.raw)
        base = raw.get("seed", 0)
        # What is no number is refused below.
        raw["seed"] = base + seed if isinstance(base, int) else base
        if seed and split_off:
            recipes.put(raw, ["data", "split_seed"], base)
        return raw

    def train(self, steps: int | None, evaluate_every: int, checkpoint_every: int) -> None:
        """Let its runs train for so long, where time is shared out, and be evaluated and saved so often."""
        training = self.raw["training"]
        if steps is not None:
            training.pop("epochs", None)
            training["steps"] = steps
        training["evaluate_every"] = evaluate_every
        training.setdefault("checkpoint_every", checkpoint_every)


def budget_of(text: str | None) -> Budget:
    """A budget such as ``375steps``, ``3epochs``, ``20m`` or ``1h30m``; raises RecipeError for anything else."""
    if text is None:
        return Budget()
    if (seconds := seconds_in(text)) is not None:
        return Budget(seconds=seconds)
    found = _COUNTED.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise RecipeError(f"--budget: '{text}': write it as 375steps, 3epochs, 20m or 1h30m")
    return Budget(steps=int(found[1])) if found[2].lower() == "step" else Budget(epochs=int(found[1]))


def entrants(asked: Asked) -> list[Entrant]:
    """Everybody who takes part; raises RecipeError with all that is wrong with any of them."""
    problems: list[str] = []
    if asked.seeds < 1:
        problems.append(f"--seeds: {asked.seeds}: at least one is needed")
    if asked.jobs is not None and asked.jobs < 1:
        problems.append(f"--jobs: {asked.jobs}: at least one candidate trains at a time")
    if (asked.jobs or 1) > 1 and asked.budget.seconds is not None:
        problems.append(
            f"--jobs: {asked.jobs} candidates beside each other do not get the same time each, as who trains beside "
            "whom decides how fast they are; give a budget in steps or epochs, or leave --jobs out"
        )
    unusable = [rate for rate in asked.rates if rate is not None and not 0 < rate < 10]
    problems += [f"--rates: {rate:g}: a learning rate is above 0 and below 10" for rate in unusable]
    made: list[Entrant] = []
    models: Sequence[str | None] = asked.models or [None]
    rates: Sequence[float | None] = asked.rates or [None]
    for model in models:
        for method in asked.methods or _usual(asked.recipe):
            made += [_entrant(asked, model, method, rate) for rate in rates]
    doubled = {one.name for one in made if sum(other.name == one.name for other in made) > 1}
    problems += [f"--methods: '{name}' takes part twice; name it once" for name in sorted(doubled)]
    for one in made:
        try:
            one.recipe(max(0, asked.seeds - 1), split_off=False)
        except RecipeError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise RecipeError(*problems)
    return made


def write(folder: Path, asked: Asked) -> None:
    """Keep what was asked for."""
    text = json.dumps(asdict(asked), indent=2, ensure_ascii=False, default=str)
    (folder / ASKED).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Asked:
    """What a comparison was asked for; raises RunFolderError where that cannot be read."""
    try:
        return TypeAdapter(Asked).validate_json((folder / ASKED).read_bytes())
    except (OSError, ValidationError) as error:
        raise RunFolderError(f"{folder / ASKED} cannot be read: {error}; begin anew with 'whet compare'") from None


def _usual(raw: dict[str, Any]) -> list[str | dict[str, Any]]:
    """The usual methods, and the one of the recipe."""
    own = recipes.name_of(raw.get("method"))
    return [*METHODS, *([own] if isinstance(own, str) and own not in METHODS else [])]


def _entrant(asked: Asked, model: str | None, method: str | dict[str, Any], rate: float | None) -> Entrant:
    raw = copy.deepcopy(asked.recipe)
    name = str(recipes.name_of(method))
    # Options that the recipe has for this very method are kept.
    if method != recipes.name_of(raw.get("method")):
        raw["method"] = copy.deepcopy(method)
    settings: dict[str, object] = {}
    words = [name]
    if isinstance(method, dict):
        options = {key: value for key, value in method.items() if key != "name"}
        settings |= {f"method.{key}": value for key, value in options.items()}
        words += [f"{key}-{value}" for key, value in options.items()]
    if model is not None:
        raw["model"] = model
        if len(asked.models) > 1:
            words.append(Path(model).name)
    if rate is not None:
        recipes.put(raw, ["training", "learning_rate"], rate)
        settings["training.learning_rate"] = rate
        if len(asked.rates) > 1:
            words.append(f"{rate:g}")
    elif len(asked.rates) > 1:
        words.append("own-rate")
    training = raw.setdefault("training", {})
    if isinstance(training, dict):
        _give(training, asked.budget)
    return Entrant(re.sub(r"[^\w.-]+", "-", "-".join(words)), name, raw.get("model"), settings, raw)


def _give(training: dict[str, Any], budget: Budget) -> None:
    """Let a run take what everybody gets."""
    if budget.steps is not None or budget.epochs is not None:
        training.pop("epochs", None)
        training.pop("steps", None)
        training |= {"steps": budget.steps} if budget.steps is not None else {"epochs": budget.epochs}
    elif training.get("steps") is None and training.get("epochs") is None:
        # Methods have their own default, and all are to take as many steps.
        training["epochs"] = EPOCHS

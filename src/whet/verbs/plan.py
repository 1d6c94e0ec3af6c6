"""What each method will need before anything is trained: how much trains, memory, time, disk, and whether it fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from whet import catalog, resolve
from whet import recipe as recipes
from whet.engine.arithmetic import Arithmetic, Precision, choose
from whet.engine.cache import cache_folder
from whet.engine.device import choose_device, free_memory, tokens_at_once
from whet.errors import ModelError, RecipeError, RunError
from whet.intake import intake, wanted_changes
from whet.model.late_head import without_logits
from whet.model.outline import shapes_alone
from whet.model.parts import longest_input, parts_of
from whet.model.surgery import operate
from whet.planning.fit import settle
from whet.planning.memory import NUMBER
from whet.planning.planned import Plan, Planned
from whet.planning.shapes import TARGETS, kind_of, open_outline, read_config, writes_tokens
from whet.planning.work import of_config, of_examples
from whet.protocols import Measuring, Method, Task
from whet.recipe import Recipe
from whet.verbs.foreseeing.look import Asked, Look, Machine, pace_here

LENGTH = 512
"""Tokens of a row where nobody says."""
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)

Progress = Callable[[str], None]
"""Hears what is being looked at."""


def plan(  # noqa: PLR0913  # each of them is a question of its own
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    methods: Sequence[str] | None = None,
    config: str | Path | None = None,
    memory: str | int | None = None,
    batch: int | None = None,
    length: int | None = None,
    rows: int | None = None,
    measure: bool = False,
    progress: Progress = lambda _: None,
) -> Plan:
    """What a run of each method would need, by the shapes of the model and of the rows alone; no weight is read.

    ``source`` is what ``train`` takes. Without one, ``config`` is a model's config.json or its folder, and the rows are
    as ``length``, ``batch`` and ``rows`` say. ``memory`` is that of another machine, such as ``"48GB"``. ``methods``
    are all of them if not named. With ``measure`` each takes a few steps in a process of its own. Raises RecipeError,
    DataError or ModelError.
    """
    names = _methods(methods)
    if (source is None) == (config is None):
        raise RecipeError("plan: name a data file or a recipe, or a model's config with --config, and not both")
    if measure and (config is not None or memory is not None):
        raise RecipeError("plan: --measure takes steps here, over rows; leave --config and --memory out")
    if config is not None:
        asked = _of_config(Path(config), task, batch, length, rows)
    else:
        assert source is not None
        if length is not None or rows is not None:
            raise RecipeError("plan: the rows are those of the data; leave --length and --rows out")
        asked = _of_rows(source, model, task, batch, progress)
    machine = _machine(memory, asked.work.longest, asked.training(catalog.build("method", "full", {})).get("precision"))
    planned: list[Planned] = []
    refused: dict[str, str] = {}
    for name in names:
        progress(name)
        try:
            found = _planned(name, catalog.build("method", name, asked.options.get(name, {})), asked, machine, measure)
            planned.append(found)
        except (ModelError, RecipeError, RunError) as error:
            refused[name] = " ".join(error.problems)
    work = asked.work
    return Plan(
        model=asked.name,
        machine=machine.name,
        room=machine.room,
        batch_size=work.batch_size,
        longest=work.longest,
        rows=work.rows,
        methods=planned,
        refused=refused,
    )


def _planned(name: str, method: Method, asked: Asked, machine: Machine, measure: bool) -> Planned:
    """What a run with one method needs; raises ModelError where it cannot work with the model."""
    values = asked.training(method)
    look = Look(method, asked, machine, values)
    wanted = (values.get("micro_batch_size"), bool(values.get("gradient_checkpointing")))
    fit = settle(look.memory, machine.room, asked.work.batch_size, asked=wanted, least=look.least)
    if measure and fit.fits:
        look.measure(name, fit)
        fit = settle(look.memory, machine.room, asked.work.batch_size, asked=wanted, least=look.least)
    cost = look.attached.cost
    return Planned(
        method=name,
        trainable=cost.trainable,
        stored=cost.stored,
        total=cost.total,
        fit=fit,
        steps=look.steps,
        duration=look.duration(fit),
        # Three checkpoints, as two stay while the next is written, each of weights, best weights and two moments.
        disk=NUMBER * (3 * 4 * cost.trainable + cost.total) + look.cache,
        cache=look.cache,
        measured=look.seen is not None,
        estimated=look.estimated,
    )


# --- what is asked ------------------------------------------------------------------------------------------------


def _methods(names: Sequence[str] | None) -> list[str]:
    """The methods that were named, or all that need no option."""
    for name in names or ():
        catalog.load("method", name)
    if names:
        return list(names)
    known = catalog.names("method")
    return [name for name in known if not any(option.required for option in catalog.options("method", name))]


def _of_config(path: Path, task: str | None, batch: int | None, length: int | None, rows: int | None) -> Asked:
    config = read_config(path)
    kind = kind_of(config, task)
    with shapes_alone():
        model = open_outline(config, kind, TARGETS)
    recipe = recipes.parse({"data": "rows.csv", "training": {"batch_size": batch} if batch else {}})
    longest = longest_input(model)
    tokens = min(length or LENGTH, longest or length or LENGTH)
    if length is not None and tokens < length:
        raise RecipeError(f"--length: {length} tokens, but this model reads {tokens}; choose at most {tokens}")
    size = min(recipe.training.batch_size, rows or recipe.training.batch_size)
    work = of_config(model, kind, size, tokens, rows, tokens_at_once(torch.device("cpu")))
    writes = work.batch(1).learned > 0
    return Asked(
        name=f"{config.model_type} ({path})",
        model=model,
        parts=parts_of(model),
        work=work,
        writes=writes,
        training=lambda method: resolve.training_values(recipe, method.defaults, "loss"),
        seed=0,
        changes=False,
        options={},
        raw={},
        computing=without_logits if writes else lambda _: ExitStack(),
    )


def _of_rows(
    source: str | Path | Mapping[str, Any], model: str | None, task: str | None, batch: int | None, progress: Progress
) -> Asked:
    raw = recipes.plain(source)
    for key, value in (("model", model), ("task", task)):
        if value is not None and value != recipes.name_of(raw.get(key)):
            raw[key] = value
    if batch is not None:
        recipes.put(raw, ["training", "batch_size"], batch)
    recipe = recipes.parse(raw)
    progress("reading the rows")
    splits, columns, _, fitted, _ = intake(recipe)
    with shapes_alone():
        loaded = fitted.open_model(recipe.model)
        with torch.device("meta"):
            loaded = operate(loaded, recipe.surgery)
        fitted, _ = fitted.suited(loaded.model)
        if isinstance(fitted, Measuring):
            fitted, _ = fitted.measured(splits["train"], columns, loaded)
    writes = writes_tokens(fitted.problem, loaded.model.config.model_type)
    examples = {name: fitted.encode(rows, columns, loaded.processor) for name, rows in splits.items()}
    device = choose_device()
    work = of_examples(fitted, examples, recipe.training.batch_size, recipe.seed, tokens_at_once(device), writes)
    computing: Callable[[nn.Module], Any] = fitted.computing
    return Asked(
        name=loaded.name,
        model=loaded.model,
        parts=parts_of(loaded.model, loaded.fresh),
        work=work,
        writes=writes,
        training=partial(_training, recipe, fitted),
        seed=recipe.seed,
        changes=bool(wanted_changes(recipe)),
        options={} if recipe.method is None else {recipe.method.name: recipe.method.options},
        raw=raw,
        computing=computing,
    )


def _training(recipe: Recipe, task: Task, method: Method) -> dict[str, Any]:
    return resolve.training_values(recipe, method.defaults, task.metric)


def _machine(memory: str | int | None, longest: int, precision: Precision | None) -> Machine:
    """This machine, or one with so much memory, of which nothing else is known."""
    device = choose_device()
    if memory is not None:
        room = memory if isinstance(memory, int) else _bytes(memory)
        return Machine("the given memory", room, torch.device("cuda"), Arithmetic(precision or "bf16"), None)
    arithmetic, _ = choose(precision, device, cache_folder(), longest)
    if device.type != "cpu":
        return Machine(f"this {device.type}", free_memory(device), device, arithmetic, None)
    return Machine("this CPU", free_memory(device), device, arithmetic, pace_here(arithmetic))


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise RecipeError(f"--memory: '{text}' is no size; write it as 48GB, 24GiB or 500MB")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])

"""Which method to use on some data, with which model, and why; within a time where one is given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whet import recipe as recipes
from whet.core import Columns, Rows
from whet.engine.device import choose_device, whole_memory
from whet.errors import ModelError, RecipeError
from whet.intake import intake
from whet.model.locate import embedded_text_model
from whet.model.shapes import shapes_of
from whet.planning.advise import Advice, Facts, Pick, candidates, enough, takes, within
from whet.planning.advise import advise as advice_for
from whet.planning.backbones import READING, Backbone, Language, language_of, suggest
from whet.planning.budget import seconds_of
from whet.planning.facts import facts_of
from whet.protocols import ReadingFiles, Task
from whet.report.writing import duration
from whet.verbs.advising.probe import ANSWERED, probe
from whet.verbs.advising.timed import pace

LARGEST = 600.0
"""Millions of parameters of the models that are suggested."""


@dataclass(frozen=True)
class Advised:
    """The advice for some data, and what it rests on."""

    data: str
    model: str
    """The model that it is for; the smallest of those that are suggested where none is named and none is embedded."""
    here: bool
    """Whether that model was named or is embedded."""
    facts: Facts
    language: Language | None
    """None where rows are no texts."""
    length: int | None
    """Characters of half of the texts at most."""
    advice: Advice
    backbones: Sequence[Backbone]
    """Models to begin with, where none is named."""
    command: str
    """What trains the first choice."""
    seconds: Mapping[str, float]
    """What the picks take, by what they are called; empty where no time was given to plan for."""


def advise(
    source: str | Path | Mapping[str, Any],
    *,
    model: str | None = None,
    task: str | Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    budget: str | None = None,
    probed: bool = False,
) -> Advised:
    """Advise a method for a data file, a folder, ``hub:owner/name`` or a recipe; nothing is trained.

    Reads the data and the config of the model. With ``probed`` a linear model over the frozen body tells how near the
    data is to what the model was pre-trained on, for one pass over 2,000 rows at most. With a ``budget``, such as
    ``20m``, a few steps of each candidate are timed, and the run is planned to end in time.

    Raises RecipeError, DataError or ModelError with all their problems.
    """
    raw = recipes.plain(source)
    raw |= {key: value for key, value in {"model": model, "task": task}.items() if value is not None}
    settings = []
    for key, value in (data or {}).items():
        recipes.put(raw, ["data", key], value)
        settings.append(f"data.{key}={value}")
    return run(raw, None if isinstance(source, Mapping) else str(source), settings, budget=budget, probed=probed)


def run(
    raw: Mapping[str, Any], source: str | None, settings: Sequence[str], *, budget: str | None, probed: bool
) -> Advised:
    """As ``advise``, for the plain values of a recipe; its method, if it names one, is left aside.

    ``source`` and ``settings`` are what was typed for it.
    """
    seconds = None if budget is None else seconds_of(budget)
    raw = {key: value for key, value in raw.items() if key != "method"}
    recipe = recipes.parse(raw)
    splits, columns, name, task, _ = intake(recipe)
    language, length = _texts(splits["train"], columns, task)
    backbones = [] if recipe.model is not None else suggest(name, language, LARGEST)
    called, here, parameters = _model(recipe.model, name, backbones)
    if not here and (probed or budget):
        raise ModelError(f"no model is named, and none is embedded for {name}; name one, such as --model {called}")
    device = choose_device()
    facts = facts_of(
        name,
        task,
        splits["train"],
        columns,
        parameters=parameters,
        device="cpu" if device.type == "cpu" else "gpu",
        memory=whole_memory(device),
        batch=recipe.training.batch_size,
    )
    if probed and facts.problem in ANSWERED:
        facts = replace(facts, probe=probe(raw))
    advice = advice_for(facts)
    taken: dict[str, float] = {}
    if seconds is not None:
        advice, taken = _within(raw, advice, facts, seconds)
    source = source or recipe.data.train
    words = ["whet", "train", source, *(word for setting in settings for word in ("--set", setting))]
    words += ["--model", called] if recipe.model is not None or not here else []
    return Advised(
        data=source,
        model=called,
        here=here,
        facts=facts,
        language=language,
        length=length,
        advice=advice,
        backbones=backbones,
        command=shlex.join([*words, *_typed(advice.first)]),
        seconds=taken,
    )


def _texts(rows: Rows, columns: Columns, task: Task) -> tuple[Language | None, int | None]:
    """The language of the rows, and how long half of them are at most; nothing where they are no texts."""
    if isinstance(task, ReadingFiles):
        return None, None
    cells = zip(*(rows.columns[name] for name in columns.text), strict=True)
    texts = [" ".join(_spoken(cell) for cell in row) for row in cells]
    return language_of(texts), int(np.median([len(text) for text in texts]))


def _spoken(cell: object) -> str:
    """A cell as a text: of words one after the other."""
    return " ".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def _model(named: str | None, task: str, backbones: Sequence[Backbone]) -> tuple[str, bool, int]:
    """What to call the model, whether it was named or is embedded, and its parameters."""
    if named is not None or (task in READING and embedded_text_model() is not None):
        called, parts = shapes_of(named)
        return called, True, parts.count(frozenset(parts.parameters))
    if not backbones:
        raise ModelError(f"no model is named, and none is known for {task}; name one with --model")
    first = next((one for one in backbones if not one.pickled), backbones[0])
    return first.name, False, round(first.parameters * 1e6)


def _within(raw: dict[str, Any], advice: Advice, facts: Facts, seconds: float) -> tuple[Advice, dict[str, float]]:
    """The advice that fits into a time, and what its picks take; raises RecipeError where nothing fits."""
    learning: list[tuple[Pick, float]] = []
    hurried: list[tuple[Pick, float]] = []
    told = []
    for pick in candidates(advice, facts):
        measured = pace(raw, pick)
        shortened = within(pick, measured, facts, seconds)
        if shortened != pick:
            told.append(f"{pick} would take {duration(takes(pick, measured, facts))}")
        if shortened is not None:
            entry = (shortened, takes(shortened, measured, facts))
            (learning if enough(pick, shortened, facts) else hurried).append(entry)
        if len(learning) == 2:
            break
    fitting = learning + hurried
    if not fitting:
        raise RecipeError(f"--budget: {duration(seconds)} is too short for any method here: {'; '.join(told)}")
    note = "; ".join([f"planned to end within {duration(seconds)}", *told])
    picks = [pick for pick, _ in fitting]
    planned = replace(advice, first=picks[0], second=picks[min(1, len(picks) - 1)], notes=(*advice.notes, note))
    return planned, {str(pick): taken for pick, taken in fitting}


def _typed(pick: Pick) -> list[str]:
    """The options of ``whet train`` that say the same."""
    settings = {f"method.{name}": value for name, value in pick.options.items()}
    settings |= {f"training.{name}": value for name, value in pick.recipe.get("training", {}).items()}
    return ["--method", pick.method, *(word for n, v in settings.items() for word in ("--set", f"{n}={v}"))]

"""Which learning rates are worth trying: a range test of a recipe, without a run folder."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from whet import recipe as recipes
from whet.build import Prepared, prepare
from whet.engine import range_test as engine
from whet.engine.device import join
from whet.engine.job import StopRequest
from whet.engine.range_test import HIGHEST, LOWEST, RangeTest
from whet.errors import InterruptedRunError, RecipeError, RunError, RunFolderError
from whet.events import NotStored, Step, Stored, Storing
from whet.recipe import Recipe
from whet.report import rates as report
from whet.verbs.searching.search_space import SGD
from whet.verbs.session import free_name
from whet.verbs.train import stoppable

STEPS = 100
ENDING = "-rates"
DRAWING, NUMBERS = "learning_rates.svg", "learning_rates.json"


@dataclass(frozen=True)
class Tested:
    """What was found, and where it is drawn."""

    found: RangeTest
    folder: Path

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {"folder": str(self.folder), **_plain(self.found)}


def range_test(
    source: str | Path | Mapping[str, Any],
    *,
    model: str | None = None,
    task: str | Mapping[str, Any] | None = None,
    method: str | Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Tested:
    """Train a hundred steps at ever higher learning rates, and return the losses and the rate that they suggest.

    The keywords are those of ``train``. The folder ``out`` gets a drawing and the numbers. Raises what ``train`` raises
    before the first step, RunError where not even the lowest rate can be trained with.
    """
    raw = recipes.plain(source)
    keywords = {"model": model, "task": task, "method": method}
    raw |= {k: value for k, value in keywords.items() if value is not None and value != recipes.name_of(raw.get(k))}
    for key, value in (training or {}).items():
        recipes.put(raw, ["training", key], value)
    return run(recipes.parse(raw), Path(out) if out else None, Console(quiet=quiet))


def run(recipe: Recipe, out: Path | None, console: Console) -> Tested:
    """Test the rates of a recipe, and show them on the console."""
    if join().count > 1:
        raise RecipeError("a range test is run by one process; start it without torchrun")
    if out is not None and out.exists():
        raise RunFolderError(f"{out} exists and is never overwritten; choose another folder with --out")
    with console.status("reading data and model"):
        prepared = prepare(recipe)
    found = _test(prepared, console)
    folder = out or free_name(prepared.values, ENDING)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be made: {error.strerror}; choose another with --out") from None
    (folder / DRAWING).write_text(report.drawing(found), encoding="utf-8")
    (folder / NUMBERS).write_text(json.dumps(_plain(found), indent=1) + "\n", encoding="utf-8")
    usual = prepared.method.defaults.learning_rate
    report.results(console, found, folder / DRAWING, method=prepared.values["method"]["name"], usual=usual)
    return Tested(found, folder)


def _test(prepared: Prepared, console: Console) -> RangeTest:
    usual = prepared.method.defaults.learning_rate * (SGD if prepared.settings.optimizer == "sgd" else 1.0)
    stop = StopRequest()
    job = prepared.job(None, stop)
    rates: list[float] = []
    losses: list[float] = []
    test = engine.range_test(job, lowest=LOWEST * usual, highest=HIGHEST * usual, steps=STEPS)
    with stoppable(stop), report.RatesProgress(console, STEPS) as progress, closing(test) as events:
        for event in events:
            match event:
                case Step():
                    rates.append(event.learning_rate)
                    losses.append(event.loss)
                    progress.step(event.step, event.learning_rate, event.loss)
                case Storing() | Stored() | NotStored():
                    progress.storing(isinstance(event, Storing))
    if stop.reason is not None:
        raise InterruptedRunError(f"stopped at step {len(rates)} of {STEPS} ({stop.reason}); nothing was changed")
    if not rates:
        raise RunError(
            f"the loss is no finite number at the first step, at a learning rate of {LOWEST * usual:.2g} already; look "
            "for numbers that are not finite in the model's weights, in the rows and in the labels"
        )
    return engine.read(rates, losses, diverged=len(rates) < STEPS)


def _plain(found: RangeTest) -> dict[str, Any]:
    return {
        "suggestion": found.suggestion,
        "steepest": found.steepest,
        "lowest": found.lowest,
        "diverges": found.diverges,
        "rates": found.rates,
        "losses": found.losses,
        "means": found.means,
    }

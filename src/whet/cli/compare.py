"""whet compare"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli.options import Assignments, MaybeSource, Quiet, Task, plain_recipe, refuse_idle

if TYPE_CHECKING:
    from whet.verbs.compare import Compared

OWN = "own"
"""Stands for each method's own learning rate."""


def compare(  # noqa: PLR0913  # an option each
    source: MaybeSource = None,
    methods: Annotated[
        str | None, typer.Option("--methods", "--method", help="Such as full,lora,head; the usual ones if not named.")
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", "--model", help="Folders or names on a hub, such as a,b.")
    ] = None,
    rates: Annotated[
        str | None, typer.Option(help="Learning rates, such as 1e-4,1e-3,own; each method's own if not named.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each candidate, with different seeds.")] = 1,
    budget: Annotated[
        str | None, typer.Option(help="What each gets, 375steps or 3epochs, or what all get together, 20m.")
    ] = None,
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="Drop nobody on the way.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(help="Candidates that train beside each other; two if not named, where a CPU has room for them."),
    ] = None,
    task: Task = None,
    out: Annotated[Path | None, typer.Option(help="The folder; one below runs/ if not named.")] = None,
    assignments: Assignments = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the comparison in this folder.")] = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Let methods, models and learning rates race, and say which is best.

    All get the same budget and the same rows. Whoever falls behind clearly is dropped on the way; the others are
    measured once on the test rows, beside baselines, and the verdict says whether the best leads by more than noise.
    """
    from rich.console import Console

    from whet.errors import RecipeError

    if (source is None) == (resume is None):
        raise RecipeError("name a data file or a recipe to compare on, or a folder to go on with: --resume FOLDER")
    console = Console(stderr=as_json, quiet=quiet)
    learning_rates = _numbers(rates)
    if source is None:
        idle: dict[str, object] = {"--methods": methods, "--models": models, "--rates": rates, "--seeds": seeds != 1}
        idle |= {"--budget": budget, "--exhaustive": exhaustive, "--jobs": jobs}
        idle |= {"--task": task, "--out": out, "--set": assignments}
        refuse_idle("--resume: goes on with what was begun", idle)
        raw: dict[str, Any] = {}
    else:
        raw = plain_recipe(source, assignments, None, task)
        _refuse(raw, _names(methods), _names(models), learning_rates, seeds, budget, jobs)
    from whet.verbs import compare as verb

    if resume is not None:
        compared = verb.go_on(resume, console)
    else:
        asked = verb.ask(raw, _names(methods), _names(models), learning_rates, seeds, budget, exhaustive, jobs)
        compared = verb.run(asked, out, console)
    if as_json:
        print_comparison(compared)


def _refuse(
    raw: dict[str, Any],
    methods: list[str],
    models: list[str],
    rates: list[float | None],
    seeds: int,
    budget: str | None,
    jobs: int | None,
) -> None:
    """Tell mistakes before the seconds that torch takes to load."""
    from whet.verbs.comparing.candidates import Asked, budget_of, entrants

    entrants(Asked(raw, methods, models, rates, seeds, budget_of(budget), jobs=jobs))


def print_comparison(compared: "Compared") -> None:
    """Print a comparison as JSON."""
    from dataclasses import asdict

    from whet.cli.output import print_json

    print_json({"folder": str(compared.folder), **asdict(compared.comparison)})


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _numbers(given: str | None) -> list[float | None]:
    from whet.errors import RecipeError

    try:
        return [None if number == OWN else float(number) for number in _names(given)]
    except ValueError:
        raise RecipeError(f"--rates: '{given}' are no numbers; write them as 1e-4,1e-3,own") from None

"""whet tune"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from whet.cli.options import Assignments, MaybeSource, Method, Model, Quiet, Task, plain_recipe, refuse_idle

if TYPE_CHECKING:
    from rich.console import Console


class Language(StrEnum):
    """Of the page."""

    en = "en"
    ko = "ko"


TRIALS = 20

Spaces: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        metavar="PATH=VALUES",
        help="What to search, as training.learning_rate=1e-5..1e-3 or method.rank=4,8,16; the usual settings of the "
        "method if none is named.",
    ),
]
RangeTest: TypeAlias = Annotated[
    bool,
    typer.Option("--lr-find", help="No trials: try ever higher learning rates in one short run, and show the loss."),
]


def tune(  # noqa: PLR0913  # an option each
    source: MaybeSource = None,
    model: Model = None,
    task: Task = None,
    method: Method = None,
    spaces: Spaces = None,
    trials: Annotated[int | None, typer.Option(help="How many to run; 20 if not named.")] = None,
    jobs: Annotated[int, typer.Option(help="How many to run beside each other, each with its part of the cores.")] = 1,
    timeout: Annotated[
        str | None, typer.Option(help="When to stop at the latest, as 90s, 20m or 1h30m; no limit if not named.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option(help="Measure trial 0, the recipe as it is, on the test rows beside the best trial.")
    ] = True,
    lr_find: RangeTest = False,
    out: Annotated[Path | None, typer.Option(help="The folder of the search; one below runs/ if not named.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the search in this folder, with --trials in all.")
    ] = None,
    assignments: Assignments = None,
    language: Annotated[Language, typer.Option("--lang", help="Language of the page.")] = Language.en,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Search for the settings with which a method does best on the validation rows.

    Trial 0 is the recipe as it is. The test rows are measured once, at the end, for the best trial and for trial 0.
    """
    from rich.console import Console

    from whet import recipe as recipes
    from whet.errors import RecipeError

    console = Console(stderr=as_json, quiet=quiet)
    search: dict[str, object] = {"--space": spaces, "--jobs": jobs != 1, "--no-baseline": not baseline}
    search["--lang"] = language is not Language.en
    if resume is not None:
        told = {"the data": source, "--model": model, "--task": task, "--method": method, "--set": assignments}
        refuse_idle("--resume: goes on with what was begun", told | {"--out": out, "--lr-find": lr_find} | search)
        _go_on(resume, console, trials, timeout, as_json)
        return
    if source is None:
        raise RecipeError("tune: name a data file or a recipe, or a folder to go on with: --resume FOLDER")
    raw = plain_recipe(source, assignments, model, task, method)
    recipes.parse(raw)
    if lr_find:
        refuse_idle("--lr-find: makes no search", search | {"--trials": trials, "--timeout": timeout})
        _range_test(raw, out, console, as_json)
        return
    count = TRIALS if trials is None else trials
    _search(raw, spaces or [], count, jobs, timeout, baseline, language, out, console, as_json)


def _go_on(folder: Path, console: "Console", trials: int | None, timeout: str | None, as_json: bool) -> None:
    from whet.verbs import tune as verb

    _print(verb.run_on(folder, console, trials=trials, timeout=timeout), as_json)


def _search(
    raw: dict[str, Any],
    spaces: list[str],
    trials: int,
    jobs: int,
    timeout: str | None,
    baseline: bool,
    language: Language,
    out: Path | None,
    console: "Console",
    as_json: bool,
) -> None:
    from whet.verbs.searching.search_space import check, read, split

    # Only what has no mistake is worth the seconds that torch takes to load.
    check(raw, read({path: text for path, text in split(spaces).items() if text and "*" not in text}))

    from whet.verbs import tune as verb

    wanted = verb.Wanted(spaces, trials, jobs, timeout, baseline, "ko" if language is Language.ko else "en")
    _print(verb.run(raw, wanted, out, console, command()), as_json)


def _range_test(raw: dict[str, Any], out: Path | None, console: "Console", as_json: bool) -> None:
    from whet import recipe as recipes
    from whet.cli.output import print_json
    from whet.verbs.range_test import run

    found = run(recipes.parse(raw), out, console)
    if as_json:
        print_json(found.plain())


def command() -> str:
    """What was typed."""
    import shlex
    import sys

    return shlex.join(["whet", *sys.argv[1:]])


def _print(tuned: object, as_json: bool) -> None:
    from whet.cli.output import print_json
    from whet.verbs.tune import Tuned

    assert isinstance(tuned, Tuned)
    if as_json:
        tuning, best = tuned.tuning, tuned.best
        print_json(
            {
                "folder": str(tuned.folder),
                "run": str(tuned.run.folder),
                "recipe": str(tuned.recipe),
                "trials": len(tuning.trials),
                "best": {"trial": best.number, "settings": best.settings, "validation": best.scores},
                "test": tuning.tested[best.number],
                "test_of_trial_0": tuning.tested.get(0),
                "importance": tuning.importance,
            }
        )

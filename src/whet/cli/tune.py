"""whet tune"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Language(StrEnum):
    """Of the page."""

    en = "en"
    ko = "ko"


def tune(  # noqa: PLR0913  # an option each
    source: Annotated[
        str | None, typer.Argument(help="A data file, a folder, hub:owner/name, or a recipe (.yaml).")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A folder or a name on a model hub; the embedded MiniLM if not named.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Kind of problem; inferred if not named.")] = None,
    method: Annotated[str | None, typer.Option(help="Way to fine-tune; see 'whet methods'.")] = None,
    spaces: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="PATH=VALUES",
            help="What to search, as training.learning_rate=1e-5..1e-3 or method.rank=4,8,16; the usual settings of "
            "the method if none is named.",
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="How many to run; 20 if not named.")] = None,
    jobs: Annotated[int, typer.Option(help="How many to run beside each other, each with its part of the cores.")] = 1,
    timeout: Annotated[
        str | None, typer.Option(help="When to stop at the latest, as 90s, 20m or 1h30m; no limit if not named.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option(help="Measure trial 0, the recipe as it is, on the test rows beside the best trial.")
    ] = True,
    lr_find: Annotated[
        bool,
        typer.Option(
            "--lr-find", help="No trials: try ever higher learning rates in one short run, and show the loss."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The folder of the search; one below runs/ if not named.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the search in this folder, with --trials in all.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any value of the recipe, as training.epochs=5.")
    ] = None,
    language: Annotated[Language, typer.Option("--lang", help="Language of the page.")] = Language.en,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
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
    if resume is not None:
        if source is not None or assignments or spaces:
            raise RecipeError("--resume: goes on with what was begun; leave the data, --set and --space out")
        from whet.verbs import tune as verb

        _print(verb.run_on(resume, console, trials=trials, timeout=timeout), as_json)
        return
    if source is None:
        raise RecipeError("tune: name a data file or a recipe, or a folder to go on with: --resume FOLDER")
    raw = recipes.plain(source)
    for key, value in (("model", model), ("task", task), ("method", method)):
        if value is not None and value != recipes.name_of(raw.get(key)):
            raw[key] = value
    recipes.assign(raw, assignments or [])
    recipe = recipes.parse(raw)
    if lr_find:
        from whet.cli.output import print_json
        from whet.verbs.range_test import run as range_test

        found = range_test(recipe, out, console)
        if as_json:
            print_json(found.plain())
        return
    from whet.verbs.searching.search_space import check, read, split

    # Only what has no mistake is worth the seconds that torch takes to load.
    check(raw, read({path: text for path, text in split(spaces or []).items() if text and "*" not in text}))

    from whet.verbs import tune as verb

    wanted = verb.Wanted(spaces or [], trials or 20, jobs, timeout, baseline, "ko" if language is Language.ko else "en")
    _print(verb.run(raw, wanted, out, console, command()), as_json)


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

"""whet train"""

from pathlib import Path
from typing import Annotated

import typer

from whet.cli.options import Assignments, Method, Model, Quiet, Source, Task, plain_recipe


def train(
    source: Source,
    model: Model = None,
    task: Task = None,
    method: Method = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; one below runs/ if not named.")] = None,
    assignments: Assignments = None,
    track: Annotated[
        list[str] | None, typer.Option(help="Who else is told: tensorboard, mlflow or wandb; may be repeated.")
    ] = None,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the metrics as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Fine-tune a model on a table of examples.

    Reads the file, decides what was left open and says why, trains, measures the test rows beside two baselines, and
    leaves a run folder.
    """
    from rich.console import Console

    from whet import recipe as recipes

    raw = plain_recipe(source, assignments, model, task, method)
    if track:
        recipes.put(raw, ["training", "track"], track)
    recipe = recipes.parse(raw)

    # Only a recipe without a mistake is worth the seconds that torch takes to load.
    from whet.cli.output import print_json
    from whet.verbs import train as verb

    run = verb.run(recipe, out, Console(stderr=as_json, quiet=quiet))
    if as_json:
        print_json({"run": str(run.folder), **run.metrics})

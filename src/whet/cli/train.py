"""whet train"""

from pathlib import Path
from typing import Annotated

import typer


def train(
    source: Annotated[str, typer.Argument(help="A data file, a folder, hub:owner/name, or a recipe (.yaml).")],
    model: Annotated[
        str | None, typer.Option(help="A folder or a name on a model hub; the embedded MiniLM if not named.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Kind of problem; inferred if not named.")] = None,
    method: Annotated[str | None, typer.Option(help="Way to fine-tune; see 'whet methods'.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; one below runs/ if not named.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any value of the recipe, as training.epochs=5.")
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="Who else is told: tensorboard, mlflow or wandb; may be repeated.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
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

    raw = recipes.plain(source)
    for key, value in (("model", model), ("task", task), ("method", method)):
        if value is not None and value != recipes.name_of(raw.get(key)):
            raw[key] = value
    if track:
        recipes.put(raw, ["training", "track"], track)
    recipes.assign(raw, assignments or [])
    recipe = recipes.parse(raw)

    # Only a recipe without a mistake is worth the seconds that torch takes to load.
    from whet.cli.output import print_json
    from whet.verbs import train as verb

    run = verb.run(recipe, out, Console(stderr=as_json, quiet=quiet))
    if as_json:
        print_json({"run": str(run.folder), **run.metrics})

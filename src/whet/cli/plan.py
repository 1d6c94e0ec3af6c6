"""whet plan"""

from pathlib import Path
from typing import Annotated

import typer


def plan(  # noqa: PLR0913  # an option each
    source: Annotated[
        str | None, typer.Argument(help="A data file, a folder, hub:owner/name, or a recipe (.yaml).")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A folder or a name on a model hub; the embedded MiniLM if not named.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Kind of problem; inferred if not named.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method to look at; may be given several times. All if not named.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A model's config.json, or its folder, instead of data: no weights are needed.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory of another machine, such as 48GB; this one's if not named.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Rows of a step; 16 if not named.")] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Tokens of a row, with --config; 512 if not named.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Training rows, with --config, for the time.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Take a few steps with each method, each in a process of its own.")
    ] = False,
    terms: Annotated[bool, typer.Option("--terms", help="Show what the memory of each method is made of.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any value of the recipe, as training.epochs=5.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Tell what each method would need: how much trains, memory, time, disk, and whether it fits.

    Without --measure everything follows from shapes, and no weight is read.
    """
    from rich.console import Console

    from whet import recipe as recipes
    from whet.errors import RecipeError

    raw = None
    if source is not None:
        raw = recipes.plain(source)
        recipes.assign(raw, assignments or [])
        recipes.parse(raw)
    elif assignments:
        raise RecipeError("--set: sets values of a recipe; name a data file or a recipe")

    # Only what makes sense is worth the seconds that torch takes to load.
    from whet.cli.output import print_json
    from whet.report.plan import show
    from whet.verbs.plan import plan as verb

    console = Console(stderr=as_json)
    with console.status("looking at the model") as status:
        found = verb(
            raw,
            model=model,
            task=task,
            methods=method,
            config=config,
            memory=memory,
            batch=batch,
            length=length,
            rows=rows,
            measure=measure,
            progress=lambda name: status.update(f"looking at {name}"),
        )
    if as_json:
        print_json(found.plain())
    else:
        show(Console(), found, terms=terms)

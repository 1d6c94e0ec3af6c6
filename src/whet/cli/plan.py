"""whet plan"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from whet.cli.options import Assignments, MaybeSource, Model, Task, plain_recipe, refuse_idle

Config: TypeAlias = Annotated[
    Path | None, typer.Option(help="A model's config.json, or its folder, instead of data: no weights are needed.")
]


def plan(  # noqa: PLR0913  # an option each
    source: MaybeSource = None,
    model: Model = None,
    task: Task = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method to look at; may be given several times. All if not named.")
    ] = None,
    config: Config = None,
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
    assignments: Assignments = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Tell what each method would need: how much trains, memory, time, disk, and whether it fits.

    Without --measure everything follows from shapes, and no weight is read.
    """
    from rich.console import Console

    from whet import recipe as recipes

    raw = None
    if source is not None:
        raw = plain_recipe(source, assignments, model, task)
        recipes.parse(raw)
    else:
        refuse_idle("there is no recipe beside --config", {"--set": assignments, "--model": model})

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

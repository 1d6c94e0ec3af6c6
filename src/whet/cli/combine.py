"""whet combine"""

from pathlib import Path
from typing import Annotated

import typer


def combine(
    runs: Annotated[list[Path], typer.Argument(help="Run folders with adapters of one kind for one base model.")],
    out: Annotated[Path, typer.Option(help="The new run folder.")],
    weights: Annotated[
        str | None, typer.Option(help="A share for each run, such as 0.7,0.3; equal if not named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Average the adapters of several runs into a new one, and measure it on the first run's test rows."""
    from rich.console import Console
    from rich.text import Text

    from whet.cli.output import print_json, scores_table
    from whet.errors import RecipeError
    from whet.verbs.combine import combine as verb

    try:
        shares = None if weights is None else [float(share) for share in weights.replace(",", " ").split()]
    except ValueError:
        raise RecipeError(f"--weights: '{weights}' are no numbers; write them as 0.7,0.3") from None
    console = Console(stderr=as_json)
    with console.status("combining and measuring"):
        run = verb(runs, out, shares)
    if as_json:
        print_json({"folder": str(run.folder), **run.test})
        return
    console.print(Text(f"the combination, on the test rows of {runs[0]}"), soft_wrap=True)
    console.print(scores_table(run.test))
    console.print(Text(f"saved in {run.folder}"), soft_wrap=True)

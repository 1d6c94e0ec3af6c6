"""whet resume"""

from pathlib import Path
from typing import Annotated

import typer

from whet.cli.options import Quiet


def resume(
    run: Annotated[Path, typer.Argument(help="The folder of the run or the comparison.")],
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the metrics as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Go on with a run or a comparison that was stopped.

    It takes up the last whole checkpoint; on a CPU the result is the very one of an uninterrupted run.
    """
    from rich.console import Console

    from whet.cli.compare import print_comparison
    from whet.cli.output import print_json
    from whet.verbs import compare
    from whet.verbs import resume as verb

    console = Console(stderr=as_json, quiet=quiet)
    if compare.is_comparison(run):
        compared = compare.go_on(run, console)
        if as_json:
            print_comparison(compared)
        return
    finished = verb.run(run, console)
    if as_json:
        print_json({"run": str(finished.folder), **finished.metrics})

"""The command line: one file per verb; each parses, calls one verb, prints.

Exit codes: 0 done, 1 the run failed, 2 the user's input cannot be used, 130 stopped by Ctrl-C and saved.
Heavy imports happen inside the verbs, so that help appears at once.
"""

import os
import sys
from typing import Annotated

import typer

from whet.cli.evaluate import evaluate
from whet.cli.explain import explain
from whet.cli.methods import methods
from whet.cli.predict import predict
from whet.cli.resume import resume
from whet.cli.train import train
from whet.errors import WhetError

app = typer.Typer(
    name="whet",
    help="Fine-tune pre-trained models on little hardware.",
    epilog="Start with:  whet train reviews.csv",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from whet import __version__

        typer.echo(f"whet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


for verb in (train, resume, evaluate, predict, methods, explain):
    app.command(verb.__name__)(verb)


def main() -> None:
    """Run a verb; errors of whet are printed without a traceback."""
    # Unset, tokenizers prints a warning whenever a process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        # Typer itself ends Ctrl-C with 130 and is silent where the reader of a pipe has seen enough.
        app()
    except WhetError as error:
        _fail(error)


def _fail(error: WhetError) -> None:
    from rich.console import Console

    from whet.report.terminal import problems

    problems(Console(stderr=True), error)
    sys.exit(error.exit_code)

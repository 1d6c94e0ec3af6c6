"""The command line: one file per verb; each parses, calls one verb, prints.

Exit codes: 0 done, 1 the run failed, 2 the user's input cannot be used, 130 stopped by Ctrl-C and saved.
Of several processes that torchrun has started the first one speaks, and all end with the same code.
Heavy imports happen inside the verbs, so that help appears at once.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from whet.cli.advise import advise
from whet.cli.combine import combine
from whet.cli.compare import compare
from whet.cli.evaluate import evaluate
from whet.cli.explain import explain
from whet.cli.methods import methods
from whet.cli.plan import plan
from whet.cli.predict import predict
from whet.cli.report import report
from whet.cli.resume import resume
from whet.cli.train import train
from whet.cli.tune import tune
from whet.errors import RecipeError, WhetError

TOGETHER = ("train", "resume")
"""Verbs that several processes can do together."""

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
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version
    if _several() and context.invoked_subcommand not in TOGETHER:
        raise RecipeError(f"'whet {context.invoked_subcommand}' works in one process; start it without torchrun")


for verb in (advise, plan, train, compare, tune, resume, evaluate, predict, report, combine, methods, explain):
    app.command(verb.__name__)(verb)


def main() -> None:
    """Run a verb; errors of whet are printed without a traceback."""
    # Unset, tokenizers prints a warning whenever a process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    with _one_voice():
        try:
            # Typer itself ends Ctrl-C with 130 and is silent where the reader of a pipe has seen enough.
            app()
        except WhetError as error:
            _fail(error)


def _several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1"


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of several processes only the first is heard, and none ends before it has spoken."""
    if not _several():
        yield
        return
    try:
        if os.environ.get("RANK", "0") == "0":
            yield
        else:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
    finally:
        from whet.engine.device import leave

        leave()


def _fail(error: WhetError) -> None:
    from rich.console import Console

    from whet.report.terminal import problems

    problems(Console(stderr=True), error)
    sys.exit(error.exit_code)

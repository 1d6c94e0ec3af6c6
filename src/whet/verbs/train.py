"""Fine-tuning, from a data file or a recipe to a run folder."""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from whet import recipe as recipes
from whet.core import Choice
from whet.engine.device import join
from whet.engine.job import StopRequest
from whet.errors import InterruptedRunError, WhetError
from whet.recipe import Recipe
from whet.report import terminal
from whet.verbs.report import write_report
from whet.verbs.run import Run
from whet.verbs.session import Session

TOLD = ("data.", "model", "task.", "method.", "training.epochs", "training.learning_rate", "training.schedule")
"""Decisions that are told before a run; all others stand in the run's recipe, with their reasons too."""


def train(  # noqa: PLR0913  # a keyword for each section of a recipe
    source: str | Path | Mapping[str, Any],
    *,
    model: str | None = None,
    task: str | Mapping[str, Any] | None = None,
    method: str | Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    surgery: Mapping[str, Any] | None = None,
    augment: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Fine-tune a model and return the finished run.

    ``source`` is a data file, a folder, ``hub:owner/name``, a recipe file (.yaml), or a recipe as a mapping. The
    keywords are the recipe's own keys and win over it: ``train("reviews.csv", method="lora",
    training={"epochs": 5})``. ``out`` is the run folder; without it one below ``runs/`` is made.

    Raises RecipeError, DataError, ModelError or RunFolderError before anything is trained, each with all its problems;
    DivergedError or SaveError where the run fails; InterruptedRunError where Ctrl-C stopped it.
    """
    raw = recipes.plain(source)
    keywords = {"model": model, "task": task, "method": method, "seed": seed}
    # A method that the recipe names already keeps the options that it has there.
    raw |= {k: value for k, value in keywords.items() if value is not None and value != recipes.name_of(raw.get(k))}
    sections = {"data": data, "surgery": surgery, "augment": augment, "training": training}
    for section, values in sections.items():
        for key, value in (values or {}).items():
            recipes.put(raw, [section, key], value)
    console = Console(quiet=quiet or not join().is_main)
    return run(recipes.parse(raw), Path(out) if out else None, console)


def run(recipe: Recipe, out: Path | None, console: Console) -> Run:
    """Execute a recipe and show what happens on the console."""
    with console.status("reading data and model"):
        session = Session.start(recipe, out)
        if not console.quiet:
            session.foresee()
    terminal.decisions(console, _told(session.choices))
    terminal.findings(console, session.findings)
    terminal.illustration(console, session.illustration)
    terminal.remark(console, session.changes)
    return watch(session, console)


def watch(session: Session, console: Console) -> Run:
    """Let a session run to its end and show it; raises InterruptedRunError where the user stops it."""
    with (
        terminal.Progress(console, session.metric) as progress,
        stoppable(session.stop),
        closing(session.events()) as events,
    ):
        for event in events:
            progress.show(event)
    folder = session.folder.path
    if session.interrupted is not None:
        raise InterruptedRunError(
            f"{session.interrupted}; everything up to this step is saved. Go on with: whet resume {folder}"
        )
    with console.status("measuring the test rows and the baselines"):
        results = session.finish()
        page = join().on_main(lambda: _page(folder, console))
    terminal.results(console, replace(results, page=page))
    return Run(folder)


def _page(folder: Path, console: Console) -> Path | None:
    """The report of a run that has finished, whether or not there can be one."""
    try:
        return write_report(folder).path
    except WhetError as error:
        terminal.problems(console, error)
        return None


def _told(choices: Sequence[Choice]) -> list[Choice]:
    return [c for c in choices if c.origin == "inferred" or (c.origin == "default" and c.path.startswith(TOLD))]


@contextmanager
def stoppable(stop: StopRequest) -> Iterator[None]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish to stop after the present step; the second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        stop.make("Ctrl-C" if number == signal.SIGINT else "asked to terminate")
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

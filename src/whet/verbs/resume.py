"""Going on with a run that was stopped, by Ctrl-C or by a power cut."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from whet.engine.device import join
from whet.run.tuning import is_search
from whet.verbs.run import Run
from whet.verbs.session import Session
from whet.verbs.train import watch
from whet.verbs.tune import run_on


def resume(folder: str | Path, *, quiet: bool = False) -> Run:
    """Take a run up at its last whole checkpoint and finish it; of a search, return the best run.

    On a CPU the result is the very one of an uninterrupted run. Raises RunFolderError where the folder is no run, has
    finished, or its data is not what it was.
    """
    return run(Path(folder), Console(quiet=quiet or not join().is_main))


def run(folder: Path, console: Console) -> Run:
    """Go on with a run, or with a search for settings, and show what happens on the console."""
    if is_search(folder):
        return run_on(folder, console).run
    with console.status("reading data, model and checkpoint"):
        session, remarks = Session.resume(folder)
    for remark in remarks:
        console.print(Text(remark), soft_wrap=True)
    return watch(session, console)

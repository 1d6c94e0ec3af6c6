"""Going on with a run that was stopped, by Ctrl-C or by a power cut."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from whet.engine.device import join
from whet.verbs.run import Run
from whet.verbs.session import Session
from whet.verbs.train import watch


def resume(folder: str | Path, *, quiet: bool = False) -> Run:
    """Take a run up at its last whole checkpoint and finish it.

    On a CPU the result is the very one of an uninterrupted run. Raises RunFolderError where the folder is no run, has
    finished, or its data is not what it was.
    """
    return run(Path(folder), Console(quiet=quiet or not join().is_main))


def run(folder: Path, console: Console) -> Run:
    """Go on with a run and show what happens on the console."""
    with console.status("reading data, model and checkpoint"):
        session, remarks = Session.resume(folder)
    for remark in remarks:
        console.print(Text(remark), soft_wrap=True)
    return watch(session, console)

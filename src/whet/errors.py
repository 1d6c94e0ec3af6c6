"""Every error that whet raises on purpose.

::

    WhetError
    ├── InputError            the user can mend it; exit code 2
    │   ├── RecipeError       an option: unknown, of a wrong type, or one that does not apply
    │   ├── DataError         a file, a column, a row
    │   ├── ModelError        a model folder, its weights, its tokenizer
    │   └── RunFolderError    a run folder: taken already, absent, not writable, damaged
    └── RunError              the run began and failed; exit code 1
        ├── DivergedError     the loss is no longer a finite number
        ├── SaveError         the disk refused a write; what was saved before is intact
        └── InterruptedRunError   the user stopped the run; it is saved and can go on (exit code 130)

An error lists all its problems at once. A problem names the value, the reason and the way out.
"""

import difflib
from collections.abc import Iterable


class WhetError(Exception):
    """Something went wrong that whet can explain; the message is meant for the user."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InputError(WhetError):
    """The user's input cannot be used as it is."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe, an option or a combination of options cannot be used."""


class DataError(InputError):
    """A data file, a column or rows of it cannot be used."""


class ModelError(InputError):
    """A model cannot be loaded, or does not fit the task."""


class RunFolderError(InputError):
    """A run folder cannot be written or read."""


class RunError(WhetError):
    """A run began and could not be finished."""


class DivergedError(RunError):
    """The loss became infinite or not a number."""


class SaveError(RunError):
    """The disk refused a write."""


class InterruptedRunError(RunError):
    """The user stopped a run."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown ``word``: the nearest known one, or all that are known.

    Returns a text such as ``"; did you mean 'label'?"`` or ``"; known are: a, b"``, empty where nothing is known.
    """
    names = list(known)
    lowered = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{lowered[near[0]]}'?"
    return f"; known are: {', '.join(names)}" if names else ""

"""One process at a time works in a folder."""

from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from whet.errors import RunFolderError

LOCK = ".lock"
"""An empty file that is held by the process that works; the system lets go of it when that dies. It stays: whoever
waits for a file that is gone would hold nothing."""


class Lock:
    """Keeps other processes from working on what ``of`` names, such as a run, while this one does."""

    def __init__(self, folder: Path, of: str) -> None:
        self._folder = folder
        self._of = of
        self._held: FileLock | None = None

    def hold(self) -> None:
        """Keep others away; raises RunFolderError where one works there already."""
        if self._held is not None:
            return
        try:
            self._folder.mkdir(exist_ok=True)
            held = FileLock(self._folder / LOCK)
            held.acquire(blocking=False)
        except Timeout:
            raise RunFolderError(
                f"another process is working on {self._of}; wait until it has ended, or stop it there"
            ) from None
        except (NotImplementedError, OSError):
            # A file system that knows no locks.
            return
        self._held = held

    def release(self) -> None:
        """Let others work there."""
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def __enter__(self) -> Self:
        self.hold()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

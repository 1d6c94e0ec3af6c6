"""Processes of this very Python that are told what to do, and say what happens: a line of JSON each.

They are no processes of multiprocessing's, so a script that starts them needs no guard around its main part.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

Values: TypeAlias = Mapping[str, Any]
"""What a line says."""

FAREWELL = 30.0
"""Seconds that a process has to end once nobody wants anything of it."""


class Workers:
    """Processes by their position, each begun when it is first spoken to."""

    def __init__(self, module: str, folder: Path, threads: int) -> None:
        """They run ``module.main(folder)`` with so many threads, and what they print comes into the folder."""
        self._module, self._folder, self._threads = module, folder, threads
        self._said: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._running: dict[int, subprocess.Popen[str]] = {}

    def __contains__(self, position: int) -> bool:
        """Whether it runs, as far as is known."""
        return position in self._running

    def send(self, position: int, values: Values) -> None:
        """Tell a process something."""
        if position not in self._running:
            self._running[position] = self._start(position)
        # Of one that has ended its listener tells.
        with suppress(OSError):
            pipe = _pipe(self._running[position].stdin)
            pipe.write(_line(values))
            pipe.flush()

    def hear(self, seconds: float | None = None) -> tuple[int, Values | str] | None:
        """What a process says, or why it is gone; None where nobody says anything for so long."""
        try:
            position, said = self._said.get(timeout=seconds)
        except queue.Empty:
            return None
        if said:
            values: Values = json.loads(said)
            return position, values
        code = self._running.pop(position).wait()
        killed = "; was there too little memory for so many at once? Try --jobs 1" if code < 0 else ""
        return position, f"its process ended with {code}, see {self._log(position).name}{killed}"

    def kill(self, position: int) -> None:
        """End a process at once."""
        self._running[position].kill()

    def close(self) -> None:
        """Let all of them end."""
        for worker in self._running.values():
            with suppress(OSError):
                _pipe(worker.stdin).close()
        for worker in self._running.values():
            try:
                worker.wait(FAREWELL)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            _pipe(worker.stdout).close()

    def _start(self, position: int) -> subprocess.Popen[str]:
        code = f"import sys; from {self._module} import main; main(sys.argv[1])"
        with self._log(position).open("ab") as log:
            worker = subprocess.Popen(  # noqa: S603  # this very Python
                [sys.executable, "-c", code, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                bufsize=1,
                env={**os.environ, "OMP_NUM_THREADS": str(self._threads)},
                # Ctrl-C in a terminal is for the one that speaks, which passes it on.
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(position, worker), daemon=True).start()
        return worker

    def _listen(self, position: int, worker: subprocess.Popen[str]) -> None:
        with suppress(ValueError, OSError):
            for said in _pipe(worker.stdout):
                self._said.put((position, said))
        self._said.put((position, ""))

    def _log(self, position: int) -> Path:
        return self._folder / f"worker-{position + 1}.log"


def speaking() -> Callable[[Values], None]:
    """Within such a process: says something to whoever began it."""
    # What libraries print is not ours to send.
    sending = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(values: Values) -> None:
        sending.write(_line(values))

    return say


def told() -> Iterator[Values]:
    """Within such a process: all that it is told, until whoever began it has ended or wants nothing more."""
    for said in sys.stdin:
        yield json.loads(said)


def _line(values: Values) -> str:
    return json.dumps(values, default=str) + "\n"


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe

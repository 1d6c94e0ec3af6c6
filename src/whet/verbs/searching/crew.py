"""Who runs the trials of a search: this process, one after the other, or several processes beside each other."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from whet.engine.job import StopRequest
from whet.intake import Shared
from whet.verbs.searching.trial import Ended, Order, Told, attempt, heard, order_line

BEAT = 0.2
"""Seconds after which whoever listens is asked again, where nothing is told."""
FAREWELL = 30.0
"""Seconds that a process has to end once nobody wants anything of it."""


class Crew(Protocol):
    """Runs orders and tells what becomes of them. Whoever gives an order hears of its end."""

    @property
    def idle(self) -> bool:
        """Whether another order can be given."""
        ...

    def give(self, order: Order) -> None:
        """Begin a trial."""
        ...

    def hear(self) -> Told | None:
        """The next thing that a trial tells; None where nothing was told for a moment."""
        ...

    def drop(self, number: int) -> None:
        """Let a trial end soon, for good."""
        ...

    def stop(self, reason: str) -> None:
        """Let all trials end after the present step, so that they can go on later."""
        ...

    def close(self) -> None:
        """Nothing more is wanted."""
        ...


class Alone:
    """This process."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._told: Iterator[Told] | None = None
        self._stop, self._dropped = StopRequest(), threading.Event()

    @property
    def idle(self) -> bool:
        """Whether the last order has been run."""
        return self._told is None

    def give(self, order: Order) -> None:
        """Begin a trial; it moves on whenever it is heard."""
        self._dropped.clear()
        self._told = attempt(order, self._stop, self._dropped, self._shared)

    def hear(self) -> Told | None:
        """Run the trial until it has something to tell."""
        assert self._told is not None
        told = next(self._told)
        if isinstance(told, Ended):
            # Here it gives its model back.
            for _ in self._told:
                pass
            self._told = None
        return told

    def drop(self, number: int) -> None:  # noqa: ARG002
        """Let the trial end soon, for good."""
        self._dropped.set()

    def stop(self, reason: str) -> None:
        """Let the trial end after the present step."""
        self._stop.make(reason)

    def close(self) -> None:
        """There is nothing to close."""


class Processes:
    """So many processes, each with its part of the threads."""

    def __init__(self, count: int, folder: Path) -> None:
        self._folder = folder
        self._threads = max(1, (os.cpu_count() or 1) // count)
        self._said: queue.SimpleQueue[tuple[subprocess.Popen[str], str]] = queue.SimpleQueue()
        self._workers = [self._start(position) for position in range(count)]
        self._orders: dict[int, Order] = {}

    @property
    def idle(self) -> bool:
        """Whether a process has nothing to do."""
        return len(self._orders) < len(self._workers)

    def give(self, order: Order) -> None:
        """Send the order to a process that has none."""
        position = next(i for i in range(len(self._workers)) if i not in self._orders)
        if self._workers[position].poll() is not None:
            self._workers[position] = self._start(position)
        self._orders[position] = order
        self._send(position, order_line(order))

    def hear(self) -> Told | None:
        """What any process says; that a trial has failed, where its process is gone."""
        try:
            worker, line = self._said.get(timeout=BEAT)
        except queue.Empty:
            return None
        if worker not in self._workers:
            return None
        position = self._workers.index(worker)
        if line:
            told = heard(line)
            if isinstance(told, Ended):
                del self._orders[position]
            return told
        order = self._orders.pop(position, None)
        if order is None:
            return None
        code = worker.wait()
        killed = "; was there too little memory for so many at once?" if code < 0 else ""
        why = f"its process ended with {code}, see worker-{position + 1}.log{killed}"
        return Ended(order.number, "failed", reason=why)

    def drop(self, number: int) -> None:
        """Let a trial end soon, for good."""
        for position, order in self._orders.items():
            if order.number == number:
                self._send(position, json.dumps({"drop": number}))

    def stop(self, reason: str) -> None:
        """Let all trials end after the present step."""
        for position in range(len(self._workers)):
            self._send(position, json.dumps({"stop": reason}))

    def close(self) -> None:
        """Let the processes end."""
        for worker in self._workers:
            with suppress(OSError):
                _pipe(worker.stdin).close()
        for worker in self._workers:
            try:
                worker.wait(FAREWELL)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            _pipe(worker.stdout).close()

    def _start(self, position: int) -> subprocess.Popen[str]:
        # What the user has set holds.
        environment = {"OMP_NUM_THREADS": str(self._threads), **os.environ}
        with (self._folder / f"worker-{position + 1}.log").open("ab") as log:
            worker = subprocess.Popen(  # this very Python
                [sys.executable, "-c", "from whet.verbs.searching.trial import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                bufsize=1,
                env=environment,
                # Ctrl-C in a terminal is for the one that speaks, which passes it on.
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: subprocess.Popen[str]) -> None:
        with suppress(ValueError, OSError):
            for line in _pipe(worker.stdout):
                self._said.put((worker, line))
        self._said.put((worker, ""))

    def _send(self, position: int, line: str) -> None:
        # Of one that has ended its listener tells.
        with suppress(OSError):
            pipe = _pipe(self._workers[position].stdin)
            pipe.write(line + "\n")
            pipe.flush()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe

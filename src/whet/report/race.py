"""Shows a comparison while it runs: a live bar in a terminal, plain lines in a file. Pure rendering."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whet.report.live import LiveBar
from whet.report.writing import duration, plain


@dataclass
class Running:
    """A turn that is under way."""

    steps: int
    begun: float
    taken: int = 0
    storing: str = ""


class Race(LiveBar):
    """Shows whose turn it is, how far the round is, and how long it will take. Use it as ``with Race(console)``."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._round = (0, 0)
        self._at_once = 1
        self._done = self._steps = 0
        self._waiting: dict[str, int] = {}
        self._running: dict[str, Running] = {}
        self._seconds: dict[str, float] = {}
        """Of a step of each candidate."""
        self._since = clock()
        super().__init__(console)

    def round(self, turns: Sequence[tuple[str, int]], number: int, of: int, at_once: int) -> None:
        """A round begins: these runs take so many steps each, ``at_once`` of them beside each other."""
        self._round, self._at_once = (number, of), at_once
        self._waiting, self._running = {name: max(0, steps) for name, steps in turns}, {}
        self._steps, self._done = sum(self._waiting.values()), 0
        names = list(dict.fromkeys(self._waiting))
        left = self._left()
        about = f", about {duration(left)}" if math.isfinite(left) else ""
        self.told(f"round {number} of {of}: {', '.join(names)}; {self._steps:,} steps in all{about}")

    def turn(self, name: str, steps: int) -> None:
        """It is the turn of this run."""
        self._waiting.pop(name, None)
        self._running[name] = Running(max(0, steps), self._clock())

    def stepped(self, name: str) -> None:
        """It has taken a step."""
        run = self._running[name]
        run.storing = ""
        run.taken += 1
        self._done += 1
        self._seconds[_candidate(name)] = (self._clock() - run.begun) / run.taken

    def storing(self, name: str, done: int, rows: int) -> None:
        """It computes frozen layers once, and has come so far."""
        self._running[name].storing = f"computing the frozen layers once: {done:,}/{rows:,} rows"

    def ended(self, name: str) -> None:
        """Its turn is over: steps that it left out are done."""
        run = self._running.pop(name)
        self._done += max(0, run.steps - run.taken)

    def told(self, line: str, *, bad: bool = False) -> None:
        """There is something to say."""
        self._console.print(Text(plain(line), style="red" if bad else ""), soft_wrap=not self._is_live)

    def _left(self) -> float:
        """Seconds until the round is over; nan before any candidate has shown how fast it is."""
        known = list(self._seconds.values())
        if not known:
            return math.nan
        usual = sum(known) / len(known)
        steps = self._waiting | {name: max(0, run.steps - run.taken) for name, run in self._running.items()}
        seconds = [left * self._seconds.get(_candidate(name), usual) for name, left in steps.items()]
        # The longest of them is not shared.
        return max([sum(seconds) / self._at_once, *seconds])

    def _bar(self) -> RenderableType:
        if not self._steps:
            return Text("getting ready", style="dim")
        bar = ProgressBar(total=max(self._steps, 1), completed=min(self._done, self._steps), width=24)
        times = f"{duration(self._clock() - self._since)}, {duration(self._left())} left in this round"
        number, of = self._round
        line = Table.grid(padding=(0, 2))
        told = [run.storing or f"{plain(name)} {run.taken:,}/{run.steps:,}" for name, run in self._running.items()]
        runs = Text(", ".join(told), style="bold")
        line.add_row(bar, Text(f"round {number} of {of}"), runs, Text(times, style="dim"))
        return line


def _candidate(name: str) -> str:
    return name.partition(",")[0]

"""Shows a comparison while it runs: a live bar in a terminal, plain lines in a file. Pure rendering."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whet.events import Event, Step, Storing
from whet.report.live import LiveBar
from whet.report.writing import duration, plain


class Race(LiveBar):
    """Shows whose turn it is, how far the round is, and how long it will take. Use it as ``with Race(console)``."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._name = ""
        self._round = (0, 0)
        self._done = self._steps = self._turn = self._taken = 0
        self._waiting: list[tuple[str, int]] = []
        self._storing = ""
        self._seconds: dict[str, float] = {}
        """Of a step of each candidate."""
        self._since = self._begun = clock()
        super().__init__(console)

    def round(self, turns: Sequence[tuple[str, int]], number: int, of: int) -> None:
        """A round begins: these runs take so many steps each."""
        self._round, self._waiting, self._name = (number, of), list(turns), ""
        self._steps, self._done, self._turn, self._taken = sum(max(0, steps) for _, steps in turns), 0, 0, 0
        names = list(dict.fromkeys(name for name, _ in turns))
        left = self._left()
        about = f", about {duration(left)}" if math.isfinite(left) else ""
        self.told(f"round {number} of {of}: {', '.join(names)}; {self._steps:,} steps in all{about}")

    def turn(self, name: str, steps: int) -> None:
        """It is the turn of this run."""
        self._done += self._turn - self._taken
        if self._name and self._waiting:
            self._waiting.pop(0)
        self._name, self._turn, self._taken, self._begun = name, max(0, steps), 0, self._clock()
        self._storing = ""

    def event(self, event: Event) -> None:
        """Something happens in that run."""
        if isinstance(event, Storing):
            self._storing = f"computing the frozen layers once: {event.done:,}/{event.rows:,} rows"
        if isinstance(event, Step):
            self._storing = ""
            self._taken += 1
            self._done += 1
            self._seconds[self._candidate(self._name)] = (self._clock() - self._begun) / self._taken

    def told(self, line: str, *, bad: bool = False) -> None:
        """There is something to say."""
        self._console.print(Text(plain(line), style="red" if bad else ""), soft_wrap=not self._is_live)

    def _left(self) -> float:
        """Seconds until the round is over; nan before any candidate has shown how fast it is."""
        known = list(self._seconds.values())
        if not known:
            return math.nan
        usual = sum(known) / len(known)
        # The first of those that wait has its turn, once there is one.
        others = sum(
            max(0, steps) * self._seconds.get(name, usual) for name, steps in self._waiting[1 if self._name else 0 :]
        )
        here = self._seconds.get(self._candidate(self._name), usual) * max(0, self._turn - self._taken)
        return here + others

    def _candidate(self, name: str) -> str:
        return name.partition(",")[0]

    def _bar(self) -> RenderableType:
        if not self._steps:
            return Text("getting ready", style="dim")
        bar = ProgressBar(total=max(self._steps, 1), completed=min(self._done, self._steps), width=24)
        times = f"{duration(self._clock() - self._since)}, {duration(self._left())} left in this round"
        number, of = self._round
        line = Table.grid(padding=(0, 2))
        told = self._storing or f"{plain(self._name)} {self._taken:,}/{self._turn:,}"
        line.add_row(bar, Text(f"round {number} of {of}"), Text(told, style="bold"), Text(times, style="dim"))
        return line

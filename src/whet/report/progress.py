"""Shows a run while it trains: a live bar in a terminal, plain lines in a file.

Pure rendering of events; knows no engine and no run folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whet.core import Scores
from whet.events import (
    Averaged,
    Divided,
    Evaluated,
    Event,
    Finished,
    Mixed,
    NotStored,
    Saved,
    StageChanged,
    Started,
    Step,
    Stopped,
    Stored,
    Storing,
)
from whet.report.live import LiveBar
from whet.report.writing import count, duration, plain, score, share, size

SCORES = 2
"""Scores of an evaluation that a plain line shows; all of them are in the run folder."""


@dataclass
class _Mean:
    """Exponential mean that is right from the first value on; leaves out what is not a finite number."""

    keep: float = 0.9
    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> None:
        if math.isfinite(value):
            self.total = self.keep * self.total + (1 - self.keep) * value
            self.weight = self.keep * self.weight + (1 - self.keep)

    @property
    def value(self) -> float:
        return self.total / self.weight if self.weight else math.nan


@dataclass
class _State:
    """What the bar knows."""

    started: Started
    since: float
    """When the run started, in seconds of the clock."""
    step: int
    epoch: float = 0.0
    loss: _Mean = field(default_factory=_Mean)
    broken: bool = False
    """True while the last loss was not a finite number."""
    work: _Mean = field(default_factory=_Mean)
    """Tokens of a step; rows where the data has no tokens."""
    seconds: _Mean = field(default_factory=_Mean)
    unit: str = "tokens/s"
    first: tuple[int, float] | None = None
    """The first step seen and when it ended: what came before it (a cache, say) tells nothing about the rest."""
    latest: float = 0.0
    """When the last step ended."""
    storing: Storing | None = None
    """How far the outputs of the frozen layers are."""
    last: Evaluated | None = None
    best: Evaluated | None = None
    columns: tuple[str, ...] = ()
    """Scores of the table of evaluations, once its head is printed."""

    def take(self, event: Step, now: float) -> None:
        self.step, self.epoch = event.step, event.epoch
        self.broken = not math.isfinite(event.loss)
        self.loss.add(event.loss)
        self.unit = "tokens/s" if event.tokens else "rows/s"
        self.work.add(event.tokens or event.rows)
        self.seconds.add(event.seconds)
        self.first, self.latest = self.first or (event.step, now), now

    def left(self) -> float:
        """Seconds until the last step, evaluations included as they came; nan where unknown."""
        if self.first is None:
            return math.nan
        steps, seconds = self.step - self.first[0], self.latest - self.first[1]
        pace = seconds / steps if steps > 0 else self.seconds.value
        return pace * max(self.started.steps - self.step, 0)

    def loss_text(self) -> str:
        if self.first is None:
            return "-"
        return "nan" if self.broken else score(self.loss.value)

    def best_text(self, name: str) -> str:
        """What stands behind the last value of a score; nothing where a resumed run does not know its best."""
        if self.best is None or name not in self.best.scores:
            return ""
        return " (best)" if self.best is self.last else f" (best {score(self.best.scores[name])})"

    def speed_text(self) -> str:
        seconds = self.seconds.value
        return f"{count(self.work.value / seconds)} {self.unit}" if seconds > 0 else f"? {self.unit}"


class Progress(LiveBar):
    """Shows the events of a run as they come: a live bar in a terminal, plain lines in a file.

    Use it as ``with Progress(console) as progress: ...; progress.show(event)``. The bar goes away at the end of the
    block; one line for every evaluation stays. ``metric`` is the score that picks the best weights and stands first;
    without it the first score of an evaluation does.
    """

    def __init__(self, console: Console, metric: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._metric = metric
        self._clock = clock
        self._state: _State | None = None
        super().__init__(console)

    def show(self, event: Event) -> None:  # noqa: C901  # a case for each event
        """Show one event."""
        if isinstance(event, Started):
            self._state = _State(event, self._clock(), event.step)
            self._line(_start(event))
        state = self._state
        if state is None:
            raise ValueError(f"{type(event).__name__} came before Started")
        match event:
            case Step():
                self._step(state, event)
            case Evaluated():
                self._evaluated(state, event)
            case StageChanged() if event.step or event.trainable != state.started.trainable:
                part = share(event.trainable, state.started.total)
                self._line(f"stage {event.stage}: {count(event.trainable)} parameters train from here ({part})")
            case Stopped():
                rest = "; the rest can be resumed" if event.resumable else ""
                self._line(f"stopped at step {event.step:,} of {state.started.steps:,}: {event.reason}{rest}", "yellow")
            case Divided():
                self._line(_divided(event), "yellow")
            case Averaged():
                self._line(_averaged(event, self._names(event.scores)[:1]), "green" if event.best else "")
            case Mixed():
                self._line(_mixed(event, self._names(event.scores)[:1]), "green" if event.best else "")
            case Finished():
                self._line(*_finish(event, self._names(event.scores)[:1]))
            case Storing() | Stored() | NotStored():
                self._storing(state, event)
            case Started() | Saved() | StageChanged():
                pass

    def _line(self, line: str, style: str = "") -> None:
        self._console.print(Text(plain(line), style=style), soft_wrap=not self._is_live)

    def _names(self, scores: Scores) -> list[str]:
        """Names of the scores, the one that decides first."""
        return sorted(scores, key=lambda name: name != self._metric)

    def _step(self, state: _State, event: Step) -> None:
        before = state.step
        state.take(event, self._clock())
        steps = max(state.started.steps, 1)
        if self._is_live or event.step * 10 // steps == before * 10 // steps:
            return
        left = (f"{duration(state.left())} left",) if event.step < state.started.steps else ()
        pieces = (f"loss {state.loss_text()}", state.speed_text(), *left)
        self._line("  ".join((_place(event.step, state.started.steps, event.epoch), *pieces)))

    def _storing(self, state: _State, event: Storing | Stored | NotStored) -> None:
        state.storing = event if isinstance(event, Storing) else None
        if isinstance(event, Stored):
            self._line(_stored(event))
        elif isinstance(event, NotStored):
            self._line(f"frozen layers are computed at every step: {event.reason}")

    def _evaluated(self, state: _State, event: Evaluated) -> None:
        state.last, state.best = event, event if event.best else state.best
        if not self._is_live:
            scores = [f"{name} {score(event.scores[name])}" for name in self._names(event.scores)[:SCORES]]
            pieces = (f"loss {state.loss_text()}", *scores, *(("best",) if event.best else ()))
            self._line("  ".join((_place(event.step, state.started.steps, event.epoch), *pieces)))
            return
        head = ["epoch", "step", "loss"]
        if not state.columns:
            state.columns = _fitting(self._names(event.scores), self._console.width - len(_row(head)) - len("  best"))
            self._console.print(Text(_row([*head, *state.columns]), style="dim"), soft_wrap=True)
        told = {name: score(value) for name, value in event.scores.items()}
        values = (told.get(name, "-").rjust(len(name)) for name in state.columns)
        line = Text(_row([f"{event.epoch:.2f}", f"{event.step:,}", state.loss_text(), *values]))
        if event.best:
            line.append("  best", style="green")
        self._console.print(line, soft_wrap=True)

    def _bar(self) -> RenderableType:
        state = self._state
        if state is None:
            return Text("getting ready", style="dim")
        if state.storing is not None:
            return _storing(state.storing)
        steps = state.started.steps
        bar = ProgressBar(total=max(steps, 1), completed=state.step if steps else 1, width=24)
        times = f"{duration(self._clock() - state.since)}, {duration(state.left())} left"
        first = Table.grid(padding=(0, 2))
        first.add_row(bar, Text(f"{state.step:,}/{steps:,}"), Text(times, style="dim"))
        pieces = [f"epoch {state.epoch:.2f}"]
        if state.first is not None:
            pieces += [f"loss {state.loss_text()}", state.speed_text()]
        if state.last is not None and state.last.scores:
            name = self._names(state.last.scores)[0]
            pieces.append(f"{name} {score(state.last.scores[name])}{state.best_text(name)}")
        second = Text("  ".join(pieces), style="red" if state.broken else "dim", no_wrap=True, overflow="ellipsis")
        return Group(first, second)


def _storing(event: Storing) -> RenderableType:
    bar = ProgressBar(total=event.rows, completed=event.done, width=24)
    line = Table.grid(padding=(0, 2))
    line.add_row(
        bar, Text(f"{event.done:,}/{event.rows:,} rows"), Text("computing the frozen layers once", style="dim")
    )
    return line


def _divided(event: Divided) -> str:
    rows = f"{event.rows} row" + ("s" if event.rows > 1 else "")
    return f"out of memory: from here on {rows} at a time; the steps stay the same"


def _averaged(event: Averaged, names: list[str]) -> str:
    told = ", ".join(f"{name} {score(event.scores[name])}" for name in names)
    best = "better, so it stays" if event.best else "no better, so the best single weights stay"
    return f"mean of the weights at {event.count} of the last steps: {told}, {best}"


def _mixed(event: Mixed, names: list[str]) -> str:
    told = ", ".join(f"{name} {score(event.scores[name])}" for name in names)
    best = ": better, so it stays" if event.best else ""
    return f"{event.share:.0%} of the trained weights, the rest pre-trained: {told}{best}"


def _stored(event: Stored) -> str:
    blocks = f"all {event.of}" if event.blocks == event.of else f"{event.blocks} of {event.of}"
    if event.reused == event.rows:
        how = "read from an earlier run"
    else:
        how = f"computed once in {duration(event.seconds)}"
        how += f" ({event.reused:,} rows known already)" if event.reused else ""
    place = "in memory" if event.folder is None else f"in {event.folder.parent}"
    return (
        f"{blocks} blocks are frozen: {how}, {size(event.size)} {place}; each step saves {_part(event.share)} of "
        "a forward pass"
    )


def _part(share_of_one: float) -> str:
    """A share in percent; never 100% unless nothing is left."""
    return "100%" if share_of_one == 1.0 else f"{min(share_of_one, 0.99):.0%}"


def _start(event: Started) -> str:
    epochs = f"{event.epochs} epoch{'' if event.epochs == 1 else 's'}"
    resumed = f", going on after step {event.step:,}" if event.step else ""
    return (
        f"{event.steps:,} steps, {epochs} of {event.rows:,} rows{resumed}; "
        f"{count(event.trainable)} of {count(event.total)} parameters train ({share(event.trainable, event.total)})"
    )


def _finish(event: Finished, names: Sequence[str]) -> tuple[str, str]:
    """The closing line, and its style: a warning where the weights no longer score what they scored."""
    line = f"best weights are those of step {event.best_step:,}"
    if event.share < 1:
        line += f", of which {event.share:.0%} are mixed with the pre-trained ones"
    if not names:
        return line, ""
    name = names[0]
    now, recorded = event.scores[name], event.recorded.get(name, math.nan)
    # What rounds to the digits shown is the same: other batches add up in another order.
    if math.isclose(now, recorded, abs_tol=5e-5) or score(now) == score(recorded):
        return f"{line}: {name} {score(now)}, the same when measured again", ""
    return f"{line}: {name} {score(recorded)} in the run, but {score(now)} when measured again", "yellow"


def _place(step: int, steps: int, epoch: float) -> str:
    return f"step {step:,}/{steps:,}  epoch {epoch:.2f}"


def _row(cells: Sequence[str]) -> str:
    """Cells of a table of numbers, aligned on the right."""
    return "  ".join(cell.rjust(8) for cell in cells)


def _fitting(names: Sequence[str], width: int) -> tuple[str, ...]:
    """The first of the ``names``, then those that still fit into ``width`` as columns."""
    kept: list[str] = []
    for name in names:
        needed = max(len(name), 8) + 2
        if not kept or needed <= width:
            kept.append(name)
            width -= needed
    return tuple(kept)

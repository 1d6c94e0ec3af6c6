"""What a person reads in a terminal about a search for settings: how it goes, and what it found.

Pure rendering of values; knows no engine and no run folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whet.report.live import LiveBar
from whet.report.naming import ROW_SHARES
from whet.report.writing import duration, plain, score
from whet.run import tuning as files
from whet.run.tuning import Trial, Tuning

SHOWN = 5
"""Trials of the closing table; all of them are on the page."""
BAR = 24
"""Characters of the longest bar of importance."""


class SearchProgress(LiveBar):
    """Shows a search as it goes: a live bar in a terminal, a line for each trial that has ended in a file too.

    Use it as ``with SearchProgress(console, tuning) as progress: ...``.
    """

    def __init__(self, console: Console, tuning: Tuning, clock: Callable[[], float] = time.monotonic) -> None:
        self._tuning = tuning
        self._clock = clock
        self._since = clock() - tuning.seconds
        self._running: dict[int, float] = {}
        super().__init__(console)

    def began(self, number: int) -> None:
        """A trial runs."""
        self._running[number] = 0.0

    def advanced(self, number: int, share: float) -> None:
        """A trial is so far through its run."""
        self._running[number] = share

    def ended(self, tuning: Tuning, number: int) -> None:
        """A trial runs no more."""
        self._tuning = tuning
        self._running.pop(number, None)
        trial = next(one for one in tuning.trials if one.number == number)
        if trial.state != "running":
            left = "" if self._is_live or not (seconds := self.left()) else f"  ({duration(seconds)} left)"
            style = {"failed": "red", "pruned": "dim"}.get(trial.state, "green" if tuning.best == number else "")
            self._console.print(Text(plain(f"{_told(trial, tuning)}{left}"), style=style), soft_wrap=True)

    def left(self) -> float:
        """Seconds until the search ends, by the time that trials took so far; nan where none has ended."""
        took = [trial.seconds for trial in self._tuning.trials if trial.state != "running" and trial.seconds > 0]
        begun = sum(trial.state != "running" for trial in self._tuning.trials) + sum(self._running.values())
        if not took:
            return math.nan
        plan = self._tuning.plan
        seconds = max(0.0, plan.trials - begun) * sum(took) / len(took) / plan.jobs
        passed = self._clock() - self._since
        return seconds if plan.timeout is None else min(seconds, max(0.0, plan.timeout - passed))

    def _bar(self) -> RenderableType:
        plan = self._tuning.plan
        done = sum(trial.state != "running" for trial in self._tuning.trials)
        bar = ProgressBar(total=plan.trials, completed=done + sum(self._running.values()), width=BAR)
        first = Table.grid(padding=(0, 2))
        times = f"{duration(self._clock() - self._since)}, {duration(self.left())} left"
        first.add_row(bar, Text(f"{done}/{plan.trials} trials"), Text(times, style="dim"))
        pieces = [f"trial {number} {share:.0%}" for number, share in sorted(self._running.items())]
        best = next((trial for trial in self._tuning.trials if trial.number == self._tuning.best), None)
        if best is not None and best.score is not None:
            pieces.append(f"best {self._tuning.metric} {score(best.score)} (trial {best.number})")
        return Group(first, Text("  ".join(pieces), style="dim", no_wrap=True, overflow="ellipsis"))


def begin(console: Console, tuning: Tuning, moved: Mapping[str, tuple[object, object]]) -> None:
    """Say what is searched, and where trial 0 cannot have what the recipe says."""
    limit = "" if tuning.plan.timeout is None else f", {duration(tuning.plan.timeout)} at most"
    beside = "" if tuning.plan.jobs == 1 else f", {tuning.plan.jobs} beside each other"
    head = f"Searching with method {tuning.method}: {tuning.plan.trials} trials{beside}{limit}"
    console.print(Text(head, style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for path, text in tuning.plan.spaces.items():
        table.add_row(Text(f"  {plain(path)}", style="dim"), Text(plain(text)))
    console.print(table)
    for path, (said, has) in moved.items():
        line = f"trial 0 has {path} {_value(has)}: the space does not hold {_value(said)}, which is the recipe's"
        console.print(Text(plain(line), style="yellow"), soft_wrap=True)
    line = (
        f"Scored by {tuning.metric} on {tuning.rows['validation']:,} validation rows; the test rows are not looked at."
    )
    console.print(Text(line, style="dim"), soft_wrap=True)
    console.print()


def results(console: Console, tuning: Tuning, folder: Path) -> None:
    """Print the best trials, what mattered, what the test rows say, and what to type next."""
    counts = {state: sum(t.state == state for t in tuning.trials) for state in ("finished", "pruned", "failed")}
    words = {"finished": "finished", "pruned": "broken off early", "failed": "failed"}
    told = ", ".join(f"{counts[state]} {words[state]}" for state in counts if counts[state])
    console.print()
    console.print(Text(f"{len(tuning.trials)} trials in {duration(tuning.seconds)}: {told}", style="bold"))
    console.print(_table(tuning))
    if tuning.importance:
        head = f"\nHow much each setting mattered among {counts['finished']} finished trials"
        console.print(Text(head, style="bold"))
        console.print(_importance(tuning, ascii_only=console.options.ascii_only))
    console.print()
    for line, style in verdict(tuning):
        console.print(Text(plain(line), style=style), soft_wrap=True)
    console.print()
    facts = {"best run": folder / files.BEST, "recipe": folder / files.BEST_RECIPE, "page": folder / files.PAGE}
    for name, path in facts.items():
        console.print(Text(f"{name:<10}", style="dim").append(plain(str(path)), style="not dim"), soft_wrap=True)
    console.print(Text("\nNext", style="bold"))
    for command in (
        f"whet train {folder / files.BEST_RECIPE} --set seed=1",
        f"whet tune --resume {folder} --trials {2 * len(tuning.trials)}",
    ):
        console.print(Text(f"  {plain(command)}", style="cyan"), soft_wrap=True)


def verdict(tuning: Tuning) -> list[tuple[str, str]]:
    """What was found, in sentences with their style: what the validation rows say, and what the test rows say."""
    by_number = {trial.number: trial for trial in tuning.trials}
    assert tuning.best is not None
    best, first = by_number[tuning.best], by_number.get(0)
    assert best.score is not None
    lines = []
    if tuning.best == 0:
        lines.append((f"Nothing was better than the recipe as it was ({tuning.metric} {score(best.score)}).", "yellow"))
    else:
        before = "" if first is None or first.score is None else f", trial 0 has {score(first.score)}"
        lines.append(
            (
                f"Trial {best.number} has the best {tuning.metric} on the validation rows, {score(best.score)}{before}."
                f" As the best of {len(tuning.trials)} it was lucky, too: expect less on new rows.",
                "",
            )
        )
    mine, other = (tuning.tested.get(number, {}).get(tuning.metric) for number in (tuning.best, 0))
    if mine is None:
        lines.append(("There are no test rows, so nothing is said about new data.", "yellow"))
        return lines
    lines.append((f"On the test rows, which no trial has seen, it has {score(mine)}.", "" if other else "bold"))
    if tuning.best != 0 and other is not None:
        lines.append(_against(mine, other, tuning))
    return lines


def _against(mine: float, other: float, tuning: Tuning) -> tuple[str, str]:
    """The best trial beside trial 0 on the test rows, and whether that is more than chance."""
    gain = (mine - other) * (1 if tuning.more_is_better else -1)
    side = "better" if gain >= 0 else "worse"
    beside = f"Trial 0 has {score(other)} there"
    if tuning.metric not in ROW_SHARES or not tuning.rows.get("test"):
        return f"{beside}, so the search made it {side} by {score(abs(gain))}.", "green" if gain > 0 else "yellow"
    # As if the two were measured on different rows; they are not, so the true error is mostly smaller.
    error = math.sqrt((mine * (1 - mine) + other * (1 - other)) / tuning.rows["test"])
    told = f"{100 * abs(gain):.1f} points {side}"
    if abs(gain) <= error:
        within = f"within one standard error ({100 * error:.1f} points, {tuning.rows['test']:,} rows)"
        return f"{beside}: not told apart, {told}, {within}.", "yellow"
    return f"{beside}: {told} (standard error {100 * error:.1f} points).", "green" if gain > 0 else "red"


def ranked(tuning: Tuning) -> list[Trial]:
    """All trials, the best first; those without a score at the end."""
    sign = -1 if tuning.more_is_better else 1
    return sorted(tuning.trials, key=lambda t: (t.score is None, sign * (t.score or 0.0), t.number))


def short(path: str) -> str:
    """A path of the recipe without what all have."""
    return path.removeprefix("training.")


def _value(value: object) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def spelled(settings: Mapping[str, object]) -> str:
    """Settings in one line."""
    return ", ".join(f"{short(path)} {_value(value)}" for path, value in settings.items())


def _told(trial: Trial, tuning: Tuning) -> str:
    name = f"trial {trial.number:>2}"
    if trial.state == "failed":
        return f"{name}  failed: {trial.reason}"
    if trial.score is None:
        last = f"{score(trial.course[-1][1])}, " if trial.course else ""
        return f"{name}  broken off at {last}{trial.reason}  {spelled(trial.settings)}"
    best = "  best so far" if tuning.best == trial.number else ""
    return f"{name}  {tuning.metric} {score(trial.score)}  {spelled(trial.settings)}  {duration(trial.seconds)}{best}"


def _table(tuning: Tuning) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head in ("trial", tuning.metric, "time", "settings"):
        table.add_column(Text(head), justify="left" if head == "settings" else "right", no_wrap=head != "settings")
    for trial in [trial for trial in ranked(tuning) if trial.score is not None][:SHOWN]:
        assert trial.score is not None
        style = "bold" if trial.number == tuning.best else ""
        cells = (str(trial.number), score(trial.score), duration(trial.seconds), plain(spelled(trial.settings)))
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _importance(tuning: Tuning, *, ascii_only: bool) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    longest = max(tuning.importance.values(), default=1.0) or 1.0
    for path, share in sorted(tuning.importance.items(), key=lambda one: -one[1]):
        bar = ("#" if ascii_only else "█") * round(BAR * share / longest)
        table.add_row(Text(f"  {plain(short(path))}"), Text(f"{share:.0%}"), Text(bar, style="cyan"))
    return table

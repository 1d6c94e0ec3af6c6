"""What a person sees of a learning-rate range test: a curve in the terminal, a drawing, and what they say.

Pure rendering of values.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whet.engine.range_test import MARGIN, RangeTest
from whet.report import svg
from whet.report.live import LiveBar
from whet.report.writing import plain, score

WIDTH, HEIGHT = 72, 14
"""Characters of the curve, at most."""
TALL = 1.6
"""How many times the first mean loss is the highest that is drawn: an explosion would flatten all the rest."""


class RatesProgress(LiveBar):
    """A bar while the test runs; nothing where there is no terminal."""

    def __init__(self, console: Console, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._told = "getting ready"
        super().__init__(console)

    def step(self, done: int, rate: float, loss: float) -> None:
        """A step was taken."""
        self._done, self._told = done, f"learning rate {rate:.1e}  loss {score(loss)}"

    def storing(self, busy: bool) -> None:
        """The frozen layers are being computed, or have been."""
        self._told = "computing the frozen layers once" if busy else self._told

    def _bar(self) -> Table:
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._steps, completed=self._done, width=24)
        line.add_row(bar, Text(f"{self._done}/{self._steps}"), Text(self._told, style="dim"))
        return line


def results(console: Console, found: RangeTest, drawing: Path, *, method: str, usual: float) -> None:
    """Print the curve and what it says."""
    width = max(20, min(WIDTH, console.width - 10))
    console.print(Text("Mean loss at growing learning rates", style="bold"))
    for line in curve(found, width, HEIGHT, mark="*" if console.options.ascii_only else "•"):
        console.print(Text(line), soft_wrap=True)
    console.print()
    for said, style in verdict(found, method, usual):
        console.print(Text(plain(said), style=style), soft_wrap=True)
    console.print(Text(f"{'drawn in':<10}", style="dim").append(plain(str(drawing)), style="not dim"), soft_wrap=True)
    if found.suggestion is not None:
        console.print(Text("\nNext", style="bold"))
        rate = found.suggestion
        for command in (
            f"--set training.learning_rate={rate:g}",
            f"--space training.learning_rate={rate / 3:.1g}..{rate * 3:.1g}",
        ):
            verb = "train" if "--set" in command else "tune"
            console.print(Text(f"  whet {verb} ... {command}", style="cyan"), soft_wrap=True)


def verdict(found: RangeTest, method: str, usual: float) -> list[tuple[str, str]]:
    """What the curve says, in sentences with their style."""
    lines = []
    if found.suggestion is None:
        lines.append(("The loss did not fall at any rate, so nothing can be suggested.", "yellow"))
    else:
        lines.append((f"Suggested: {found.suggestion:g}; the usual rate of method '{method}' is {usual:g}.", "green"))
        lines.append(
            (
                f"The loss falls fastest at {found.steepest:.1e} and is lowest at {found.lowest:.1e}; suggested is "
                f"the former, and at most a {MARGIN:g}th of the latter.",
                "",
            )
        )
    if found.diverges is None:
        lines.append((f"It did not explode up to {found.rates[-1]:.1e}.", ""))
    else:
        lines.append((f"It explodes at {found.diverges:.1e}.", ""))
    lines.append(("A run of a hundred steps tells the order of magnitude. Model and folder are as they were.", "dim"))
    return lines


def curve(found: RangeTest, width: int, height: int, mark: str) -> list[str]:
    """Mean losses over the logarithm of the rates, as lines of text."""
    top, (low, high) = _top(found), _ends(found)
    columns: dict[int, list[float]] = {}
    for rate, mean in zip(found.rates, found.means, strict=True):
        place = (math.log(rate) - math.log(low)) / (math.log(high) - math.log(low)) if high > low else 0.0
        columns.setdefault(round(place * (width - 1)), []).append(min(mean, top))
    bottom = min(found.means)
    rows = [[" "] * width for _ in range(height)]
    for column, means in columns.items():
        share = (sum(means) / len(means) - bottom) / (top - bottom) if top > bottom else 0.0
        rows[height - 1 - round(share * (height - 1))][column] = mark
    labels = {0: score(top), height - 1: score(bottom)}
    lines = [f"{labels.get(number, ''):>8} |{''.join(row).rstrip()}" for number, row in enumerate(rows)]
    ends = f"{low:.0e}", f"{high:.0e}"
    return [*lines, f"{'':>8} +{'-' * width}", f"{'':>10}{ends[0]}{ends[1]:>{width - len(ends[0])}}"]


def drawing(found: RangeTest) -> str:
    """The losses as a file of SVG."""
    top, (low, high) = _top(found), _ends(found)
    rates = np.array(found.rates)
    marks = [svg.Mark(f"{found.suggestion:g}", found.suggestion)] if found.suggestion is not None else []
    marks = [mark for mark in marks if low <= mark.at <= high]
    if found.diverges is not None:
        marks.append(svg.Mark(f"{found.diverges:.0e}", found.diverges))
    curves = [
        svg.Curve("loss", rates, np.minimum(found.losses, top), "faint"),
        svg.Curve("mean loss", rates, np.minimum(found.means, top)),
    ]
    return svg.alone(
        svg.lines(
            curves, alt="Learning-rate range test", across="learning rate", marks=marks, tell=score, logarithmic=True
        )
    )


def _top(found: RangeTest) -> float:
    return min(max(found.means), TALL * found.means[0])


def _ends(found: RangeTest) -> tuple[float, float]:
    return found.rates[0], found.rates[-1]

"""A report on one screen of a terminal: verdict, scores, curve, classes, mistakes, costs.

Text that comes from the user's data is never read as markup, and its control characters never reach the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from whet.core import Finding
from whet.report.comparison_page import ComparisonPage, Row
from whet.report.naming import metric_name, written
from whet.report.run_page import Figure, RunPage
from whet.report.search_page import SearchPage
from whet.report.sentences import Said
from whet.report.writing import plain

STEPS = " ▁▂▃▄▅▆▇█"
ASCII_STEPS = " .:-=+*#%@"
CURVE = 48
"""Columns that a curve takes."""
MOST_CLASSES = 20
MOST_MISTAKES = 5
_TONES = {"good": "green", "open": "yellow", "bad": "red"}
_SEVERITIES = {"error": "red", "warning": "yellow", "note": "blue"}


def show(console: Console, content: RunPage | ComparisonPage | SearchPage) -> None:
    """Print a report."""
    _verdict(console, content.said)
    if not isinstance(content, SearchPage):
        _findings(console, content.findings)
    if isinstance(content, SearchPage):
        _search(console, content)
    elif isinstance(content, ComparisonPage):
        _board(console, content)
        if content.best is not None:
            _title(
                console,
                f"The best: {content.comparison.verdict.best if content.comparison.verdict else content.best.run.name}",
            )
            _run(console, content.best)
    else:
        _standing(console, content)
        _figures(console, content.figures)
        _run(console, content)
    _title(console, "To repeat it")
    console.print(Text(f"  {plain(content.command)}", style="cyan"), soft_wrap=True)


def _search(console: Console, page: SearchPage) -> None:
    _figures(console, page.figures)
    if page.importance:
        _title(console, "How much each setting mattered")
    for name, share in page.importance:
        console.print(Text(f"  {_percent(share):>6}  {plain(name)}"))
    _title(console, f"All trials, by {metric_name(page.tuning.metric)}")
    table = _table("", "score", "time", "state", "")
    for row in page.rows:
        cells = (str(row.number), row.value, row.took, row.state, plain(row.settings))
        table.add_row(*(Text(cell, style="bold" if row.best else "") for cell in cells))
    console.print(table)


def _verdict(console: Console, said: Said) -> None:
    console.print(Text(plain(said.headline), style=f"bold {_TONES[said.tone]}"))
    for sentence in said.sentences:
        console.print(Text(plain(sentence)))


def _findings(console: Console, findings: Sequence[Finding]) -> None:
    if findings:
        _title(console, "Findings")
    for one in findings:
        told = Text(f"  {one.severity} {one.id} ", style=_SEVERITIES[one.severity]).append(
            plain(one.what), style="not dim"
        )
        console.print(told)
        for more in filter(None, (one.evidence, one.fix)):
            console.print(Text(f"    {plain(more)}", style="dim"))


def _standing(console: Console, page: RunPage) -> None:
    _title(console, metric_name(page.run.metric))
    table = _table()
    own = page.known.get(page.run.metric)
    for row in page.standing:
        interval = (
            f"{written(page.run.metric, own.low)} – {written(page.run.metric, own.high)}" if row.own and own else ""
        )
        style = "bold" if row.own else "dim"
        table.add_row(Text(f"  {row.name}", style=style), Text(row.value, style=style), Text(interval, style="dim"))
    console.print(table)


def _figures(console: Console, figures: Sequence[Figure]) -> None:
    console.print()
    for one in figures:
        console.print(Text(f"  {one.name:<14}", style="dim").append(f"{one.value}, {one.note}", style="not dim"))


def _run(console: Console, page: RunPage) -> None:
    curves = page.run.curves
    values = curves.of(page.run.metric)
    if len(curves.losses) > 1:
        _title(console, "Training")
        console.print(_curve(console, "loss", curves.losses, f"{curves.losses[0]:.3g} to {curves.losses[-1]:.3g}"))
    if np.isfinite(values).sum() > 1:
        told = f"{written(page.run.metric, values[0])} to {written(page.run.metric, values[-1])}"
        console.print(_curve(console, "validation", values, told))
    answers = page.answers
    if answers.classes:
        _title(console, "Class by class")
        table = _table("", "precision", "recall", "F1", "support")
        for one in answers.classes[:MOST_CLASSES]:
            shares = [_percent(value) for value in (one.precision, one.recall, one.f1)]
            table.add_row(Text(f"  {plain(one.name)}"), *map(Text, (*shares, f"{one.support:,}")))
        console.print(table)
        if (left := len(answers.classes) + answers.more_classes - MOST_CLASSES) > 0:
            console.print(Text(f"  and {left} more", style="dim"))
    if answers.bins:
        console.print()
        told = f"  The probability is {100 * answers.calibration_error:.1f} points away from the share that is right."
        console.print(Text(told, style="dim"))
    if answers.mistakes:
        _title(console, "The most surprising mistakes")
    for mistake, asked in answers.mistakes[:MOST_MISTAKES]:
        sure = "" if mistake.probability is None else f" ({_percent(mistake.probability)})"
        head = Text(f"  {plain(mistake.answered)}{sure}", style="red").append(
            f" for {plain(mistake.wanted)}: ", style="not dim"
        )
        head.append(plain(" / ".join(asked.texts)).replace("\n", " "), style="dim")
        console.print(head, no_wrap=True, overflow="ellipsis")
    if answers.samples:
        _title(console, "What it writes")
    for sample, _ in answers.samples[:MOST_MISTAKES]:
        if sample.wanted is not None:
            console.print(Text(f"  wanted   {plain(sample.wanted)}".replace("\n", " "), style="dim"))
        console.print(Text(f"  written  {plain(sample.written) or '(nothing)'}".replace("\n", " ")))


def _board(console: Console, page: ComparisonPage) -> None:
    _title(console, f"Candidates, by {metric_name(page.comparison.metric)}")
    table = _table("", "", "score", "95% interval", "time", "memory", "trained", "")
    for row in page.rows:
        style = "dim" if row.baseline else "bold" if row.number == "1" else ""
        cells = (row.number, plain(row.name), row.value, row.interval, row.took, row.memory, row.share, row.role)
        table.add_row(*(Text(cell, style=style) for cell in cells))
    console.print(table)
    for one in page.unfinished:
        console.print(_unfinished(one))


def _unfinished(row: Row) -> Text:
    return Text(f"  {plain(row.name)} ").append(plain(row.note), style="dim")


def _curve(console: Console, name: str, values: np.ndarray, told: str) -> Text:
    """A row of bars as high as the means of as many stretches."""
    signs = ASCII_STEPS if console.options.ascii_only else STEPS
    known = values[np.isfinite(values)]
    parts = np.array_split(known, min(CURVE, len(known)))
    means = [float(part.mean()) for part in parts]
    low, high = min(means), max(means)
    spread = high - low or math.inf
    bars = "".join(signs[1 + round((mean - low) / spread * (len(signs) - 2))] for mean in means)
    return Text(f"  {name:<12}", style="dim").append(bars, style="not dim").append(f"  {told}", style="dim")


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(plain(text), style="bold"))


def _table(*heads: str) -> Table:
    table = Table(box=None, show_header=bool(heads), padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head in heads:
        table.add_column(Text(head), justify="right" if head else "left")
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"

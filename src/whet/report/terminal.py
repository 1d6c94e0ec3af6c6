"""What a person reads in a terminal before and after training: decisions, results, problems.

Pure rendering of values; knows no engine and no run folder. Text that comes from the user's data is never read as
markup, and its control characters never reach the terminal. The run itself is shown by ``Progress``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whet.core import Choice, Finding, Scores
from whet.errors import WhetError
from whet.report.naming import ROW_SHARES, baseline_name
from whet.report.progress import Progress
from whet.report.writing import count, duration, plain, score, share, size

__all__ = ["Progress", "Results", "decisions", "findings", "illustration", "problems", "remark", "results"]

LONGEST_EXAMPLE = 700
"""Characters of an example that are shown."""
LONGEST_VALUE = 20
"""Characters of a decided value that are shown."""


@dataclass(frozen=True)
class Results:
    """What there is to tell once a run has ended."""

    validation: Scores
    test: Scores
    """Empty where there are no test rows."""
    baselines: Mapping[str, Scores]
    """Scores of the baselines on the test rows, by name."""
    metric: str
    """The metric that picked the best weights; it stands first and decides the verdict."""
    trainable: int
    total: int
    seconds: float
    peak_memory_bytes: int
    folder: Path
    next_commands: Sequence[str]
    test_rows: int = 0
    more_is_better: bool = True
    """Whether more of the metric is better."""
    predicted: Mapping[str, Any] | None = None
    """``seconds`` and ``peak_memory_bytes`` that were expected; None where nobody could tell."""
    samples: Sequence[tuple[str, str]] = ()
    """Prompts of test rows, and what the model writes behind them."""
    page: Path | None = None
    """The report, where one was written."""


def decisions(console: Console, choices: Sequence[Choice]) -> None:
    """Print what was decided for the user and why: what the data told first, then the defaults.

    Defaults of one and the same reason share a paragraph.
    """
    inferred = [choice for choice in choices if choice.origin == "inferred"]
    defaults: dict[str, list[str]] = {}
    for choice in choices:
        if choice.origin == "default":
            defaults.setdefault(choice.reason or "default", []).append(f"{choice.path} {_shortened(choice.value)}")
    if not (inferred or defaults):
        return
    console.print(Text("Decided for you", style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=LONGEST_VALUE)
    table.add_column(style="dim")
    for choice in inferred:
        value = Text(_shortened(choice.value), style="bold")
        table.add_row(Text(f"  {plain(choice.path)}"), value, Text(plain(choice.reason)))
    console.print(table)
    for reason, values in defaults.items():
        paragraph = Text(plain(f"{reason}: {', '.join(values)}"), style="dim")
        console.print(Padding(paragraph, (0, 0, 0, 2)))
    console.print()


def findings(console: Console, found: Sequence[Finding]) -> None:
    """Print what looks wrong: what it is, what shows it, and the way out."""
    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    for finding in found:
        head = f"{finding.id} {finding.severity}: {finding.what}"
        console.print(Text(plain(head), style=styles[finding.severity]), soft_wrap=True)
        console.print(Padding(Text(plain(finding.evidence), style="dim"), (0, 0, 0, 2)))
        console.print(Text(f"  {plain(finding.fix)}", style="cyan"), soft_wrap=True)
    if found:
        more = ", ".join(dict.fromkeys(f"whet explain {finding.id}" for finding in found))
        console.print(Text(f"  more: {more}\n", style="dim"), soft_wrap=True)


def illustration(console: Console, pieces: Sequence[tuple[str, bool]]) -> None:
    """Print the first example as the model reads it, with what is learned in green, or in brackets without colours."""
    if not pieces:
        return
    in_colour = console.is_terminal and console.color_system is not None
    told = "in green" if in_colour else "between [[ and ]]"
    console.print(Text(f"The first row as the model reads it; it learns what is {told}", style="bold"))
    shown, room = Text(), LONGEST_EXAMPLE
    for piece, learned in pieces:
        text = plain(piece)
        text = text if len(text) <= room else f"{text[:room]}…"
        room = max(0, room - len(text))
        if learned and not in_colour:
            text = f"[[{text}]]"
        shown.append(text, style="green" if learned else "dim")
        if not room:
            break
    console.print(Padding(shown, (0, 0, 1, 2)))


def remark(console: Console, text: str) -> None:
    """Print a line beside the decisions; nothing where there is nothing to tell."""
    if text:
        console.print(Text(plain(text), style="dim"), soft_wrap=True)
        console.print()


def results(console: Console, table: Results) -> None:
    """Print the closing table, the verdict against the baselines, what the run cost, and what to type next."""
    console.print()
    console.print(_scores_table(table, console.width))
    console.print()
    console.print(_verdict(table))
    console.print()
    if table.samples:
        console.print(Text("What it writes behind test rows", style="bold"))
    for prompt, written in table.samples:
        # What goes on with a text begins with its own space.
        apart = "" if written[:1].isspace() or prompt[-1:].isspace() else "  "
        line = Text(plain(prompt), style="dim").append(f"{apart}{plain(written) or '(nothing)'}", style="not dim")
        console.print(Padding(line, (0, 0, 0, 2)))
        console.print()
    part = share(table.trainable, table.total)
    facts = {
        "trained": f"{count(table.trainable)} of {count(table.total)} parameters ({part})",
        "took": f"{duration(table.seconds)}, {size(table.peak_memory_bytes)} of memory at the peak",
        **_predicted(table),
        "saved in": plain(str(table.folder)),
        **({"report": plain(str(table.page))} if table.page else {}),
    }
    # Soft wrap from here on, so that a long path or command can be copied as one line.
    for name, value in facts.items():
        console.print(Text(f"{name:<10}", style="dim").append(value, style="not dim"), soft_wrap=True)
    if table.next_commands:
        console.print()
        console.print(Text("Next", style="bold"))
    for command in table.next_commands:
        console.print(Text(f"  {plain(command)}", style="cyan"), soft_wrap=True)


def problems(console: Console, error: WhetError) -> None:
    """Print each problem of ``error`` as a bullet, in its own words; the console should be that of stderr."""
    bullet = "-" if console.options.ascii_only else "•"
    for problem in error.problems or (type(error).__name__,):
        line = Text(f"{bullet} ", style="red")
        # Soft wrap: a name in quotes stays in one piece, so that it can be copied and searched for.
        console.print(line.append(plain(problem)), soft_wrap=True)


def _shortened(value: object) -> str:
    """A value as a recipe spells it, cut in the middle where it is long: the ends of a path tell most."""
    match value:
        case None:
            text = "none"
        case bool():
            text = str(value).lower()
        case float():
            text = f"{value:g}"
        case Mapping():
            text = ", ".join(str(piece) if key == "name" else f"{key} {piece}" for key, piece in value.items())
        case list() | tuple():
            text = ", ".join(str(piece) for piece in value)
            text = text if len(text) <= LONGEST_VALUE else f"{len(value)} values"
        case _:
            text = str(value)
    text = plain(text).replace("\n", " ")
    if len(text) <= LONGEST_VALUE:
        return text
    end = LONGEST_VALUE // 2
    return f"{text[: LONGEST_VALUE - end - 1]}…{text[-end:]}"


def _scores_table(table: Results, width: int) -> Table:
    """Rows: this model, then the baselines. Columns: the chosen metric, then up to three more that fit."""
    rows = [("this model, test", table.test), ("this model, validation", table.validation)]
    baselines = [(f"{baseline_name(name, scores)}", scores) for name, scores in table.baselines.items()]
    rows = [(name, scores) for name, scores in (*rows, *baselines) if scores]
    names = list(dict.fromkeys((table.metric, *table.test, *table.validation)))
    width -= max((len(name) for name, _ in rows), default=0)
    columns: list[str] = []
    for name in names:
        needed = max(len(name), 7) + 3
        if not columns or (needed <= width and len(columns) < 4):
            columns.append(name)
            width -= needed
    drawn = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    drawn.add_column("")
    for position, name in enumerate(columns):
        drawn.add_column(Text(name), justify="right", no_wrap=True, style="bold" if position == 0 else "")
    for name, scores in rows:
        style = "" if name.startswith("this model") else "dim"
        drawn.add_row(
            Text(plain(name)), *(score(scores[key]) if key in scores else "-" for key in columns), style=style
        )
    return drawn


def _verdict(table: Results) -> Text:
    """One sentence: better than the best baseline, worse, or not told apart from it."""
    metric, sign = table.metric, 1 if table.more_is_better else -1
    known = {name: scores for name, scores in table.baselines.items() if metric in scores}
    if not table.test:
        return Text("There were no test rows, so nothing is said about new data.", style="yellow")
    if metric not in table.test or not known:
        return Text(f"There is no baseline to compare {plain(metric)} with.", style="yellow")
    best = max(known, key=lambda name: sign * known[name][metric])
    mine, other = table.test[metric], known[best][metric]
    gain = sign * (mine - other)
    baseline = f"the best baseline, {plain(baseline_name(best, known[best]))}"
    apart = _apart(abs(gain), mine, other, table)
    error = _standard_error(mine, other, table)
    size_of_error = "" if error is None else f"{100 * error:.1f} points, {table.test_rows:,} test rows"
    if error is not None and abs(gain) <= error:
        side = "better" if gain >= 0 else "worse"
        within = f"within one standard error ({size_of_error})"
        return Text(f"Not told apart from {baseline}: {side} by {apart}, {within}.", "yellow")
    sure = f" (standard error {size_of_error})" if size_of_error else ""
    if gain <= 0:
        told = f"WORSE than {baseline}, by {apart}{sure}" if gain < 0 else f"No better than {baseline}"
        return Text(f"{told}. That one needs no fine-tuning.", "red")
    return Text(f"Better than {baseline}, by {apart}{sure}.", "green")


def _predicted(table: Results) -> dict[str, str]:
    """What was expected of the run."""
    if table.predicted is None:
        return {}
    seconds, memory = table.predicted["seconds"], table.predicted["peak_memory_bytes"]
    lasting = "" if seconds is None else f"{duration(seconds)}, "
    return {"predicted": f"{lasting}{size(memory)} of memory at the peak"}


def _apart(gain: float, mine: float, other: float, table: Results) -> str:
    """A difference in words: in points where the metric is a share, in its own unit elsewhere."""
    if table.more_is_better and max(abs(mine), abs(other)) <= 1:
        return f"{100 * gain:.1f} points of {plain(table.metric)}"
    return f"{score(gain)} in {plain(table.metric)}"


def _standard_error(mine: float, other: float, table: Results) -> float | None:
    """Standard error of the difference of two shares of the same rows; None for other metrics.

    Takes the two as independent. Both are measured on the same rows, so the true error is mostly smaller.
    """
    if table.metric not in ROW_SHARES or table.test_rows <= 0:
        return None
    return math.sqrt((mine * (1 - mine) + other * (1 - other)) / table.test_rows)

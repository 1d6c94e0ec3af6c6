"""A comparison in a terminal: the leaderboard, the verdict in words, and what to type next."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whet.report.verdict import sentences
from whet.report.writing import duration, plain, score, share, size
from whet.run.comparison import Attempt, Candidate, Comparison

WIDE = 100
"""Columns of a terminal that shows more than the most important."""


def show(console: Console, comparison: Comparison, folder: Path) -> None:
    """Print who came where, the verdict, and what to type next."""
    console.print()
    console.print(_table(comparison, wide=console.width >= WIDE))
    console.print()
    headline, *others = sentences(comparison)
    verdict = comparison.verdict
    sure = verdict is not None and verdict.clear and verdict.beats_baselines
    console.print(Text(plain(headline), style="green" if sure else "yellow"))
    for sentence in others:
        console.print(Padding(Text(plain(sentence), style="dim"), (0, 0, 0, 2)))
    console.print()
    beside = f", {comparison.jobs} candidates at a time" if comparison.jobs > 1 else ""
    took = f"{duration(comparison.seconds)}{beside}"
    facts = {"budget": comparison.budget, "took": took, "saved in": str(folder)}
    for name, value in facts.items():
        console.print(Text(f"{name:<10}", style="dim").append(plain(value), style="not dim"), soft_wrap=True)
    console.print()
    console.print(Text("Next", style="bold"))
    for command in commands(comparison, folder):
        console.print(Text(f"  {plain(command)}", style="cyan"), soft_wrap=True)


def commands(comparison: Comparison, folder: Path) -> list[str]:
    """What to do with the result."""
    if comparison.verdict is None:
        return [f"whet resume {folder}"]
    chosen = next(one for one in comparison.candidates if one.name == comparison.verdict.cheapest)
    run = folder / chosen.attempts[0].folder
    return [f"whet evaluate {run} more.csv", f"whet predict {run} more.csv"]


def ranked(comparison: Comparison) -> list[Candidate]:
    """Finalists by their score, then those that were dropped, the latest first, then those that failed."""
    sign = -1 if comparison.more_is_better else 1
    finals = comparison.verdict.scores if comparison.verdict else {}

    def place(one: Candidate) -> tuple[int, float, float]:
        if one.name in finals:
            return 0, sign * finals[one.name].value, 0.0
        failed = any(attempt.state == "failed" for attempt in one.attempts)
        validation = _validation(one, comparison.metric)
        far = max(attempt.step / max(attempt.steps, 1) for attempt in one.attempts)
        return (2 if failed else 1), -far, sign * validation if validation is not None else 0.0

    return sorted(comparison.candidates, key=place)


def _table(comparison: Comparison, *, wide: bool) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    heads = [comparison.metric, "95 of 100", "validation", "steps", "time", "trains"]
    drawn.add_column("", no_wrap=True)
    for name in [*heads, *(["memory", "keeps"] if wide else [])]:
        drawn.add_column(Text(name), justify="right", no_wrap=True)
    for one in ranked(comparison):
        cells = _cells(one, comparison)
        drawn.add_row(*(Text(plain(cell)) for cell in (cells if wide else cells[:7])), style=_style(one, comparison))
    for name, scores in comparison.baselines.items():
        if comparison.metric in scores:
            told = [name, score(scores[comparison.metric])]
            drawn.add_row(*(Text(plain(cell)) for cell in told), style="dim")
    return drawn


def _cells(one: Candidate, comparison: Comparison) -> list[str]:
    interval = comparison.verdict.scores.get(one.name) if comparison.verdict else None
    validation = _validation(one, comparison.metric)
    attempt = max(one.attempts, key=lambda each: each.step)
    peak = max(each.peak_memory_bytes for each in one.attempts)
    return [
        one.name,
        score(interval.value) if interval else _state(one.attempts),
        f"{score(interval.low)} to {score(interval.high)}" if interval else "",
        "-" if validation is None else score(validation),
        f"{attempt.step:,}/{attempt.steps:,}",
        duration(sum(each.seconds for each in one.attempts)),
        share(one.trainable, one.total) if one.total else "-",
        size(peak) if peak else "-",
        size(one.stored_bytes) if one.stored_bytes else "-",
    ]


def _state(attempts: list[Attempt]) -> str:
    states = {attempt.state for attempt in attempts}
    return next((state for state in ("failed", "dropped", "running", "waiting") if state in states), "-")


def _style(one: Candidate, comparison: Comparison) -> str:
    verdict = comparison.verdict
    if verdict is None or one.name not in verdict.scores:
        return "dim"
    return "bold" if one.name in (verdict.best, verdict.cheapest) else ""


def _validation(one: Candidate, metric: str) -> float | None:
    known = [
        attempt.validation[metric] for attempt in one.attempts if attempt.validation and metric in attempt.validation
    ]
    return mean(known) if known else None

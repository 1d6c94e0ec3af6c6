"""Everything that the page about a comparison shows, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from whet.core import Finding
from whet.errors import RunFolderError
from whet.report import axes, svg
from whet.report.board import Place, board
from whet.report.contents import Curves, RunContents, evaluations, open_run
from whet.report.naming import PERCENT, baseline_name, metric_name, written
from whet.report.run_page import WHISKER, Chart, Figure, RunPage, run_page, short
from whet.report.sentences import Said, of_comparison
from whet.report.words import Words
from whet.report.writing import duration, share, size, valued
from whet.run import comparison as comparisons
from whet.run.comparison import Comparison

SHOWN_SETTINGS = 4
"""Settings of a candidate that the board shows."""
MOST_NAMES = 6
"""Candidates that the line below a chart names: the best of those that nothing beats."""


@dataclass(frozen=True)
class Row:
    """A line of the board: a candidate, or a baseline."""

    number: str
    name: str
    role: str
    value: str
    interval: str
    drawing: Markup | None
    settings: str
    took: str
    memory: str
    share: str
    note: str
    """Why it did not come to the end."""
    baseline: bool


@dataclass(frozen=True)
class ComparisonPage:
    """A comparison as its page shows it."""

    comparison: Comparison
    said: Said
    rows: list[Row]
    ends: tuple[str, str]
    unfinished: list[Row]
    figures: list[Figure]
    costs: list[Chart]
    curves: list[Chart]
    findings: list[Finding]
    best: RunPage | None
    """The best candidate's run."""
    command: str


def open_runs(folder: Path, comparison: Comparison) -> dict[str, RunContents]:
    """A finished run of each candidate that has one, by its name; folders that are gone are left out."""
    found = {}
    for candidate in comparison.candidates:
        for attempt in candidate.attempts:
            if attempt.state == "finished" and candidate.name not in found:
                try:
                    found[candidate.name] = open_run(folder / attempt.folder)
                except RunFolderError:
                    # Who has thrown away the weights of the losers still wants to read what they reached.
                    continue
    return found


def of_folder(folder: Path, t: Words) -> ComparisonPage:
    """The comparison of a folder; raises RunFolderError where there is none."""
    comparison = comparisons.read(folder)
    # Of those that were dropped there is no finished run, but they have come some way.
    logs = {one.name: evaluations(folder / one.attempts[0].folder) for one in comparison.candidates if one.attempts}
    return comparison_page(comparison, open_runs(folder, comparison), logs, t)


def comparison_page(
    comparison: Comparison, runs: Mapping[str, RunContents], logs: Mapping[str, Curves], t: Words
) -> ComparisonPage:
    """What to show of a comparison; ``runs`` are finished runs and ``logs`` evaluations by the name of a candidate."""
    places = board(comparison, runs)
    finished = [place for place in places if place.score is not None]
    scale = _scale(comparison, finished)
    rows = [_row(comparison, place, scale, t) for place in finished]
    rows += [_baseline(comparison, name, scale, t) for name in _baselines(comparison)]
    sign = 1 if comparison.more_is_better else -1
    order = [place.score.value for place in finished if place.score] + [
        comparison.baselines[name][comparison.metric] for name in _baselines(comparison)
    ]
    rows = [rows[i] for i in sorted(range(len(rows)), key=lambda i: -sign * order[i])]
    verdict = comparison.verdict
    best = runs.get(verdict.best) if verdict else (finished[0].run if finished else None)
    return ComparisonPage(
        comparison=comparison,
        said=of_comparison(comparison, t),
        rows=rows,
        ends=(short(comparison.metric, scale.low), short(comparison.metric, scale.high)),
        unfinished=[_row(comparison, place, scale, t) for place in places if place.score is None],
        figures=_figures(comparison, places, t),
        costs=_costs(comparison, finished, t),
        curves=_curves(comparison, places, logs, t),
        findings=list(verdict.findings) if verdict else [],
        best=None if best is None else run_page(best, t),
        command=comparison.command,
    )


def _baselines(comparison: Comparison) -> list[str]:
    return [name for name, scores in comparison.baselines.items() if comparison.metric in scores]


def _scale(comparison: Comparison, places: Sequence[Place]) -> axes.Scale:
    known = [place.score for place in places if place.score]
    values = [bound for one in known for bound in (one.low, one.value, one.high)]
    values += [comparison.baselines[name][comparison.metric] for name in _baselines(comparison)]
    return axes.spanning(values, *WHISKER, share=comparison.metric in PERCENT)


def _row(comparison: Comparison, place: Place, scale: axes.Scale, t: Words) -> Row:
    metric, score, candidate = comparison.metric, place.score, place.candidate
    style = {"best": "s2", "cheapest": "s3"}.get(place.role, "s1")
    value = written(metric, score.value) if score else ""
    interval, drawing = "", None
    if score is not None:
        if score.low < score.high:
            interval = f"{written(metric, score.low)} – {written(metric, score.high)}"
        low, high = (score.low, score.high) if interval else (None, None)
        drawing = svg.whisker(score.value, low, high, scale, f"{candidate.name}: {value} ({interval})", style)
    return Row(
        number=str(place.number),
        name=candidate.name,
        role=_role(place, t),
        value=value,
        interval=interval,
        drawing=drawing,
        settings=_settings(candidate.settings),
        took=duration(place.seconds),
        memory=size(place.peak_memory_bytes) if place.peak_memory_bytes else "–",
        share=share(candidate.trainable, candidate.total) if candidate.total else "–",
        note=_note(comparison, place, t),
        baseline=False,
    )


def _role(place: Place, t: Words) -> str:
    roles = {"best": t("best"), "cheapest": t("cheapest inside the noise"), "same": t("inside the noise"), "": ""}
    return roles[place.role]


def _settings(settings: Mapping[str, object]) -> str:
    told = [f"{path.rpartition('.')[2]} {valued(value)}" for path, value in settings.items()]
    return ", ".join(told[:SHOWN_SETTINGS])


def _note(comparison: Comparison, place: Place, t: Words) -> str:
    """How far a candidate came that was not measured."""
    states = {
        "waiting": t("has not begun"),
        "running": t("is running"),
        "dropped": t("dropped"),
        "failed": t("failed"),
        "finished": t("not measured"),
    }
    told = states[place.state]
    if place.steps:
        told += ", " + t("step {step} of {steps}", step=f"{place.step:,}", steps=f"{place.steps:,}")
    if place.validation is not None:
        told += ", " + t("{value} on the validation rows", value=written(comparison.metric, place.validation))
    return f"{told}: {place.reason}" if place.reason else told


def _baseline(comparison: Comparison, name: str, scale: axes.Scale, t: Words) -> Row:
    scores = comparison.baselines[name]
    value = written(comparison.metric, scores[comparison.metric])
    drawing = svg.whisker(scores[comparison.metric], None, None, scale, value, "rest")
    told = t(baseline_name(name, scores))
    return Row("", told, t("baseline"), value, "", drawing, "", "", "", "", "", baseline=True)


def _figures(comparison: Comparison, places: Sequence[Place], t: Words) -> list[Figure]:
    finished = sum(place.score is not None for place in places)
    seeds = max((place.seeds for place in places), default=0)
    rows = comparison.rows.get(comparison.measured, 0)
    side = t("test rows") if comparison.measured == "test" else t("validation rows")
    budget = comparison.budget or t("all runs together")
    beside = t("{count} candidates at a time", count=comparison.jobs) if comparison.jobs > 1 else ""
    return [
        Figure(t("Candidates"), str(len(places)), t("{count} came to the end", count=finished)),
        Figure(t("Seeds"), str(seeds), t("of each finalist, at most")),
        Figure(t("Took"), duration(comparison.seconds), "; ".join(filter(None, (budget, beside)))),
        Figure(t("Measured on"), f"{rows:,}", side),
    ]


def _costs(comparison: Comparison, places: Sequence[Place], t: Words) -> list[Chart]:
    """Score against each cost; a chart of fewer than two candidates tells nothing."""
    metric = comparison.metric
    name = t(metric_name(metric))
    kinds = [
        (t("{metric} and time", metric=name), t("seconds of a run"), [place.seconds for place in places]),
        (
            t("{metric} and memory", metric=name),
            t("MiB at the peak"),
            [place.peak_memory_bytes / 2**20 for place in places],
        ),
        (
            t("{metric} and trainable share", metric=name),
            t("% of the parameters"),
            [100 * place.share for place in places],
        ),
    ]
    learned = [_training_rows(place) for place in places]
    if len(set(learned) - {0}) > 1:
        # Of runs on more and more rows this is the learning curve.
        kinds.append((t("{metric} and training rows", metric=name), t("training rows"), learned))
    found = []
    for title, across, costs in kinds:
        dots = [
            svg.Dot(place.candidate.name, cost, place.score.value, str(place.number), _style(place))
            for place, cost in zip(places, costs, strict=True)
            if place.score is not None and cost > 0 and math.isfinite(cost)
        ]
        if len(dots) < 2:
            continue
        front = svg.pareto([(dot.x, dot.y) for dot in dots], more_is_better=comparison.more_is_better)
        names = ", ".join(f"{dots[i].mark} {dots[i].name}" for i in front[-MOST_NAMES:])
        drawing = svg.scatter(
            dots,
            alt=f"{title}. {names}.",
            across=across,
            more_is_better=comparison.more_is_better,
            tell=lambda value: short(metric, value),
        )
        found.append(Chart(title, drawing, t("Nothing is cheaper and better: {names}.", names=names)))
    return found


def _training_rows(place: Place) -> float:
    """How many rows a candidate learned from; 0 where that is not known."""
    return 0.0 if place.run is None else float(place.run.data["splits"].get("train", {}).get("rows", 0))


def _style(place: Place) -> str:
    return {"best": "s2", "cheapest": "s3"}.get(place.role, "s1")


def _curves(comparison: Comparison, places: Sequence[Place], logs: Mapping[str, Curves], t: Words) -> list[Chart]:
    """The validation metric of all candidates; the best and the cheapest stand out."""
    metric = comparison.metric
    curves, named = [], {}
    for place in places:
        log = logs.get(place.candidate.name)
        if log is None or np.isfinite(values := log.of(metric)).sum() < 2:
            continue
        style = {"best": "s2", "cheapest": "s3"}.get(place.role, "rest")
        curves.append(svg.Curve(place.candidate.name, log.evaluated, values, style, dots=style != "rest"))
        named[style] = place.candidate.name
    if not curves:
        return []
    # What stands out is drawn last, above the others.
    curves.sort(key=lambda curve: ("rest", "s3", "s2").index(curve.style))
    name = t(metric_name(metric))
    told = [t("Orange: {name}.", name=named["s2"])] if "s2" in named else []
    told += [t("Green: {name}.", name=named["s3"])] if "s3" in named else []
    told += [t("Grey: the others.")] if "rest" in named else []
    alt = t("{metric} on the validation rows over the steps.", metric=name)
    drawing = svg.lines(curves, alt=alt, across=t("steps"), tell=lambda value: short(metric, value))
    return [Chart(t("{metric}, validation rows", metric=name), drawing, " ".join(told))]

"""Everything that the page about one run shows, as values: what is shown is decided here, how it looks in templates."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from whet.core import Choice, Finding, Scores
from whet.report import axes, svg
from whet.report.answers_page import AnswersPage, answers_page
from whet.report.contents import RunContents
from whet.report.intervals import intervals
from whet.report.judged import judged
from whet.report.naming import PERCENT, baseline_name, metric_name, written
from whet.report.sentences import Said, of_run
from whet.report.words import Words
from whet.report.writing import count, duration, share, size
from whet.run.comparison import Interval
from whet.run.folder import RECIPE

FEW_STEPS = 40
"""Up to so many steps the loss is drawn as it is; a running mean is drawn over more of them."""
KEPT = 0.95
"""Of the running mean, at each of very many steps."""
WHISKER = (4.0, 96.0)
"""Ends of the line of intervals, in percent of its width."""


@dataclass(frozen=True)
class Standing:
    """A model or a baseline with its score, on the line of all of them."""

    name: str
    value: str
    drawing: Markup
    own: bool


@dataclass(frozen=True)
class Figure:
    """A number that is worth large letters."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Chart:
    """A drawing with a heading and a line below it."""

    title: str
    drawing: Markup
    caption: str


@dataclass(frozen=True)
class ScoreRow:
    """A metric with its value for the model and each baseline."""

    name: str
    value: str
    interval: str
    others: list[str]


@dataclass(frozen=True)
class Planned:
    """What was predicted of a run, and what was measured."""

    name: str
    predicted: str
    measured: str
    difference: str


@dataclass(frozen=True)
class RunPage:
    """A run as its page shows it."""

    run: RunContents
    said: Said
    known: Mapping[str, Interval]
    standing: list[Standing]
    ends: tuple[str, str]
    """What the line of all scores reaches from and to."""
    figures: list[Figure]
    charts: list[Chart]
    score_names: list[str]
    """Heads of the columns of scores."""
    scores: list[ScoreRow]
    answers: AnswersPage
    findings: list[Finding]
    decided: list[Choice]
    """Inferred from data, model and machine."""
    given: list[Choice]
    defaults: list[Choice]
    planned: list[Planned]
    data: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    """About the machine and the packages."""
    command: str


def run_page(run: RunContents, t: Words) -> RunPage:
    """What to show of a run."""
    answers = judged(run)
    known = {} if answers is None else intervals(answers, run.scores)
    standing, ends = _standing(run, known, t)
    names, rows = _scores(run, known, t)
    by_origin: dict[str, list[Choice]] = {"inferred": [], "given": [], "default": []}
    for choice in run.choices:
        by_origin[choice.origin].append(choice)
    return RunPage(
        run=run,
        said=of_run(run, known, t),
        known=known,
        standing=standing,
        ends=ends,
        figures=_figures(run, t),
        charts=charts(run, t),
        score_names=names,
        scores=rows,
        answers=answers_page(run, answers, t),
        findings=run.findings,
        decided=by_origin["inferred"],
        given=by_origin["given"],
        defaults=by_origin["default"],
        planned=_planned(run, t),
        data=_data(run, t),
        facts=_facts(run, t),
        command=f"whet train {shlex.quote(str(run.path / RECIPE))} --out {shlex.quote(f'{run.path}-again')}",
    )


def charts(run: RunContents, t: Words) -> list[Chart]:
    """Loss, validation metric and learning rate over the steps; those of which nothing is known are left out."""
    curves, metric = run.curves, run.metric
    bands = [svg.Band(stage.name, stage.first, stage.last) for stage in curves.stages]
    across = t("steps")
    found = []
    if len(curves.steps) > 1:
        drawn = [svg.Curve(t("Loss"), curves.steps, curves.losses, "s1")]
        caption = ""
        if len(curves.steps) > FEW_STEPS:
            keep = min(KEPT, 1 - FEW_STEPS / 4 / len(curves.steps))
            mean = svg.smoothed(curves.losses, keep)
            faint = svg.Curve(t("Loss"), curves.steps, curves.losses, "faint")
            drawn = [faint, svg.Curve(t("Loss"), curves.steps, mean, "s1")]
            caption = t("Faint: each step. Bold: the running mean.")
        first, last = (axes.written(float(f"{one:.3g}")) for one in (drawn[-1].y[0], drawn[-1].y[-1]))
        alt = t(
            "Training loss over {steps} steps, from {first} to {last}.", steps=len(curves.steps), first=first, last=last
        )
        found.append(Chart(t("Training loss"), svg.lines(drawn, alt=alt, across=across, bands=bands), caption))
    values = curves.of(metric)
    if np.isfinite(values).sum() > 1:
        found.append(_validation(run, values, bands, t))
    if len(curves.steps) > 1:
        drawn = [svg.Curve(t("Learning rate"), curves.steps, curves.rates, "s3")]
        highest = axes.written(float(curves.rates.max()))
        alt = t("Learning rate over the steps, {highest} at most.", highest=highest)
        chart = svg.lines(drawn, alt=alt, across=across, bands=bands, from_zero=True)
        found.append(Chart(t("Learning rate"), chart, t("At most {highest}.", highest=highest)))
    return found


def _validation(run: RunContents, values: np.ndarray, bands: Sequence[svg.Band], t: Words) -> Chart:
    curves, metric = run.curves, run.metric
    name = t(metric_name(metric))
    best = run.metrics.get("best_step")
    drawn = [svg.Curve(name, curves.evaluated, values, "s2", dots=len(values) <= svg.HOVERED)]
    caption = ""
    at = np.flatnonzero(curves.evaluated == best) if best is not None else np.array([], dtype=np.int64)
    if len(at):
        caption = t(
            "Best after step {step}: {value}; these weights were kept.",
            step=f"{best:,}",
            value=written(metric, values[at[-1]]),
        )
        drawn.append(svg.Curve(t("best"), curves.evaluated[at[-1:]], values[at[-1:]], "best", dots=True))
    alt = t("{metric} on the validation rows over the steps.", metric=name) + f" {caption}"
    drawing = svg.lines(drawn, alt=alt, across=t("steps"), bands=bands, tell=lambda value: short(metric, value))
    return Chart(t("{metric}, validation rows", metric=name), drawing, caption)


def short(metric: str, value: float) -> str:
    """A value of a metric beside an axis."""
    told = written(metric, value)
    return told.replace(".0%", "%") if told.endswith("%") else axes.written(float(f"{value:.4g}"))


def _standing(run: RunContents, known: Mapping[str, Interval], t: Words) -> tuple[list[Standing], tuple[str, str]]:
    metric = run.metric
    own = known.get(metric)
    others = [(name, scores) for name, scores in run.baselines.items() if metric in scores]
    values = [run.scores[metric], *(scores[metric] for _, scores in others)]
    scale = axes.spanning([*values, *((own.low, own.high) if own else ())], *WHISKER, share=metric in PERCENT)
    told = written(metric, run.scores[metric])
    if own:
        told = f"{told} ({written(metric, own.low)} – {written(metric, own.high)})"
    drawing = svg.whisker(run.scores[metric], own.low if own else None, own.high if own else None, scale, told, "s1")
    rows = [Standing(t("this model"), written(metric, run.scores[metric]), drawing, own=True)]
    for name, scores in others:
        value = written(metric, scores[metric])
        rows.append(
            Standing(
                t(baseline_name(name, scores)),
                value,
                svg.whisker(scores[metric], None, None, scale, value, "rest"),
                own=False,
            )
        )
    return rows, (short(metric, scale.low), short(metric, scale.high))


def _figures(run: RunContents, t: Words) -> list[Figure]:
    metrics = run.metrics
    trainable, total = int(metrics.get("trainable_parameters", 0)), int(metrics.get("total_parameters", 0))
    steps, seconds = len(run.curves.steps), float(metrics.get("seconds", 0.0))
    rows = int(run.data["splits"].get("train", {}).get("rows", 0))
    return [
        Figure(
            t("Trained"),
            share(trainable, total),
            t("{some} of {all} parameters", some=count(trainable), all=count(total)),
        ),
        Figure(t("Took"), duration(seconds), t("{steps} steps", steps=f"{steps:,}")),
        Figure(t("Peak memory"), size(int(metrics.get("peak_memory_bytes", 0))), t("of the whole process, at most")),
        Figure(t("Learned from"), f"{rows:,}", t("training rows")),
    ]


def _scores(run: RunContents, known: Mapping[str, Interval], t: Words) -> tuple[list[str], list[ScoreRow]]:
    """All metrics: of the measured rows, of the validation rows where these are others, and of the baselines."""
    columns: dict[str, Scores] = {}
    if run.measured == "test":
        columns[t("validation rows")] = run.metrics.get("validation") or {}
    columns |= {t(baseline_name(name, scores)): scores for name, scores in run.baselines.items()}
    rows = []
    for metric in sorted(run.scores, key=lambda metric: metric != run.metric):
        own = known.get(metric)
        interval = f"{written(metric, own.low)} – {written(metric, own.high)}" if own else ""
        others = [written(metric, scores[metric]) if metric in scores else "" for scores in columns.values()]
        rows.append(ScoreRow(t(metric_name(metric)), written(metric, run.scores[metric]), interval, others))
    side = t("test rows") if run.measured == "test" else t("validation rows")
    heads = [side, *([t("95% interval")] if known else []), *columns]
    return heads, rows


def _planned(run: RunContents, t: Words) -> list[Planned]:
    """What a plan said before the run beside what the run took."""
    predicted = run.metrics.get("predicted")
    if not isinstance(predicted, Mapping):
        return []
    rows = []
    names = {"peak_memory_bytes": t("Peak memory"), "seconds": t("Time")}
    for key, name in names.items():
        told, measured = predicted.get(key), run.metrics.get(key)
        if isinstance(told, int | float) and isinstance(measured, int | float) and measured and math.isfinite(told):
            say = _said_size if key == "peak_memory_bytes" else duration
            apart = f"{100 * (told - measured) / measured:+.1f}%"
            rows.append(Planned(name, say(told), say(measured), apart))
    return rows


def _said_size(count_of_bytes: float) -> str:
    return size(int(count_of_bytes))


def _data(run: RunContents, t: Words) -> list[tuple[str, str]]:
    columns = run.data["columns"]
    sides = {"train": t("training rows"), "validation": t("validation rows"), "test": t("test rows")}
    facts = [
        (sides.get(side, side), t("{rows} from {source}", rows=f"{int(split['rows']):,}", source=split["source"]))
        for side, split in sorted(run.data["splits"].items(), key=lambda item: list(sides).index(item[0]))
    ]
    facts.append((t("It reads"), ", ".join(columns["text"])))
    if columns["label"]:
        facts.append((t("It answers"), ", ".join(columns["label"])))
    return facts


def _facts(run: RunContents, t: Words) -> list[tuple[str, str]]:
    environment = run.environment
    arithmetic = environment.get("arithmetic") or {}
    packages = environment.get("packages") or {}
    facts = [
        (t("Machine"), f"{environment.get('machine', '?')}, {environment.get('processors', '?')} {t('processors')}"),
        (t("System"), str(environment.get("platform", "?"))),
        (t("Python"), str(environment.get("python", "?"))),
    ]
    if arithmetic:
        told = ", ".join(f"{key} {value}" for key, value in arithmetic.items())
        facts.append((t("Arithmetic"), told))
    facts += [(str(name), str(version)) for name, version in packages.items()]
    return facts

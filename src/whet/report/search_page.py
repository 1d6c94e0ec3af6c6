"""Everything that the page about a search for settings shows, as values, whether it has come to its end or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whet.report import svg
from whet.report.axes import Scale
from whet.report.naming import metric_name, written
from whet.report.run_page import Chart, Figure
from whet.report.run_page import short as briefly
from whet.report.search import ranked, short, spelled
from whet.report.sentences import Said
from whet.report.words import Words
from whet.report.writing import duration
from whet.run.tuning import LATE, WORSE, Trial, Tuning

DECADE = 10.0
"""A space that is this many times as wide as it begins is drawn by powers of ten."""


@dataclass(frozen=True)
class Row:
    """A trial in the table of all."""

    number: int
    value: str
    state: str
    took: str
    settings: str
    note: str
    """Why it did not come to the end."""
    best: bool


@dataclass(frozen=True)
class SearchPage:
    """A search as its page shows it."""

    tuning: Tuning
    said: Said
    figures: list[Figure]
    course: list[Chart]
    """How the search went, and how its trials learned."""
    importance: list[tuple[str, float]]
    """Settings with the share of the differences that each explains, the largest first."""
    slices: list[Chart]
    """Score by each setting."""
    rows: list[Row]
    spaces: list[tuple[str, str]]
    command: str


def search_page(tuning: Tuning, t: Words) -> SearchPage:
    """What to show of a search."""
    return SearchPage(
        tuning=tuning,
        said=_said(tuning, t),
        figures=_figures(tuning, t),
        course=[chart for chart in (_history(tuning, t), _curves(tuning, t)) if chart is not None],
        importance=sorted(((short(path), one) for path, one in tuning.importance.items()), key=lambda one: -one[1]),
        slices=_slices(tuning, t),
        rows=[_row(trial, tuning, t) for trial in ranked(tuning)],
        spaces=list(tuning.plan.spaces.items()),
        command=tuning.command,
    )


def _said(tuning: Tuning, t: Words) -> Said:
    best = next((trial for trial in tuning.trials if trial.number == tuning.best), None)
    if best is None or best.score is None:
        return Said("open", t("No trial has come to its end yet"), [])
    metric = tuning.metric
    headline = t(
        "Trial {number} is the best: {metric} {value} on the validation rows",
        number=best.number,
        metric=t(metric_name(metric)),
        value=written(metric, best.score),
    )
    told = [spelled(best.settings)] if best.settings else []
    if best.number:
        told.append(t("As the best of {count} it was lucky, too: expect less on new rows.", count=len(tuning.trials)))
    mine, first = (tuning.tested.get(number, {}).get(metric) for number in (best.number, 0))
    if mine is not None:
        told.append(t("On the test rows, which no trial has seen, it reaches {value}.", value=written(metric, mine)))
        if best.number and first is not None:
            told.append(t("Trial 0, the recipe as it was, reaches {value} there.", value=written(metric, first)))
    # The recipe as it was is what it began with.
    return Said("good" if best.number else "open", headline, told)


def _figures(tuning: Tuning, t: Words) -> list[Figure]:
    finished = sum(trial.state == "finished" for trial in tuning.trials)
    plan = tuning.plan
    beside = t("{count} beside each other", count=plan.jobs) if plan.jobs > 1 else t("one after the other")
    return [
        Figure(t("Trials"), str(len(tuning.trials)), t("{count} came to the end", count=finished)),
        Figure(t("Settings"), str(len(plan.spaces)), t("are searched")),
        Figure(t("Took"), duration(tuning.seconds), beside),
        Figure(t("Scored on"), f"{tuning.rows.get('validation', 0):,}", t("validation rows")),
    ]


def _history(tuning: Tuning, t: Words) -> Chart | None:
    finished = [trial for trial in tuning.trials if trial.score is not None]
    if not finished:
        return None
    broken = [trial for trial in tuning.trials if trial.score is None and trial.course]
    better = np.maximum if tuning.more_is_better else np.minimum
    so_far = better.accumulate([_score(trial) for trial in finished])
    last = tuning.trials[-1].number
    # A step up stands at the trial that made it.
    across = np.repeat(np.array([*(trial.number for trial in finished), last], dtype=float), 2)[1:-1]
    best = svg.Curve(t("best so far"), across, np.repeat(so_far, 2), "s2")
    title = t("{metric} of each trial", metric=t(metric_name(tuning.metric)))
    drawing = svg.points(
        [*_points(broken, "rest", tuning), *_points(finished, "s1", tuning)],
        svg.axis(-0.5, max(1.0, last + 0.5)),
        alt=title,
        across=t("trial"),
        tell=lambda value: briefly(tuning.metric, value),
        curve=best,
    )
    told = [t("Orange: the best so far.")] + ([t("Grey: broken off.")] if broken else [])
    return Chart(title, drawing, " ".join(told))


def _curves(tuning: Tuning, t: Words) -> Chart | None:
    """How the trials learned; the best one stands out, and is drawn last, above the others."""
    curved = sorted((one for one in tuning.trials if len(one.course) > 1), key=lambda one: one.number == tuning.best)
    if not curved:
        return None
    curves = []
    for trial in curved:
        share, values = np.array(trial.course, dtype=float).T
        style = "s2" if trial.number == tuning.best else "rest"
        curves.append(svg.Curve(str(trial.number), 100 * share, values, style, dots=style == "s2"))
    title = t("{metric} over the run", metric=t(metric_name(tuning.metric)))
    drawing = svg.lines(curves, alt=title, across=t("% of the run"), tell=lambda value: briefly(tuning.metric, value))
    return Chart(title, drawing, t("Orange: the best trial.") if curved[-1].number == tuning.best else "")


def _slices(tuning: Tuning, t: Words) -> list[Chart]:
    finished = [trial for trial in tuning.trials if trial.score is not None]
    found = []
    for path, space in tuning.plan.spaces.items():
        shown = [trial for trial in finished if path in trial.settings]
        # A path with a star stands for several settings.
        if len(finished) > 1 and "*" not in path and "*" not in space and shown:
            x, places = _across(space, [trial.settings[path] for trial in shown])
            dots = [
                svg.Point(place, _score(trial), _told(trial, tuning), "s2" if trial.number == tuning.best else "s1")
                for place, trial in zip(places, shown, strict=True)
            ]
            alt = t("{metric} by {setting}", metric=t(metric_name(tuning.metric)), setting=short(path))
            drawing = svg.points(dots, x, alt=alt, across=short(path), tell=lambda value: briefly(tuning.metric, value))
            found.append(Chart(short(path), drawing, ""))
    return found


def _across(space: str, values: Sequence[object]) -> tuple[Scale, list[float]]:
    """The axis of a setting, and where its values stand on it: numbers of a stretch, or names."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if ".." in space and len(numbers) == len(values):
        ends = [*map(float, space.split("..")), *numbers]
        low, high = min(ends), max(ends)
        return svg.axis(low, high, logarithmic=low > 0 and high >= DECADE * low), numbers
    known = [_word(value) for value in values]
    named = [word.strip() for word in space.split(",")]
    names = [name for name in named if name in known]
    names += [name for name in dict.fromkeys(known) if name not in names]
    return svg.named_axis(names), [float(names.index(word)) for word in known]


def _row(trial: Trial, tuning: Tuning, t: Words) -> Row:
    states: Mapping[str, str] = {
        "running": t("is running"),
        "finished": t("finished"),
        "pruned": t("broken off"),
        "failed": t("failed"),
    }
    reasons = {WORSE: t("worse than the median of the others at this point"), LATE: t("the time was used up")}
    return Row(
        number=trial.number,
        value="" if trial.score is None else written(tuning.metric, trial.score),
        state=states[trial.state],
        took=duration(trial.seconds),
        settings=spelled(trial.settings),
        note=reasons.get(trial.reason, trial.reason),
        best=trial.number == tuning.best,
    )


def _points(trials: Sequence[Trial], style: str, tuning: Tuning) -> list[svg.Point]:
    return [svg.Point(float(one.number), _score(one), _told(one, tuning), style) for one in trials]


def _told(trial: Trial, tuning: Tuning) -> str:
    return f"{trial.number}: {written(tuning.metric, _score(trial))}, {spelled(trial.settings)}"


def _score(trial: Trial) -> float:
    """At the end, or where a trial was broken off."""
    return trial.course[-1][1] if trial.score is None else trial.score


def _word(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"{value}"

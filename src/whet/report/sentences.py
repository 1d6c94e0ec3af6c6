"""The verdict in plain words: what is better than what, and by more than noise?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from whet.report.contents import RunContents
from whet.report.intervals import CERTAIN
from whet.report.naming import (
    PERCENT,
    ROW_SHARES,
    baseline_name,
    metric_name,
    more_is_better,
    written,
    written_difference,
)
from whet.report.verdict import sentences as in_words
from whet.report.words import Words
from whet.run.comparison import Comparison, Interval


@dataclass(frozen=True)
class Said:
    """A verdict."""

    tone: Literal["good", "open", "bad"]
    headline: str
    sentences: list[str]


def of_run(run: RunContents, known: Mapping[str, Interval], t: Words) -> Said:
    """A run beside its baselines."""
    metric = run.metric
    side = t("test rows") if run.measured == "test" else t("validation rows")
    value, rows = written(metric, run.scores[metric]), f"{run.rows:,}"
    sentences = [
        t("{metric}: {value} on {rows} {side}.", metric=t(metric_name(metric)), value=value, rows=rows, side=side)
    ]
    if metric in known:
        low, high = (written(metric, bound) for bound in (known[metric].low, known[metric].high))
        sentences.append(
            t(
                "On other rows of the same kind it would lie between {low} and {high}, 95 times of 100.",
                low=low,
                high=high,
            )
        )
    tone, headline, beside = _beside(run, known, t)
    warning = [] if run.measured == "test" else [_of_validation(t)]
    return Said(tone, headline, [*sentences, *beside, *warning])


def apart(metric: str, difference: float, t: Words) -> str:
    """A difference with its unit: points where the metric is a share."""
    size = written_difference(metric, difference)
    return t("{size} points", size=size) if metric in PERCENT else size


def _beside(
    run: RunContents, known: Mapping[str, Interval], t: Words
) -> tuple[Literal["good", "open", "bad"], str, list[str]]:
    metric, sign = run.metric, 1 if more_is_better(run.metric) else -1
    others = {name: scores for name, scores in run.baselines.items() if metric in scores}
    if not others:
        return "open", t("There is no baseline to compare it with"), []
    best = max(others, key=lambda name: sign * others[name][metric])
    gain = sign * (run.scores[metric] - others[best][metric])
    values = {
        "baseline": t(baseline_name(best, others[best])),
        "value": written(metric, others[best][metric]),
        "apart": apart(metric, gain, t),
    }
    if gain == 0:
        sentence = t("The best baseline ({baseline}) reaches as much.", **values)
    elif gain > 0:
        sentence = t("The best baseline ({baseline}) reaches {value}: {apart} worse.", **values)
    else:
        sentence = t("The best baseline ({baseline}) reaches {value}: {apart} better.", **values)
    error = _error(run, known, others[best][metric])
    if error is None:
        noise = t("How far noise reaches is not known for this metric: its value is of all rows together.")
        headline = t("Better than every baseline") if gain > 0 else t("No better than a baseline")
        return ("open" if gain > 0 else "bad"), headline, [sentence, noise]
    noise = t("Noise alone would make a difference of {apart} now and then.", apart=apart(metric, CERTAIN * error, t))
    if abs(gain) <= CERTAIN * error:
        headline = (
            t("Ahead of every baseline, but not by more than noise")
            if gain > 0
            else t("Not told apart from a baseline")
        )
        return "open", headline, [sentence, noise]
    if gain > 0:
        return "good", t("Better than every baseline, by more than noise"), [sentence, noise]
    return "bad", t("Worse than a baseline, which needs no fine-tuning"), [sentence, noise]


def _error(run: RunContents, known: Mapping[str, Interval], other: float) -> float | None:
    """Standard error of the difference to a baseline, taken as independent: the true one is mostly smaller."""
    if run.metric not in known:
        return None
    own = (known[run.metric].high - known[run.metric].low) / (2 * CERTAIN)
    if run.metric in ROW_SHARES and run.rows:
        return math.hypot(own, math.sqrt(other * (1 - other) / run.rows))
    return math.hypot(own, own)


def _of_validation(t: Words) -> str:
    return t("There were no test rows. These rows chose the best weights, so new ones will be answered somewhat worse.")


def of_comparison(comparison: Comparison, t: Words) -> Said:
    """Which candidate is best, by how much more than noise, and which is the cheapest of those beside it."""
    verdict = comparison.verdict
    if verdict is None:
        finished = sum(any(a.state == "finished" for a in one.attempts) for one in comparison.candidates)
        told = t("{finished} of {all} candidates came to the end.", finished=finished, all=len(comparison.candidates))
        if finished == len(comparison.candidates):
            return Said("open", t("No verdict: the rows are not the same"), [t(_DIFFERENT_ROWS)])
        return Said("open", t("No verdict yet"), [told])
    sentences = in_words(comparison, "ko" if t.language == "ko" else "en")
    if not verdict.beats_baselines:
        headline = t("{name} leads, but does not beat the baselines", name=verdict.best)
        return Said("bad" if verdict.clear else "open", headline, sentences)
    if verdict.clear:
        return Said("good", t("{name} is the best, by more than noise", name=verdict.best), sentences)
    if not verdict.against:
        return Said("good", t("{name} alone came to the end, and beats the baselines", name=verdict.best), sentences)
    return Said("open", t("No winner: the best are inside each other's noise"), sentences)


_DIFFERENT_ROWS = (
    "These runs were measured on different rows, so their scores cannot be told apart; give them the same test rows."
)

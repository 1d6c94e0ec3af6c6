"""Finished runs side by side, in the form of a comparison: which is best, and which are inside its noise."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from whet.errors import RunFolderError
from whet.report.contents import RunContents
from whet.report.intervals import drawn, intervals, sums
from whet.report.judged import judged
from whet.report.naming import more_is_better
from whet.run.comparison import Against, Attempt, Candidate, Comparison, Interval, Verdict


def beside(runs: Sequence[RunContents]) -> tuple[Comparison, dict[str, RunContents]]:
    """Runs as a comparison, and each by the name of its candidate.

    There is no verdict where the runs were measured on different rows. Raises RunFolderError where they have no metric
    in common.
    """
    metric = _metric(runs)
    named = dict(zip(_names(runs), runs, strict=True))
    same_rows = len({run.fingerprint for run in runs}) == 1 and len({run.measured for run in runs}) == 1
    first = runs[0]
    comparison = Comparison(
        data=", ".join(dict.fromkeys(str(run.data["splits"]["train"]["source"]) for run in runs)),
        metric=metric,
        more_is_better=more_is_better(metric),
        budget="",
        command=f"whet report {' '.join(shlex.quote(str(run.path)) for run in runs)}",
        rows={side: int(split["rows"]) for side, split in first.data["splits"].items()},
        measured=first.measured,
        candidates=[_candidate(name, run) for name, run in named.items()],
        baselines=first.baselines if same_rows else {},
        seconds=sum(float(run.metrics.get("seconds", 0.0)) for run in runs),
        verdict=_verdict(named, metric) if same_rows else None,
    )
    return comparison, named


def _metric(runs: Sequence[RunContents]) -> str:
    common = [metric for metric in (runs[0].metric, *runs[0].scores) if all(metric in run.scores for run in runs)]
    if not common:
        told = "; ".join(f"{run.path}: {', '.join(run.scores)}" for run in runs)
        raise RunFolderError(f"these runs have no metric in common, so they cannot stand side by side: {told}")
    return common[0]


def _names(runs: Sequence[RunContents]) -> list[str]:
    """Names of folders, with the folders above them where that tells two apart."""
    paths = [run.path.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise RunFolderError("a run is named twice; name each once")
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = [str(Path(*path.parts[-depth:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _candidate(name: str, run: RunContents) -> Candidate:
    metrics, training = run.metrics, run.recipe["training"]
    done = int(run.curves.steps[-1]) if len(run.curves.steps) else 0
    attempt = Attempt(
        seed=int(run.recipe.get("seed", 0)),
        folder=str(run.path),
        state="finished",
        step=done,
        steps=done,
        validation=metrics.get("validation"),
        test=metrics.get("test") or None,
        seconds=float(metrics.get("seconds", 0.0)),
        peak_memory_bytes=int(metrics.get("peak_memory_bytes", 0)),
    )
    options = {f"method.{key}": value for key, value in run.recipe["method"].items() if key != "name"}
    told = {f"training.{key}": training[key] for key in ("learning_rate", "epochs", "steps") if training.get(key)}
    model = str(run.recipe.get("model") or "")
    return Candidate(
        name=name,
        method=run.method,
        model=model,
        settings={**told, **options},
        attempts=[attempt],
        trainable=int(metrics.get("trainable_parameters", 0)),
        total=int(metrics.get("total_parameters", 0)),
    )


def _verdict(named: Mapping[str, RunContents], metric: str) -> Verdict:
    sign = 1 if more_is_better(metric) else -1
    values = {name: run.scores[metric] for name, run in named.items()}
    best = max(values, key=lambda name: sign * values[name])
    # A value without its noise, where the rows do not tell that.
    scores = {name: Interval(value, value, value) for name, value in values.items()}
    draws: dict[str, tuple[np.ndarray, int]] = {}
    for name, run in named.items():
        answers = judged(run)
        found = None if answers is None else sums(answers)
        if answers is None or found is None:
            continue
        known = intervals(answers, {metric: values[name]})
        if metric in known:
            scores[name] = known[metric]
            draws[name] = drawn(found)[metric], found.count
    against = [
        _against(name, sign * (values[best] - value), sign, draws.get(best), draws.get(name))
        for name, value in values.items()
        if name != best
    ]
    inside = [best, *(one.candidate for one in against if one.same)]
    seconds = {name: float(named[name].metrics.get("seconds", 0.0)) for name in inside}
    return Verdict(
        best=best,
        clear=bool(against) and not any(one.same for one in against),
        cheapest=min(inside, key=lambda name: seconds[name]),
        scores=scores,
        against=against,
        beats_baselines=_beats(named[best], metric, scores[best], sign),
        findings=[],
    )


def _against(
    name: str,
    difference: float,
    sign: int,
    best: tuple[np.ndarray, int] | None,
    other: tuple[np.ndarray, int] | None,
) -> Against:
    """The paired difference; without draws of the same rows nothing is told apart."""
    if best is None or other is None or best[1] != other[1]:
        return Against(name, Interval(difference, difference, difference), None, same=True)
    low, high = (float(bound) for bound in np.quantile(sign * (best[0] - other[0]), (0.025, 0.975)))
    return Against(name, Interval(difference, low, high), None, same=low <= 0)


def _beats(run: RunContents, metric: str, own: Interval, sign: int) -> bool:
    """Whether the whole interval lies on the right side of every baseline."""
    known = [scores[metric] for scores in run.baselines.values() if metric in scores]
    worst = own.low if sign > 0 else own.high
    return bool(known) and all(sign * worst > sign * value for value in known)

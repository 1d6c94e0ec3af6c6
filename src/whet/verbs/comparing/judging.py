"""From what models said about the same rows to a verdict: which is best, by how much more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whet.core import Examples, Kept, Ragged, Scores
from whet.data.transcripts import SpokenClips
from whet.errors import RunFolderError
from whet.evaluate.compare import RESAMPLES, Estimate, Sample, difference, loss_difference, mcnemar, mean
from whet.evaluate.halving import Gap
from whet.metrics import SMALLEST_PROBABILITY
from whet.protocols import Task
from whet.run.comparison import Against, Interval, Verdict, not_beaten


@dataclass(frozen=True)
class Finalist:
    """A candidate that came to the end."""

    name: str
    samples: Mapping[int, Sample]
    """By seed, on the measured rows."""
    seconds: float
    """What it took, all seeds together."""


# --- what one run scores ------------------------------------------------------------------------------------------


def sample_of(task: Task, metric: str, said: Kept, examples: Examples, told: Scores) -> Sample:
    """A run's score on some rows, and on rows drawn anew from them; ``told`` are its scores as they were measured.

    A metric that cannot be computed from what was said, such as the loss of tags, has no other rows than these.
    """
    return replace(_scored(task, metric, said, examples, told), losses=_losses(task, said, examples))


def _scored(task: Task, metric: str, said: Kept, examples: Examples, told: Scores) -> Sample:
    right = _right(task, said, examples)
    values = _by_row(task, metric, said, examples, right)
    if values is not None:
        return Sample.of_rows(values, right)
    if metric == "loss" and task.problem in ("next_token", "target_text"):
        return Sample.of_score(len(said), lambda rows: float(said[rows, 0].sum() / said[rows, 1].sum()))
    if metric not in task.score(said, examples):
        return Sample(told[metric], np.full(RESAMPLES, told[metric]), right)

    def score(rows: np.ndarray) -> float:
        values = said.take(rows) if isinstance(said, Ragged) else said[rows]
        # Rows drawn anew may not define the metric: they may be of one class only.
        return task.score(values, _part(examples, rows)).get(metric, told[metric])

    return Sample.of_score(len(examples), score, right)


def _right(task: Task, said: Kept, examples: Examples) -> np.ndarray | None:
    if task.problem == "single_label":
        return np.asarray(said.argmax(axis=1) == examples.targets)
    if task.problem == "multi_label":
        return np.asarray(((said >= 0.5) == (examples.targets == 1)).all(axis=1))
    return None


def _by_row(task: Task, metric: str, said: Kept, examples: Examples, right: np.ndarray | None) -> np.ndarray | None:
    """(N,) values of which the metric is the mean; None where it is no mean over rows."""
    targets = examples.targets
    match task.problem, metric:
        case ("single_label", "accuracy") | ("multi_label", "subset_accuracy"):
            return right
        case ("single_label", "log_loss" | "loss") | ("regression", "mean_squared_error" | "loss"):
            return _losses(task, said, examples)
        case "regression", "mean_absolute_error":
            return np.asarray(np.abs(said - targets))
    return None


def _losses(task: Task, said: Kept, examples: Examples) -> np.ndarray | None:
    """(N,) the loss of each row; None where it does not follow from what was said."""
    targets = examples.targets
    match task.problem:
        case "single_label":
            assert isinstance(targets, np.ndarray)
            return np.asarray(-np.log(said[np.arange(len(targets)), targets].clip(SMALLEST_PROBABILITY, 1.0)))
        case "multi_label":
            of_truth = np.where(targets == 1, said, 1 - said).clip(SMALLEST_PROBABILITY, 1.0)
            return np.asarray(-np.log(of_truth).mean(axis=1))
        case "regression":
            return np.asarray(np.square(said - targets))
        case "next_token" | "target_text":
            # Long rows weigh more, as in the loss of all tokens.
            return np.asarray(said[:, 0] / max(said[:, 1].mean(), 1e-9))
    return None


def _part(examples: Examples, rows: np.ndarray) -> Examples:
    """What scores need of these rows."""
    targets = examples.targets
    if isinstance(targets, Ragged):
        targets = targets.take(rows)
    elif targets is not None:
        targets = targets[rows]
    beside = {name: values.take(rows) for name, values in examples.beside.items()}
    part = replace(examples, inputs={}, targets=targets, lengths=examples.lengths[rows], beside=beside)
    if isinstance(part, SpokenClips):
        return replace(part, references=tuple(part.references[row] for row in rows))
    return part


def write_sample(path: Path, sample: Sample) -> None:
    """Keep a sample in a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"score": np.array(sample.score), "draws": sample.draws}
    arrays |= {} if sample.right is None else {"right": sample.right}
    arrays |= {} if sample.losses is None else {"losses": sample.losses}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)


def read_sample(path: Path) -> Sample | None:
    """A sample that was kept; None where there is none. Raises RunFolderError where the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Sample(float(arrays["score"]), arrays["draws"], arrays.get("right"), arrays.get("losses"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise RunFolderError(
            f"{path} is damaged: {error}; delete it, and its run goes on from its checkpoint"
        ) from None


# --- who is ahead -------------------------------------------------------------------------------------------------


def gaps(samples: Mapping[str, Sequence[Sample]], metric: str, more_is_better: bool) -> dict[str, Gap]:
    """How far every candidate is behind the leader on the validation rows.

    In the loss, where that is known row by row, and else in the metric. A loss tells how sure right and wrong answers
    are, so the same rows tell candidates apart that get as many right.
    """
    sign = 1 if more_is_better else -1
    scores = {name: sign * mean(own).value for name, own in samples.items()}
    highest = max(scores, key=lambda name: scores[name])
    below = {name: difference(samples[highest], own) for name, own in samples.items()}
    losses = {name: [one.losses.mean() for one in own if one.losses is not None] for name, own in samples.items()}
    if any(len(losses[name]) < len(own) for name, own in samples.items()):
        return {n: Gap(sign * one.value, one.error, sign * one.value, one.error, metric) for n, one in below.items()}
    leader = min(losses, key=lambda name: float(np.mean(losses[name])))
    behind = {name: loss_difference(own, samples[leader]) for name, own in samples.items()}
    return {
        name: Gap(one.value, one.error, sign * below[name].value, below[name].error, "loss")
        for name, one in behind.items()
        if one is not None
    }


def judge(finalists: Sequence[Finalist], baselines: Mapping[str, Scores], metric: str, more_is_better: bool) -> Verdict:
    """The verdict on the finalists; there is one at least."""
    sign = 1 if more_is_better else -1
    estimates = {one.name: mean(list(one.samples.values())) for one in finalists}
    best = max(finalists, key=lambda one: sign * estimates[one.name].value)
    against = [_against(best, one, sign) for one in finalists if one is not best]
    level = [best, *(one for one in finalists if any(a.same for a in against if a.candidate == one.name))]
    known = {name: scores[metric] for name, scores in baselines.items() if metric in scores}
    return Verdict(
        best=best.name,
        clear=not any(one.same for one in against),
        cheapest=min(level, key=lambda one: one.seconds).name,
        scores={name: _interval(estimate) for name, estimate in estimates.items()},
        against=against,
        beats_baselines=not not_beaten(_interval(estimates[best.name]), known, more_is_better),
        findings=[],
    )


def _against(best: Finalist, other: Finalist, sign: int) -> Against:
    seeds = sorted(best.samples.keys() & other.samples.keys())
    ours, theirs = ([one.samples[seed] for seed in seeds] for one in (best, other))
    apart = difference(ours, theirs)
    ahead = apart if sign > 0 else Estimate(-apart.value, apart.error, -apart.high, -apart.low)
    # A difference whose error is not known tells nothing.
    same = ahead.low <= 0 or ahead.error == 0
    return Against(other.name, _interval(ahead), mcnemar(ours, theirs), same)


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.value, estimate.low, estimate.high)

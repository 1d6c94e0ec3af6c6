"""The bootstrap: every score is that of ``whet.metrics``, intervals are as wide as they should be, and paired."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest

from whet import metrics
from whet.data.tag_schemes import parts
from whet.report import intervals as module
from whet.report.edits import edits
from whet.report.intervals import drawn, intervals, sums, wilson
from whet.report.judged import Classes, Judged, Labels, Marks, Numbers, Texts

DRAWS = np.random.default_rng(5)


def classes(rows: int = 200, count: int = 3, right: float = 0.8, seed: int = 0) -> Classes:
    draws = np.random.default_rng(seed)
    targets = draws.integers(0, count, rows)
    probabilities = draws.dirichlet(np.ones(count), rows)
    hit = draws.random(rows) < right
    probabilities[hit, targets[hit]] += 2
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Classes([f"c{i}" for i in range(count)], targets, probabilities.argmax(axis=1), probabilities)


def whole(answers: Judged) -> dict[str, float]:
    found = sums(answers)
    assert found is not None
    return {name: float(value[0]) for name, value in found.scores(found.groups.sum(axis=0, keepdims=True)).items()}


def agree(found: dict[str, float], wanted: dict[str, float], *, without: set[str] | None = None) -> None:
    for name in wanted.keys() - (without or set()):
        assert found[name] == pytest.approx(wanted[name], abs=1e-6), name


@pytest.mark.parametrize("count", [2, 3, 7])
def test_scores_of_classes_are_the_metrics(count: int) -> None:
    answers = classes(count=count)
    agree(whole(answers), metrics.single_label(answers.probabilities, answers.targets), without={"roc_auc"})


def test_scores_of_labels_are_the_metrics() -> None:
    truth = (DRAWS.random((90, 4)) < 0.3).astype(np.float32)
    probabilities = np.clip(truth * 0.5 + DRAWS.random((90, 4)) * 0.6, 0, 1)
    answers = Labels(list("abcd"), truth, probabilities)
    agree(whole(answers), metrics.multi_label(probabilities, truth))


def test_scores_of_numbers_are_the_metrics() -> None:
    # Far from zero, where sums of squares lose their digits.
    targets = 1000 + DRAWS.normal(size=150)
    predicted = targets + DRAWS.normal(size=150) * 0.5
    predicted[:20] = predicted[20:40]
    agree(whole(Numbers(targets, predicted)), metrics.regression(predicted, targets))


def test_scores_of_tags_are_the_metrics() -> None:
    names = ["O", "B-X", "I-X", "B-Y"]
    rows = [[names[i] for i in DRAWS.integers(0, 4, 9)] for _ in range(60)]
    found = [[tag if DRAWS.random() < 0.8 else "O" for tag in row] for row in rows]
    marks = [[[("", part) for part in parts(row)] for row in side] for side in (rows, found)]
    answers = Marks([""] * 60, marks[0], marks[1], list(zip(rows, found, strict=True)), scheme=True)
    flat = [[tag for row in side for tag in row] for side in (found, rows)]
    wanted = metrics.parts((parts(row) for row in found), (parts(row) for row in rows))
    agree(whole(answers), wanted | {"token_accuracy": metrics.tags(*flat)["token_accuracy"]})
    plain = Marks([""] * 60, marks[0], marks[1], list(zip(rows, found, strict=True)), scheme=False)
    agree(whole(plain), metrics.tags(*flat))


def test_scores_of_texts_are_the_metrics() -> None:
    wanted = ["the cat sat", "on a mat", "and slept there", "until noon"]
    written = ["the cat sat", "on mat", "and he slept here", ""]
    answers = Texts([[text] for text in wanted], list(wanted), written)
    agree(whole(answers), metrics.transcripts(written, wanted) | metrics.exact_match(written, wanted))


@pytest.mark.parametrize("number", range(20))
def test_edits_are_those_of_jiwer(number: int) -> None:
    draws = np.random.default_rng(number)
    one, other = ([str(i) for i in draws.integers(0, 4, draws.integers(1, 12))] for _ in range(2))
    found = jiwer.process_words(" ".join(one), " ".join(other))
    assert edits(one, other) == found.substitutions + found.insertions + found.deletions


def test_an_interval_is_as_wide_as_the_formula_says() -> None:
    answers = classes(rows=800, right=0.7)
    value = float((answers.predicted == answers.targets).mean())
    interval = intervals(answers, {"accuracy": value})["accuracy"]
    expected = 2 * 1.96 * np.sqrt(value * (1 - value) / 800)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    assert interval.low < interval.value < interval.high


def test_groups_of_rows_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = classes(rows=1900, right=0.7)
    scores = metrics.single_label(answers.probabilities, answers.targets)
    single = intervals(answers, scores)
    monkeypatch.setattr(module, "GROUPS", 400)
    grouped = intervals(answers, scores)
    assert grouped.keys() == single.keys()
    for name, interval in single.items():
        width = interval.high - interval.low
        assert grouped[name].high - grouped[name].low == pytest.approx(width, rel=0.2), name


def test_all_right_is_not_certain() -> None:
    answers = classes(rows=20, right=1.0)
    interval = intervals(answers, {"accuracy": 1.0})["accuracy"]
    assert (interval.low, interval.high) == wilson(20, 20)
    assert interval.low == pytest.approx(0.839, abs=1e-3)


def test_a_score_of_other_rows_has_no_interval() -> None:
    answers = classes()
    assert intervals(answers, {"accuracy": 0.123, "roc_auc": 0.9}) == {}


def test_runs_on_the_same_rows_share_their_draws() -> None:
    one, other = sums(classes(seed=3)), sums(classes(seed=3))
    assert one is not None
    assert other is not None
    assert (drawn(one)["accuracy"] == drawn(other)["accuracy"]).all()

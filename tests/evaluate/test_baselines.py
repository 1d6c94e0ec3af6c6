"""Baselines on small data with known floors, on degenerate data, and on real reviews."""

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet.core import Problem
from whet.evaluate.baselines import baselines, of_features

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

GOOD = [
    "a warm and lovely film",
    "lovely acting",
    "warm, funny and wise",
    "wise and funny!",
    "정말 재미있는 영화",
    "재미있다",
]
BAD = ["a dull and empty film", "empty talk", "dull, slow and cold", "slow and cold!"]
TEXTS = GOOD + BAD
CLASSES = np.array([1] * len(GOOD) + [0] * len(BAD))
TEST_TEXTS = ["lovely and warm", "재미있었던 이야기", "cold and dull", "slow talk"]


@pytest.fixture(autouse=True)
def no_warning_reaches_the_screen() -> None:
    warnings.simplefilter("error")


def test_majority_answers_with_the_most_frequent_class_of_the_training_rows() -> None:
    scores = baselines("single_label", TEXTS, CLASSES, TEST_TEXTS, np.array([0, 0, 0, 1]), classes=2)
    assert scores["majority"]["accuracy"] == 0.25
    # Its probabilities are the shares of the classes: 0.4 and 0.6.
    assert scores["majority"]["log_loss"] == pytest.approx(-(3 * np.log(0.4) + np.log(0.6)) / 4)


def test_tfidf_learns_words_and_pieces_of_words() -> None:
    scores = baselines("single_label", TEXTS, CLASSES, TEST_TEXTS, np.array([1, 1, 0, 0]), classes=2)
    assert scores["tfidf"]["accuracy"] == 1.0
    assert scores["majority"]["accuracy"] == 0.5


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_many_test_rows_are_answered_in_parts(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = {"single_label": CLASSES, "multi_label": np.stack([CLASSES, 1 - CLASSES], 1), "regression": CLASSES * 1.5}
    asked = (problem, TEXTS, targets[problem], TEXTS, targets[problem])
    whole = baselines(*asked, classes=2)
    monkeypatch.setattr("whet.evaluate.baselines.AT_ONCE", 3)
    assert baselines(*asked, classes=2) == whole


def test_multi_label_learns_each_label_and_passes_over_one_that_never_occurs() -> None:
    labels = np.stack([CLASSES, 1 - CLASSES, np.zeros_like(CLASSES), np.ones_like(CLASSES)], axis=1)
    truth = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]])
    scores = baselines("multi_label", TEXTS, labels, TEST_TEXTS, truth, classes=4)
    assert scores["tfidf"]["subset_accuracy"] == 1.0
    # Label 0 stands on 6 of 10 rows and label 3 on all: majority marks both, always.
    assert scores["majority"]["subset_accuracy"] == 0.5


def test_a_problem_of_one_single_label_can_be_learnt() -> None:
    scores = baselines("multi_label", TEXTS, CLASSES[:, None], TEST_TEXTS, np.array([[1], [1], [0], [0]]), classes=1)
    assert scores["tfidf"]["micro_f1"] == 1.0


def test_regression_majority_is_the_mean_and_tfidf_is_closer() -> None:
    values = CLASSES * 4.0 + 1.0
    scores = baselines("regression", TEXTS, values, TEST_TEXTS, np.array([5.0, 5.0, 1.0, 1.0]), classes=1)
    assert scores["majority"]["mean_squared_error"] == pytest.approx((1.6**2 + 2.4**2) / 2)
    assert scores["tfidf"]["mean_squared_error"] < scores["majority"]["mean_squared_error"]
    assert scores["tfidf"]["pearson"] > 0.8


def test_a_class_without_training_rows_has_no_probability() -> None:
    scores = baselines("single_label", TEXTS, CLASSES, ["warm", "dull", "?"], np.array([1, 0, 2]), classes=3)
    assert scores["tfidf"]["accuracy"] == pytest.approx(2 / 3)


def test_the_limit_bounds_the_rows_that_tfidf_learns_from_but_not_the_majority() -> None:
    texts, classes = ["cold"] * 30 + ["warm"] * 10, np.array([0] * 30 + [1] * 10)

    def measured(limit: int) -> tuple[float, float]:
        scores = baselines(
            "single_label", texts, classes, ["warm", "cold"], np.array([1, 0]), classes=2, limit=limit, seed=3
        )
        return scores["tfidf"]["accuracy"], scores["majority"]["log_loss"]

    by_shares = -(np.log(0.75) + np.log(0.25)) / 2
    assert measured(limit=40) == pytest.approx((1.0, by_shares))
    # A single row is a single class.
    assert measured(limit=1) == pytest.approx((0.5, by_shares))
    assert measured(limit=20) == measured(limit=20)


@pytest.mark.parametrize("train", [["", " "], ["!!!", "?"], ["", "안녕"]])
@pytest.mark.parametrize(
    ("problem", "targets"),
    [
        ("single_label", np.array([0, 1])),
        ("single_label", np.array([1, 1])),
        ("multi_label", np.array([[0, 1], [0, 1]])),
        ("regression", np.array([0.5, 0.5])),
    ],
)
def test_degenerate_rows_are_scored_all_the_same(problem: Problem, targets: np.ndarray, train: list[str]) -> None:
    scores = baselines(problem, train, targets, ["?"], targets[:1], classes=2)
    assert set(scores) == {"majority", "tfidf"}
    assert all(np.isfinite(value) for each in scores.values() for value in each.values())


def test_blank_texts_leave_tfidf_with_the_answer_of_the_majority() -> None:
    scores = baselines("single_label", ["", " ", "\n"], np.array([0, 1, 1]), ["", "a"], np.array([1, 1]), classes=2)
    assert scores["tfidf"] == scores["majority"]


def test_a_hundred_rows_that_share_nothing_are_no_error() -> None:
    texts, classes = ["a", *[""] * 99], np.array([0, 1] * 50)
    scores = baselines("single_label", texts, classes, ["a"], np.array([0]), classes=2)
    assert set(scores) == {"majority", "tfidf"}


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_features_that_tell_the_answer_beat_the_majority(problem: Any) -> None:
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(80, 12)), generator.normal(size=(40, 12))

    def answers(features: np.ndarray) -> np.ndarray:
        if problem == "single_label":
            return (features[:, 0] > 0).astype(np.int64)
        return ((features[:, :3] > 0) if problem == "multi_label" else features[:, 0]).astype(np.float32)

    learned = np.arange(0, 80, 2)
    classes = {"single_label": 2, "multi_label": 3, "regression": 0}[problem]
    told: dict[str, Any] = {"classes": classes, "learned": learned}
    scores = of_features(problem, train[learned], answers(train), test, answers(test), **told)
    metric = {"single_label": "accuracy", "multi_label": "micro_f1", "regression": "pearson"}[problem]
    assert scores["features"][metric] > max(0.75, scores["majority"][metric])
    assert set(of_features(problem, None, answers(train), None, answers(test), **told)) == {"majority"}


@pytest.mark.shared
@pytest.mark.parametrize(("name", "column", "floor"), [("sst2", "text", 0.75), ("nsmc", "document", 0.75)])
def test_tfidf_is_a_strong_baseline_in_english_and_korean(name: str, column: str, floor: float) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs the data set {name} beside the checkout")
    parts = []
    for part, rows in (("train", 3000), ("test", 1000)):
        with (SHARED / name / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            parts.append(list(csv.DictReader(file))[:rows])
    names = sorted({row["label"] for row in parts[0]})
    texts = [[row[column] for row in rows] for rows in parts]
    targets = [np.array([names.index(row["label"]) for row in rows]) for rows in parts]
    scores = baselines("single_label", texts[0], targets[0], texts[1], targets[1], classes=2)
    assert scores["tfidf"]["accuracy"] > floor
    assert abs(scores["majority"]["accuracy"] - 0.5) < 0.1

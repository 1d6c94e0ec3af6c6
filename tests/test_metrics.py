"""Scores against values computed by hand."""

import json
import math
import warnings

import numpy as np
import pytest

from whet import metrics

PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
TARGETS = np.array([0, 1, 0, 1])  # right, right, wrong, wrong


def one_hot(classes: list[int], width: int) -> np.ndarray:
    return np.eye(width)[classes]


@pytest.fixture(autouse=True)
def no_warning_reaches_the_screen() -> None:
    warnings.simplefilter("error")


def test_two_classes_by_hand() -> None:
    scores = metrics.single_label(PROBABILITIES, TARGETS)
    assert scores["accuracy"] == 0.5
    assert scores["f1"] == pytest.approx(0.5)
    assert scores["macro_f1"] == pytest.approx(0.5)
    assert scores["matthews"] == pytest.approx(0.0)
    assert scores["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.6) + math.log(0.2) + math.log(0.3)) / 4)
    # Of the four pairs (class 1, class 0) two stand in the right order: 0.6 > 0.1 and 0.3 > 0.1.
    assert scores["roc_auc"] == pytest.approx(0.5)
    assert set(scores) == set(metrics.SINGLE_LABEL)


def test_three_classes_by_hand_have_no_score_for_two() -> None:
    scores = metrics.single_label(one_hot([0, 0, 1, 1, 1, 2], 3), np.array([0, 0, 0, 1, 1, 2]))
    # F1: class 0 has 2 hits, 1 miss: 4/5; class 1 has 2 hits, 1 false alarm: 4/5; class 2: 1.
    assert scores["macro_f1"] == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert scores["weighted_f1"] == pytest.approx((3 * 0.8 + 2 * 0.8 + 1) / 6)
    assert scores["accuracy"] == pytest.approx(5 / 6)
    assert "f1" not in scores
    assert "roc_auc" not in scores


def test_matthews_by_hand() -> None:
    scores = metrics.single_label(one_hot([1, 1, 1, 0, 0], 2), np.array([1, 1, 0, 0, 0]))
    assert scores["matthews"] == pytest.approx((2 * 2 - 1 * 0) / math.sqrt(3 * 2 * 3 * 2))


def test_a_class_that_never_occurs_does_not_lower_macro_f1() -> None:
    assert metrics.single_label(one_hot([0, 2], 3), np.array([0, 2]))["macro_f1"] == 1.0


def test_one_class_among_the_targets_leaves_out_the_area_under_the_curve() -> None:
    scores = metrics.single_label(one_hot([0, 0], 2), np.array([0, 0]))
    assert "roc_auc" not in scores
    assert scores["accuracy"] == 1.0
    assert scores["matthews"] == 0.0
    assert scores["f1"] == 0.0


def test_a_wrong_certainty_costs_much_but_not_infinity() -> None:
    assert metrics.single_label(one_hot([1], 2), np.array([0]))["log_loss"] == pytest.approx(-math.log(1e-7))


def test_multi_label_by_hand() -> None:
    probabilities = np.array([[0.5, 0.4, 0.0], [0.9, 0.8, 0.1], [0.1, 0.6, 0.2]])
    targets = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    scores = metrics.multi_label(probabilities, targets)
    # Marked: label 0 twice, both right; label 1 twice, one right; label 2 occurs nowhere and does not count.
    assert scores["micro_f1"] == pytest.approx(2 * 3 / (4 + 3))
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["subset_accuracy"] == pytest.approx(2 / 3)
    assert scores["hamming_accuracy"] == pytest.approx(8 / 9)
    assert set(scores) == set(metrics.MULTI_LABEL)


def test_the_threshold_decides_which_labels_apply() -> None:
    probabilities, targets = np.array([[0.4, 0.2]]), np.array([[1, 0]])
    assert metrics.multi_label(probabilities, targets)["micro_f1"] == 0.0
    assert metrics.multi_label(probabilities, targets, threshold=0.3)["micro_f1"] == 1.0


def test_a_single_label_is_not_taken_for_two_classes() -> None:
    scores = metrics.multi_label(np.array([[0.9], [0.1], [0.2], [0.1]]), np.array([[1], [0], [1], [0]]))
    assert scores["micro_f1"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx(2 / 3)


def test_no_label_anywhere_is_all_right_with_zero_f1() -> None:
    scores = metrics.multi_label(np.zeros((2, 3)), np.zeros((2, 3), dtype=int))
    assert scores == {"micro_f1": 0.0, "macro_f1": 0.0, "subset_accuracy": 1.0, "hamming_accuracy": 1.0}


def test_regression_by_hand() -> None:
    scores = metrics.regression(np.array([1.0, 2.0, 3.0, 6.0]), np.array([1.0, 3.0, 2.0, 4.0]))
    assert scores["mean_squared_error"] == pytest.approx(6 / 4)
    assert scores["mean_absolute_error"] == pytest.approx(1.0)
    assert scores["r2"] == pytest.approx(1 - 6 / 5)
    assert scores["spearman"] == pytest.approx(0.8)
    # Deviations -2, -1, 0, 3 and -1.5, 0.5, -0.5, 1.5.
    assert scores["pearson"] == pytest.approx((3 - 0.5 + 4.5) / math.sqrt(14 * 5))
    assert set(scores) == set(metrics.REGRESSION)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    # Ranks 1.5, 1.5, 3 against 1, 2, 3.
    spearman = metrics.regression(np.array([5.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0]))["spearman"]
    assert spearman == pytest.approx(1.5 / math.sqrt(1.5 * 2))


@pytest.mark.parametrize(
    ("values", "targets"), [([2.0, 2.0], [1.0, 3.0]), ([1.0, 3.0], [2.0, 2.0]), ([1.0], [1.0]), ([0.1] * 3, [0.1] * 3)]
)
def test_an_undefined_correlation_is_zero(values: list[float], targets: list[float]) -> None:
    scores = metrics.regression(np.array(values), np.array(targets))
    assert scores["pearson"] == scores["spearman"] == 0.0
    assert scores["r2"] == 0.0


def test_every_score_can_be_written_as_json() -> None:
    scores = metrics.single_label(PROBABILITIES.astype(np.float32), TARGETS)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_predictions_that_are_not_finite_are_refused_with_their_number() -> None:
    with pytest.raises(FloatingPointError, match="1 of 2 rows"):
        metrics.single_label(np.array([[math.nan, 0.5], [0.5, 0.5]]), np.array([0, 1]))
    with pytest.raises(FloatingPointError, match="1 of 1 rows"):
        metrics.regression(np.array([math.inf]), np.array([0.0]))


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        metrics.multi_label(np.zeros((0, 2)), np.zeros((0, 2)))


def test_shapes_that_numpy_would_stretch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        metrics.regression(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        metrics.multi_label(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        metrics.single_label(np.ones((2, 2)), np.array([1]))


def test_parts_are_right_where_label_begin_and_end_are() -> None:
    found = [[(0, 1, "a"), (2, 4, "b")], [(0, 2, "a")]]
    wanted = [[(0, 1, "a"), (2, 4, "a"), (5, 6, "b")], [(0, 1, "a")]]
    assert metrics.parts(found, wanted) == {"f1": 2 / 7, "precision": 1 / 3, "recall": 1 / 4}
    assert metrics.parts([[]], [[]]) == {"f1": 0, "precision": 0, "recall": 0}


def test_tags_are_scored_as_classes() -> None:
    assert metrics.tags(["N", "N", "V"], ["N", "V", "V"]) == {
        "token_accuracy": pytest.approx(2 / 3),
        "macro_f1": pytest.approx(2 / 3),
    }
    with pytest.raises(ValueError, match="no tags"):
        metrics.tags([], [])


def test_rouge_by_hand() -> None:
    # Six words against five: four are shared, of the pairs (the cat) and (on the), in order: the cat on the mat.
    scores = metrics.texts(["The cat sat on the mat."], ["the cat, on the rug"])
    assert scores["rouge1"] == pytest.approx(2 * 4 / 11)
    assert scores["rouge2"] == pytest.approx(2 * 2 / 9)
    assert scores["rougeL"] == pytest.approx(2 * 4 / 11)
    crossed = metrics.texts(["b a"], ["a b"])
    assert (crossed["rouge1"], crossed["rouge2"], crossed["rougeL"]) == (1, 0, 0.5)
    assert metrics.texts(["나는 학교에 간다"], ["나는 집에 간다"])["rouge1"] == pytest.approx(2 / 3)
    assert metrics.texts([""], ["a"])["rougeL"] == 0


def test_bleu_and_chrf_are_those_of_everybody() -> None:
    wanted = ["the cat is on the mat", "there is a dog"]
    perfect = metrics.texts(wanted, wanted)
    assert [perfect["bleu"], perfect["chrf"]] == pytest.approx([100, 100])
    # 6 + 3 words of which 5 + 3 are right, 4 + 2 pairs of 7, 3 + 1 of 5 and 2 of 3; one word shorter than wanted.
    scores = metrics.texts(["the cat is on the rug", "there is a"], wanted)
    precisions = [8 / 9, 6 / 7, 4 / 5, 2 / 3]
    assert scores["bleu"] == pytest.approx(100 * math.exp(1 - 10 / 9) * math.prod(precisions) ** 0.25)
    assert metrics.texts([], []) == {}

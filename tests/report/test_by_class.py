"""Tables of classes against scikit-learn, calibration by hand, and the rows that surprise most."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tests.report.test_intervals import classes
from whet.data.tag_schemes import Part
from whet.report.by_class import calibration, confused, confusion, table
from whet.report.judged import Classes, Labels, Marks, Numbers, Texts
from whet.report.mistakes import count, differences, mistakes, samples


def test_precision_recall_and_support_are_those_of_scikit_learn() -> None:
    answers = classes(count=4)
    wanted = precision_recall_fscore_support(answers.targets, answers.predicted, labels=range(4))
    for row, *values in zip(table(answers), *wanted, strict=True):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(tuple(values))
    assert (confusion(answers) == confusion_matrix(answers.targets, answers.predicted, labels=range(4))).all()


def test_labels_are_told_one_by_one() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0], [1, 0]], dtype=np.float32)
    found = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.1], [0.7, 0.2]])
    first, second = table(Labels(["a", "b"], truth, found))
    assert (first.precision, first.recall, first.support) == pytest.approx((2 / 3, 2 / 3, 3))
    assert (second.precision, second.recall, second.f1) == (1.0, 1.0, 1.0)


def test_a_class_that_is_never_answered_has_no_precision() -> None:
    answers = Classes(["a", "b"], np.array([0, 1]), np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert table(answers)[1].precision is None
    assert table(answers)[1].f1 == 0.0


def test_what_is_most_often_confused_comes_first() -> None:
    targets, predicted = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 2, 2])
    answers = Classes(["a", "b", "c"], targets, predicted, np.eye(3)[predicted])
    assert confused(answers, 5) == [("a", "b", 2, 3), ("b", "c", 1, 1)]


def test_calibration_by_hand() -> None:
    sure = np.array([0.95, 0.95, 0.65, 0.65])
    answers = Classes(["a", "b"], np.array([0, 1, 0, 0]), np.zeros(4, dtype=int), np.stack([sure, 1 - sure], axis=1))
    bins, error = calibration(answers)
    assert [(one.rows, one.share) for one in bins] == [(2, 1.0), (2, 0.5)]
    assert error == pytest.approx((0.35 + 0.45) / 2)


def test_certainty_goes_into_the_last_bin() -> None:
    answers = Classes(["a", "b"], np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.array([[1.0, 0.0]] * 3))
    bins, error = calibration(answers)
    assert [(one.low, one.rows) for one in bins] == [(0.9, 3)]
    assert error == 0.0


def test_the_surest_mistakes_come_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    answers = Classes(["a", "b"], np.array([1, 1, 1, 0]), probabilities.argmax(axis=1), probabilities)
    found = mistakes(answers)
    assert [one.row for one in found] == [1, 3, 0]
    assert (found[0].wanted, found[0].answered, found[0].probability, found[0].of_wanted) == ("b", "a", 0.9, 0.1)
    assert count(answers) == 3


def test_of_labels_the_one_that_is_most_wrong_counts() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 1]], dtype=np.float32)
    found = np.array([[0.9, 0.1], [0.2, 0.95], [0.1, 0.9]])
    told = mistakes(Labels(["a", "b"], truth, found))
    assert [(one.row, one.wanted, one.answered) for one in told] == [(1, "–", "b"), (2, "a, b", "b")]
    assert told[0].probability == pytest.approx(0.95)
    assert told[1].of_wanted == pytest.approx(0.1)


def test_of_numbers_the_largest_error_comes_first() -> None:
    found = mistakes(Numbers(np.array([1.0, 2.0, 3.0]), np.array([1.1, 5.0, 2.0])))
    assert [one.row for one in found] == [1, 2, 0]


def test_of_marks_what_was_missed_and_invented_is_told() -> None:
    wanted = [[("Kim", Part(0, 1, "PER")), ("Seoul", Part(2, 3, "LOC"))], [("Lee", Part(0, 1, "PER"))]]
    found = [[("Kim", Part(0, 1, "PER")), ("Seoul", Part(2, 3, "ORG"))], [("Lee", Part(0, 1, "PER"))]]
    answers = Marks(["Kim in Seoul", "Lee"], wanted, found, [], scheme=True)
    (only,) = differences(answers)
    assert (only.right, only.missed, only.invented) == ([("Kim", "PER")], [("Seoul", "LOC")], [("Seoul", "ORG")])
    names = {row.name: (row.f1, row.support) for row in table(answers)}
    assert names == {"PER": (1.0, 2), "LOC": (0.0, 1), "ORG": (0.0, 0)}
    assert count(answers) == 1


def test_the_worst_transcripts_come_first() -> None:
    answers = Texts([["a.wav"], ["b.wav"]], ["one two", "three"], ["one two", "tree"])
    assert [(one.row, one.wrong) for one in samples(answers, transcripts=True)] == [(1, 1.0), (0, 0.0)]
    assert [one.wrong for one in samples(answers, transcripts=False)] == [None, None]

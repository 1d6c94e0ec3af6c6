"""Scores what needs no fine-tuning: the least that a fine-tuned model has to beat.

Knows no model and no file; it sees texts, targets and the metrics they are scored with.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_union
from sklearn.preprocessing import StandardScaler

from whet import metrics
from whet.core import Problem, Scores

Answering = Callable[[Any], np.ndarray]

WORDS = r"\w+|[^\w\s]"
"""Punctuation counts as a word: in short texts it tells much, and it keeps a vocabulary from being empty."""

LONGEST_TEXT = 2000
"""Characters of a row that TF-IDF reads; bounds its time on long documents."""

AT_ONCE = 4096
"""Test rows whose TF-IDF is held at once; bounds memory where they are many."""


def baselines(
    problem: Problem,
    train_texts: list[str],
    train_targets: np.ndarray,
    test_texts: list[str],
    test_targets: np.ndarray,
    *,
    classes: int,
    seed: int = 0,
    limit: int = 20000,
) -> dict[str, Scores]:
    """Test scores of the two baselines: ``majority`` and ``tfidf``.

    ``majority`` gives every row the same answer: each class or label its share of the training rows, so the most
    frequent one wins, or the mean value. ``tfidf`` is a linear model (logistic regression, ridge regression for values)
    over TF-IDF of words and of characters within words, which also reads languages that join particles to words, such
    as Korean. It learns from ``limit`` training rows at most, drawn with ``seed``, and answers as ``majority`` does
    where all texts are blank.

    Targets are (N,) class numbers below ``classes``, (N, ``classes``) zeros and ones, or (N,) values. Both sides need
    one row at least.
    """
    constant = _constant(problem, train_targets, classes)
    answers = {"majority": np.repeat(constant, len(test_texts), axis=0)}
    rows = np.arange(len(train_texts))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, size=limit, replace=False))
    learned = _tfidf(problem, [train_texts[row] for row in rows], train_targets[rows], test_texts, classes)
    answers["tfidf"] = answers["majority"] if learned is None else learned
    return {name: _score(problem, answer, test_targets) for name, answer in answers.items()}


def of_features(
    problem: Problem,
    train_features: np.ndarray | None,
    train_targets: np.ndarray,
    test_features: np.ndarray | None,
    test_targets: np.ndarray,
    *,
    classes: int,
    learned: np.ndarray | None = None,
) -> dict[str, Scores]:
    """Test scores of ``majority``, and of ``features``: a linear model over what a frozen pre-trained body returns.

    Features are (N, D), those of the training rows for the rows ``learned`` alone; None has no such baseline. Logistic
    regression, or ridge regression for values, learns from features of mean 0 and deviation 1.
    """
    constant = _constant(problem, train_targets, classes)
    answers = {"majority": np.repeat(constant, len(test_targets), axis=0)}
    if train_features is not None and test_features is not None:
        scaler = StandardScaler().fit(train_features)
        train, test = scaler.transform(train_features), scaler.transform(test_features)
        targets = train_targets if learned is None else train_targets[learned]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers["features"] = _linear(problem, train, targets, classes, strength=0.1)(test)
    return {name: _score(problem, answer, test_targets) for name, answer in answers.items()}


def _constant(problem: Problem, targets: np.ndarray, classes: int) -> np.ndarray:
    """(1, C) share of every class or label, or (1,) the mean value."""
    shares: np.ndarray
    if problem == "single_label":
        shares = np.bincount(targets, minlength=classes)[None] / len(targets)
        return shares
    if problem == "multi_label":
        shares = targets.astype(np.float64).mean(axis=0, keepdims=True)
        return shares
    return np.asarray([np.mean(targets)])


def _tfidf(
    problem: Problem, train_texts: list[str], train_targets: np.ndarray, test_texts: list[str], classes: int
) -> np.ndarray | None:
    """(N, C) probabilities or (N,) values for the test texts; None where there is nothing to read."""
    features = _features(len(train_texts))
    with warnings.catch_warnings():
        # A fit cut off after its last iteration is still a fair baseline.
        warnings.simplefilter("ignore")
        try:
            train = features.fit_transform([text[:LONGEST_TEXT] for text in train_texts])
        except ValueError:  # scikit-learn's word for an empty vocabulary
            return None
        answering = _linear(problem, train, train_targets, classes, strength=3.0)
        parts = (test_texts[first : first + AT_ONCE] for first in range(0, len(test_texts), AT_ONCE))
        return np.concatenate([answering(features.transform([text[:LONGEST_TEXT] for text in part])) for part in parts])


def _linear(problem: Problem, train: Any, targets: np.ndarray, classes: int, *, strength: float) -> Answering:
    """What answers rows (N, features) with (N, C) probabilities or (N,) values; ``strength`` fits classes closer."""
    if problem == "single_label":
        return _classifier(train, targets, classes, strength)
    if problem == "multi_label":
        flags = [_classifier(train, flag, 2, strength) for flag in targets.T.astype(int)]
        return lambda rows: np.stack([answering(rows)[:, 1] for answering in flags], axis=1)
    model = Ridge(alpha=1.0).fit(train, targets)
    return lambda rows: np.asarray(model.predict(rows))


def _classifier(train: Any, targets: np.ndarray, classes: int, strength: float) -> Answering:
    """What answers with (N, C) probabilities; a class that never occurs has none."""
    occurring = np.unique(targets)
    model = LogisticRegression(C=strength, max_iter=200).fit(train, targets) if len(occurring) > 1 else None

    def answer(rows: Any) -> np.ndarray:
        probabilities = np.zeros((rows.shape[0], classes))
        probabilities[:, occurring] = 1.0 if model is None else model.predict_proba(rows)
        return probabilities

    return answer


def _features(rows: int) -> FeatureUnion:
    """Words and pairs of words, beside pieces of 2 to 5 characters within a word."""
    return make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORDS, sublinear_tf=True),
        # Pieces that occur in one row only are half of all and teach nothing, unless rows are scarce.
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2 if rows >= 100 else 1, sublinear_tf=True),
    )


def _score(problem: Problem, answers: np.ndarray, targets: np.ndarray) -> Scores:
    if problem == "single_label":
        return metrics.single_label(answers, targets)
    if problem == "multi_label":
        return metrics.multi_label(answers, targets)
    return metrics.regression(answers, targets)

"""Scores what needs no fine-tuning: the least that a fine-tuned model has to beat.

Knows no model and no file; it sees texts, targets and the metrics they are scored with.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_union

from whet import metrics
from whet.core import Problem, Scores

WORDS = r"\w+|[^\w\s]"
"""Punctuation counts as a word: in short texts it tells much, and it keeps a vocabulary from being empty."""

LONGEST_TEXT = 2000
"""Characters of a row that TF-IDF reads; bounds its time on long documents."""


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
        test = features.transform([text[:LONGEST_TEXT] for text in test_texts])
        if problem == "single_label":
            return _probabilities(train, train_targets, test, classes)
        if problem == "multi_label":
            return np.stack(
                [_probabilities(train, label, test, 2)[:, 1] for label in train_targets.T.astype(int)], axis=1
            )
        values: np.ndarray = Ridge(alpha=1.0).fit(train, train_targets).predict(test)
        return values


def _probabilities(train: Any, targets: np.ndarray, test: Any, classes: int) -> np.ndarray:
    """(N, C) probabilities for sparse (N, features) rows; a class that never occurs has none."""
    occurring = np.unique(targets)
    probabilities = np.zeros((test.shape[0], classes))
    if len(occurring) == 1:
        probabilities[:, occurring] = 1.0
    else:
        probabilities[:, occurring] = LogisticRegression(C=3.0, max_iter=200).fit(train, targets).predict_proba(test)
    return probabilities


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

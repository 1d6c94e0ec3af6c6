"""Scores predictions against targets: one function per kind of problem.

Every value is finite, so it can be written as JSON: a score that the rows do not define is 0.0 or left out, as each
function says. This module knows no model, no task and no file.

scikit-learn is imported where it is used, because recipes are checked without it.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from whet.core import Scores

SINGLE_LABEL: Mapping[str, bool] = MappingProxyType(
    {
        "accuracy": True,
        "macro_f1": True,
        "weighted_f1": True,
        "matthews": True,
        "log_loss": False,
        "f1": True,
        "roc_auc": True,
    }
)
"""What ``single_label`` returns, and whether more is better; ``f1`` and ``roc_auc`` for two classes only."""

MULTI_LABEL: Mapping[str, bool] = MappingProxyType(
    {"micro_f1": True, "macro_f1": True, "subset_accuracy": True, "hamming_accuracy": True}
)
"""What ``multi_label`` returns, and whether more is better."""

REGRESSION: Mapping[str, bool] = MappingProxyType(
    {"pearson": True, "spearman": True, "r2": True, "mean_squared_error": False, "mean_absolute_error": False}
)
"""What ``regression`` returns, and whether more is better."""

NEXT_TOKEN: Mapping[str, bool] = MappingProxyType({"perplexity": False, "token_accuracy": True})
"""What ``next_token`` returns, and whether more is better."""

PARTS: Mapping[str, bool] = MappingProxyType({"f1": True, "precision": True, "recall": True, "token_accuracy": True})
"""Metrics of tags that mark parts, and whether more is better."""

TAGS: Mapping[str, bool] = MappingProxyType({"token_accuracy": True, "macro_f1": True})
"""What ``tags`` returns, and whether more is better."""
TRANSCRIPT: Mapping[str, bool] = MappingProxyType({"wer": False, "cer": False})
"""What ``transcripts`` returns, and whether more is better."""

HIGHEST_PERPLEXITY = 1e30
"""Stands for all that are higher: no table could show them."""

SMALLEST_PROBABILITY = 1e-7
"""Probabilities are raised to this before their logarithm is taken: one wrong certainty costs 16.1, not infinity."""


def single_label(probabilities: np.ndarray, targets: np.ndarray) -> Scores:
    """Scores of the most probable class.

    ``probabilities`` is (N, C), ``targets`` (N,) class numbers. The macro mean of F1 is taken over the classes that
    occur among the targets or the predictions, and a class with no true positive counts 0. ``matthews`` is 0.0 where
    all targets or all predictions are of one class. With two classes, ``f1`` is that of class 1, and ``roc_auc`` is
    left out where only one class occurs among the targets.

    Raises ValueError where there are no rows or the shapes do not fit, and FloatingPointError where a
    probability is not finite.
    """
    from sklearn.metrics import f1_score, matthews_corrcoef, roc_auc_score  # noqa: PLC0415

    _check(probabilities, (len(targets), probabilities.shape[-1]))
    predicted = probabilities.argmax(axis=1)
    of_target = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    with _silence():
        scores = {
            "accuracy": float(np.mean(predicted == targets)),
            "macro_f1": float(f1_score(targets, predicted, average="macro", zero_division=0)),
            "weighted_f1": float(f1_score(targets, predicted, average="weighted", zero_division=0)),
            "matthews": float(matthews_corrcoef(targets, predicted)),
            "log_loss": float(-np.log(of_target.clip(SMALLEST_PROBABILITY, 1.0)).mean()),
        }
        if probabilities.shape[1] == 2:
            scores["f1"] = float(f1_score(targets, predicted, pos_label=1, zero_division=0))
            if len(np.unique(targets)) == 2:
                scores["roc_auc"] = float(roc_auc_score(targets, probabilities[:, 1]))
    return scores


def multi_label(probabilities: np.ndarray, targets: np.ndarray, threshold: float = 0.5) -> Scores:
    """Scores of the labels whose probability is at least ``threshold``.

    ``probabilities`` is (N, C), ``targets`` (N, C) zeros and ones. The macro mean of F1 is taken over the labels that
    occur among the targets or the predictions, as in ``single_label``; where no label occurs at all, both F1 are 0.0.
    ``subset_accuracy`` is the share of rows with every label right, ``hamming_accuracy`` the share of single labels.

    Raises ValueError where there are no rows or the shapes do not fit, and FloatingPointError where a
    probability is not finite.
    """
    _check(probabilities, targets.shape)
    predicted = probabilities >= threshold
    truth = targets.astype(bool)
    # (C,) counts by hand: scikit-learn takes a table of one label for a problem of two classes.
    hits = (predicted & truth).sum(axis=0)
    marked = predicted.sum(axis=0) + truth.sum(axis=0)
    return {
        "micro_f1": float(2 * hits.sum() / max(marked.sum(), 1)),
        "macro_f1": float(np.mean(2 * hits[marked > 0] / marked[marked > 0])) if marked.any() else 0.0,
        "subset_accuracy": float((predicted == truth).all(axis=1).mean()),
        "hamming_accuracy": float((predicted == truth).mean()),
    }


def regression(values: np.ndarray, targets: np.ndarray) -> Scores:
    """Scores of predicted numbers.

    ``values`` and ``targets`` are (N,). ``pearson`` and ``spearman`` are 0.0 where all predictions or all targets are
    the same number, ``r2`` is 0.0 where all targets are.

    Raises ValueError where there are no rows or the shapes do not fit, and FloatingPointError where a
    value is not finite.
    """
    _check(values, targets.shape)
    predicted, truth = values.astype(np.float64), targets.astype(np.float64)
    errors = predicted - truth
    spread = float(np.square(truth - truth.mean()).sum())
    return {
        "pearson": _correlation(predicted, truth),
        "spearman": _correlation(_ranks(predicted), _ranks(truth)),
        "r2": 0.0 if np.ptp(truth) == 0 else 1.0 - float(np.square(errors).sum()) / spread,
        "mean_squared_error": float(np.square(errors).mean()),
        "mean_absolute_error": float(np.abs(errors).mean()),
    }


def next_token(sums: np.ndarray) -> Scores:
    """Scores of a language model from (N, 3) sums over rows: of the losses, of the tokens, of the tokens guessed right.

    ``perplexity`` is the exponential of the mean loss of a token: among so many tokens the model is undecided.

    Raises ValueError where there are no tokens, FloatingPointError where a loss is not finite.
    """
    if not len(sums) or sums[:, 1].sum() == 0:
        raise ValueError("there are no tokens to score")
    _check(sums, sums.shape)
    loss, tokens, hits = (float(value) for value in sums.sum(axis=0))
    return {"perplexity": math.exp(min(loss / tokens, math.log(HIGHEST_PERPLEXITY))), "token_accuracy": hits / tokens}


def parts(found: Iterable[Sequence[tuple[int, int, str]]], wanted: Iterable[Sequence[tuple[int, int, str]]]) -> Scores:
    """Precision, recall and F1 of parts of rows (start, end, label), each right where all three are.

    Over the parts of all rows together; what the rows do not define is 0.0.
    """
    right, of_found, of_wanted = 0, 0, 0
    for some, others in zip(found, wanted, strict=True):
        right += len(set(some) & set(others))
        of_found += len(some)
        of_wanted += len(others)
    return {
        "f1": 2 * right / max(of_found + of_wanted, 1),
        "precision": right / max(of_found, 1),
        "recall": right / max(of_wanted, 1),
    }


def tags(found: Sequence[str], wanted: Sequence[str]) -> Scores:
    """Share of the tags that are right, and the mean over the tags that occur of the F1 of each.

    Raises ValueError where there are none.
    """
    from sklearn.metrics import f1_score  # noqa: PLC0415

    if not wanted:
        raise ValueError("there are no tags to score")
    right = sum(a == b for a, b in zip(found, wanted, strict=True))
    with _silence():
        macro = float(f1_score(wanted, found, average="macro", zero_division=0))
    return {"token_accuracy": right / len(wanted), "macro_f1": macro}


def exact_match(written: Sequence[str], wanted: Sequence[str]) -> Scores:
    """Share of the texts that are those wanted, but for spaces; nothing where no texts are wanted.

    Where every wanted text tells its result behind ``####``, as arithmetic problems do, only results are compared.
    """
    if not wanted:
        return {}
    if all("####" in text for text in wanted):
        written, wanted = ([text.rpartition("####")[2] for text in texts] for texts in (written, wanted))
    same = [" ".join(a.split()) == " ".join(b.split()) for a, b in zip(written, wanted, strict=True)]
    return {"exact_match": sum(same) / len(same)}


def texts(written: Sequence[str], wanted: Sequence[str]) -> Scores:
    """How near texts are to those wanted; nothing where there are none.

    ``bleu`` (Papineni et al. 2002) and ``chrf`` (Popović 2015) are sacrebleu's, over all texts together and up to 100;
    ``rouge1``, ``rouge2`` and ``rougeL`` (Lin 2004) are the means of each text's F1 of words, of pairs of words and of
    the longest common row of words, without regard to case, up to 1.
    """
    from sacrebleu import corpus_bleu, corpus_chrf  # noqa: PLC0415

    if not wanted:
        return {}
    rouge = [_rouge(_words(one), _words(other)) for one, other in zip(written, wanted, strict=True)]
    with _silence():
        bleu, chrf = corpus_bleu(list(written), [list(wanted)]), corpus_chrf(list(written), [list(wanted)])
    means = [sum(values) / len(values) for values in zip(*rouge, strict=True)]
    return {"bleu": bleu.score, "chrf": chrf.score, **dict(zip(("rouge1", "rouge2", "rougeL"), means, strict=True))}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _rouge(written: list[str], wanted: list[str]) -> tuple[float, float, float]:
    pairs = [list(itertools.pairwise(words)) for words in (written, wanted)]
    shared = [(Counter(a) & Counter(b)).total() for a, b in ((written, wanted), (pairs[0], pairs[1]))]
    sizes = len(written) + len(wanted), len(pairs[0]) + len(pairs[1]), len(written) + len(wanted)
    found = [2 * same / max(size, 1) for same, size in zip((*shared, _common(written, wanted)), sizes, strict=True)]
    return found[0], found[1], found[2]


def _common(one: list[str], other: list[str]) -> int:
    """Length of the longest row of words that both hold in this order."""
    longest = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for position, candidate in enumerate(other, start=1):
            kept = longest[position]
            longest[position] = before + 1 if word == candidate else max(kept, longest[position - 1])
            before = kept
    return longest[-1]


def transcripts(written: Sequence[str], wanted: Sequence[str]) -> Scores:
    """Errors in words and in characters of what was written down, as shares of what was said.

    Words that were put in, left out or wrong are errors. Nothing where nothing is wanted.
    """
    import jiwer  # noqa: PLC0415

    if not wanted:
        return {}
    return {
        "wer": float(jiwer.wer(list(wanted), list(written))),
        "cer": float(jiwer.cer(list(wanted), list(written))),
    }


def _check(predictions: np.ndarray, wanted: tuple[int, ...]) -> None:
    """Refuse what numpy would stretch to fit, and what is not finite."""
    if wanted[0] == 0:
        raise ValueError("there are no rows to score")
    if predictions.shape != wanted:
        raise ValueError(f"predictions of shape {predictions.shape} do not fit targets that want {wanted}")
    broken = ~np.isfinite(predictions.reshape(len(predictions), -1)).all(axis=1)
    if broken.any():
        raise FloatingPointError(f"predictions of {broken.sum()} of {len(broken)} rows are not finite numbers")


@contextmanager
def _silence() -> Iterator[None]:
    """Hold back scikit-learn's remarks about classes that do not occur: their values are defined above."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1].clip(-1.0, 1.0))


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks from 1; equal values share the mean of their ranks."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: np.ndarray = np.cumsum(counts) - (counts - 1) / 2
    return means[position]


KNOWN: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {"single_label": SINGLE_LABEL, "multi_label": MULTI_LABEL, "regression": REGRESSION}
)
"""Kind of problem to its metrics, and whether more is better."""


def measure(problem: str, predictions: np.ndarray, targets: np.ndarray) -> Scores:
    """All metrics of a kind of problem."""
    return {"single_label": single_label, "multi_label": multi_label, "regression": regression}[problem](
        predictions, targets
    )

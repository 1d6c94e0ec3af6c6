"""What metrics and baselines are called for a reader, and how their values are written; knows no run and no page."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from whet import metrics
from whet.core import Scores

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "Accuracy",
        "macro_f1": "F1, mean over classes",
        "weighted_f1": "F1, weighted by class",
        "micro_f1": "F1 over all labels",
        "f1": "F1",
        "precision": "Precision",
        "recall": "Recall",
        "matthews": "Matthews correlation",
        "roc_auc": "Area under the ROC curve",
        "log_loss": "Log loss",
        "loss": "Loss",
        "subset_accuracy": "Rows with every label right",
        "hamming_accuracy": "Labels that are right",
        "pearson": "Pearson correlation",
        "spearman": "Rank correlation",
        "r2": "R²",
        "mean_squared_error": "Mean squared error",
        "mean_absolute_error": "Mean absolute error",
        "perplexity": "Perplexity",
        "token_accuracy": "Tokens that are right",
        "exact_match": "Exact matches",
        "bleu": "BLEU",
        "chrf": "chrF",
        "rouge1": "ROUGE-1",
        "rouge2": "ROUGE-2",
        "rougeL": "ROUGE-L",
        "wer": "Word error rate",
        "cer": "Character error rate",
    }
)
"""Metric to its name for a reader."""

PERCENT = frozenset(
    {
        *("accuracy", "macro_f1", "weighted_f1", "micro_f1", "f1", "precision", "recall", "roc_auc", "wer", "cer"),
        *("subset_accuracy", "hamming_accuracy", "token_accuracy", "exact_match", "rouge1", "rouge2", "rougeL"),
    }
)
"""Metrics that are shares, and read best in percent."""

ROW_SHARES = ("accuracy", "subset_accuracy")
"""Metrics that are a share of rows, so that their standard error follows from the number of rows."""

BASELINES = {
    "majority": "always the most frequent answer",
    "tfidf": "TF-IDF + logistic regression",
    "features": "frozen features + logistic regression",
    "pretrained": "the model before fine-tuning",
    "frequencies": "how frequent each token is",
    "words": "the most frequent tag of each word",
    "copy": "the source as it is",
    "empty": "an empty text",
}
VALUE_BASELINES = {
    "majority": "always the mean",
    "tfidf": "TF-IDF + ridge regression",
    "features": "frozen features + ridge regression",
}

_LESS_IS_BETTER = frozenset(
    name
    for known in (*metrics.KNOWN.values(), metrics.NEXT_TOKEN, metrics.PARTS, metrics.TAGS, metrics.TRANSCRIPT)
    for name, more in known.items()
    if not more
) | {"loss"}


def metric_name(metric: str) -> str:
    """A metric in words; one that nobody has named as it is."""
    return METRICS.get(metric, metric)


def baseline_name(name: str, scores: Scores) -> str:
    """A baseline in words; the scores tell whether it answers with classes or numbers."""
    names = VALUE_BASELINES if "mean_squared_error" in scores else BASELINES
    return names.get(name, name)


def more_is_better(metric: str) -> bool:
    """Whether more of a metric is better."""
    return metric not in _LESS_IS_BETTER


def written(metric: str, value: float) -> str:
    """A value of a metric: in percent where it is a share."""
    if metric in PERCENT:
        return f"{100 * value:.1f}%"
    if metric in ("bleu", "chrf"):
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def written_difference(metric: str, value: float) -> str:
    """A difference of two values of a metric, without its unit: ``points`` where it is a share."""
    return f"{100 * abs(value):.1f}" if metric in PERCENT else written(metric, abs(value))

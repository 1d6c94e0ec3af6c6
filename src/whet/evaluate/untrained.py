"""Scores of one who knows nothing of a language but how frequent its tokens are."""

from __future__ import annotations

import numpy as np

from whet import metrics
from whet.core import Examples, Ragged, Scores


def frequencies(train: Examples, test: Examples, vocabulary: int) -> Scores:
    """Scores of one who knows only how often each token is learned in the training rows, each at least half a time."""
    seen, wanted = _learned(train), _learned(test)
    counts = np.bincount(seen, minlength=vocabulary) + 0.5
    losses = np.log(counts.sum()) - np.log(counts[wanted])
    sums = np.array([[losses.sum(), len(wanted), (wanted == counts.argmax()).sum()]], dtype=np.float64)
    return {**metrics.next_token(sums), "loss": float(losses.mean())}


def _learned(examples: Examples) -> np.ndarray:
    """The tokens that are learned."""
    assert isinstance(examples.targets, Ragged)
    values: np.ndarray = examples.targets.values
    return values[values >= 0]

"""Which rows stand together: length-sorted batches inside shuffled windows, and padding.

Rows of like length in one batch need little padding; shuffling the windows and then the batches keeps the order
random. The plan of an epoch depends on the seed and the epoch's number alone, so a run can be taken up anywhere.
"""

import numpy as np

from whet.core import Ragged

WINDOW = 50
"""Batches that are sorted by length together: wide enough to save nearly all padding, narrow enough to stay random."""

BLUR = 0.1
"""Rows of a single window count as up to this share longer or shorter, or the same rows would meet in every epoch."""


def epoch_batches(lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """Row numbers of every batch of one epoch; each row once, the last batch of the epoch may be smaller.

    ``lengths`` is (N,). Equal arguments give equal batches on every machine.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(lengths))
    ragged_tail = order[len(order) - len(order) % batch_size :]
    order = order[: len(order) - len(ragged_tail)]
    blur = BLUR if len(order) <= WINDOW * batch_size else 0.0
    batches = []
    for start in range(0, len(order), WINDOW * batch_size):
        window = order[start : start + WINDOW * batch_size]
        blurred = lengths[window] * generator.uniform(1 - blur, 1 + blur, len(window))
        window = window[np.argsort(blurred, kind="stable")]
        batches += list(window.reshape(-1, batch_size))
    batches = [batches[i] for i in generator.permutation(len(batches))]
    return [*batches, ragged_tail] if len(ragged_tail) else batches


def sorted_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Row numbers of batches for evaluation: sorted by length, the longest first, ``tokens`` padded tokens in each.

    The longest first, so that memory runs out at once or not at all.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        rows = max(1, tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def pad(rows: Ragged, indices: np.ndarray, fill: int) -> np.ndarray:
    """(B, T) values of the rows at ``indices``, filled up on the right to the longest of them."""
    starts = rows.starts[indices]
    # Not rows.lengths, which counts every row of the data set.
    lengths = rows.starts[indices + 1] - starts
    positions = np.arange(int(lengths.max(initial=0)))
    # Behind the end of a row stands the next row, and behind the last one nothing: neither is taken over.
    values = rows.values.take(starts[:, None] + positions, mode="clip")
    return np.where(positions < lengths[:, None], values, np.int64(fill))

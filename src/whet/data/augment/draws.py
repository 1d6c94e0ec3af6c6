"""The random numbers by which a training row is changed: functions of the seed, the epoch and the row alone."""

import numpy as np

from whet.protocols import Draws

_CHANGES = 1
"""Tells these random numbers from the others that a run draws from its seed."""


def draws(seed: int, epoch: int, rows: np.ndarray) -> Draws:
    """A generator for each of these rows, at the beginning of its random numbers."""
    return [np.random.Generator(np.random.PCG64([seed, epoch, int(row), _CHANGES])) for row in rows]

"""How many signs or words have to be put in, left out or changed to make one row of them another (Levenshtein 1966)."""

from collections.abc import Sequence

import numpy as np

LONGEST = 2000
"""Of longer rows the beginning is compared: the work grows with the square."""


def edits(wanted: Sequence[str], found: Sequence[str]) -> int:
    """The least number of changes."""
    wanted, found = wanted[:LONGEST], found[:LONGEST]
    number = {one: i for i, one in enumerate(dict.fromkeys([*wanted, *found]))}
    other = np.array([number[one] for one in found], dtype=np.int64)
    steps = np.arange(len(found) + 1)
    row = steps.copy()
    for one in wanted:
        # Changed or kept, or left out; then put in, of which any number may follow one another.
        best = np.minimum(row[:-1] + (other != number[one]), row[1:] + 1)
        row = np.minimum.accumulate(np.concatenate([[row[0] + 1], best]) - steps) + steps
    return int(row[-1])

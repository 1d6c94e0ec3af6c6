"""What one would answer to a tagging task who only counts the tags of the training rows.

Sees tokens, targets and where each unit stands among the tokens; knows no model and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from whet.core import Examples, Ragged

Word = tuple[int, ...]


def majority(train: Examples, test: Examples, classes: int) -> Ragged:
    """The most frequent tag of all, as probabilities (C,) for each token of the test rows."""
    return _certain(np.full(len(test.inputs["input_ids"].values), _most_frequent(train)), test, classes)


def words(train: Examples, test: Examples, classes: int) -> Ragged:
    """The most frequent tag that a word has in the training rows, for words that are not there that of all."""
    counts: dict[Word, Counter[int]] = {}
    for row in range(len(train)):
        for word, _, tag in _words(train, row):
            counts.setdefault(word, Counter())[tag] += 1
    # Of equally frequent ones the lower number, so that the answer does not depend on the order of the rows.
    known = {word: min(seen, key=lambda tag: (-seen[tag], tag)) for word, seen in counts.items()}
    tokens = test.inputs["input_ids"]
    answers = np.full(len(tokens.values), _most_frequent(train))
    for row in range(len(test)):
        for word, position, _ in _words(test, row):
            answers[tokens.starts[row] + position] = known.get(word, answers[tokens.starts[row] + position])
    return _certain(answers, test, classes)


def _words(examples: Examples, row: int) -> Iterator[tuple[Word, int, int]]:
    """Each word that is read of a row, by its tokens, with the place of the first of them, and its tag."""
    assert isinstance(examples.targets, Ragged)
    tokens, targets = examples.inputs["input_ids"][row].tolist(), examples.targets[row].tolist()
    starts, stops = (examples.beside[name][row].tolist() for name in ("positions", "stops"))
    for start, stop in zip(starts, stops, strict=True):
        yield tuple(tokens[start:stop]), start, targets[start]


def _most_frequent(examples: Examples) -> int:
    assert isinstance(examples.targets, Ragged)
    learned = examples.targets.values[examples.targets.values >= 0]
    return int(np.bincount(learned).argmax())


def _certain(answers: np.ndarray, test: Examples, classes: int) -> Ragged:
    return Ragged(np.eye(classes, dtype=np.float32)[answers], test.inputs["input_ids"].starts)

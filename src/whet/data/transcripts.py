"""What is said in clips, as a model learns to write it: one spelling, of characters that have a token each.

Knows no file and no model.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from whet.core import Examples, Ragged, Rows
from whet.data.clips import Clips
from whet.data.problems import at, first_few
from whet.errors import DataError

NOTHING = -1
"""Stands behind the last token of a row."""
UNLEARNED = -100
"""The target of a token that is not learned."""
DECODER = "decoder_input_ids"
"""The model's argument for the tokens before each."""
KEPT = 1024
"""Tokens of a transcript that are kept: thirty seconds of fast speech have some 600 characters."""


class Spelling(Protocol):
    """What turns transcripts into tokens and back."""

    @property
    def blank(self) -> int:
        """The token of a CTC model that stands for nothing."""
        ...

    @property
    def opening(self) -> Sequence[int]:
        """Tokens before every transcript."""
        ...

    @property
    def stop(self) -> int:
        """The token behind every transcript."""
        ...

    @property
    def room(self) -> int:
        """Tokens that are written at most."""
        ...

    def numbers(self, text: str) -> list[int]:
        """The tokens of a transcript."""
        ...

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What rows of tokens spell."""
        ...


@dataclass(frozen=True, kw_only=True)
class SpokenClips(Clips):
    """Clips with what is said in them."""

    references: tuple[str, ...] = ()
    """(N,) transcripts in the spelling that the model learns; empty where there are none."""
    spelling: Spelling

    def texts(self, tokens: np.ndarray) -> list[str]:
        """What (N, S) tokens spell."""
        return self.spelling.texts([[one for one in row if one != NOTHING] for row in tokens.tolist()])


def characters(texts: Iterable[object]) -> str:
    """Every character of some texts once, in order."""
    return "".join(sorted({one for text in texts for one in unicodedata.normalize("NFC", str(text))}))


def refuse_unspeakable(rows: Rows, column: str, references: Sequence[str]) -> None:
    """Raise DataError where nothing is left of a transcript in the spelling that is learned."""
    empty = [rows.places[i] for i, text in enumerate(references) if not text]
    if empty:
        raise DataError(
            f"{rows.source}: nothing but punctuation is in column '{column}' of {at(rows.source, empty)}; correct these"
            " transcripts, or set task.punctuation to 'keep'"
        )


def refuse_long(rows: Rows, targets: Sequence[Sequence[int]], steps: np.ndarray) -> None:
    """Raise DataError where a transcript has more characters than its clip has steps: one is written at each at most.

    Two equal characters in turn need a blank between them.
    """
    wrong = []
    for row, numbers in enumerate(targets):
        needed = _needed(numbers)
        if needed > steps[row]:
            wrong.append((rows.places[row], f"{at(rows.source, [rows.places[row]])}: {needed} for {steps[row]}"))
    if wrong:
        raise DataError(
            f"{rows.source}: {len(wrong):,} transcripts are longer than their clips have steps to write them: "
            f"{first_few([told for _, told in wrong])}; look whether these clips are the right ones, and whole"
        )


def spread(
    clips: Clips, references: Sequence[str], numbers: Sequence[Sequence[int]], spelling: Spelling
) -> SpokenClips:
    """Clips for a CTC model: targets are the steps of a clip, the blank, and the characters, where there are some."""
    rows = [[int(steps), spelling.blank, *(numbers[i] if numbers else ())] for i, steps in enumerate(clips.lengths)]
    return _spoken(clips, references, spelling, targets=Ragged.of(rows))


def forced(
    rows: Rows, clips: Clips, references: Sequence[str], numbers: Sequence[Sequence[int]], spelling: Spelling
) -> SpokenClips:
    """Clips for a model that writes token by token: what is read before each token, and the token as target.

    Raises DataError naming transcripts that are longer than the model writes.
    """
    opening, stop = list(spelling.opening), spelling.stop
    long = [rows.places[i] for i, tokens in enumerate(numbers) if len(tokens) > spelling.room]
    if long:
        raise DataError(
            f"{rows.source}: the model writes {spelling.room} tokens at most, and the transcripts of "
            f"{at(rows.source, long)} have more; cut these clips into pieces with a transcript each"
        )
    whole = [[*opening, *tokens, stop] for tokens in numbers]
    targets = [[UNLEARNED] * (len(opening) - 1) + row[len(opening) :] for row in whole]
    decoder = Ragged.of(row[:-1] for row in whole)
    spoken = _spoken(clips, references, spelling, targets=Ragged.of(targets))
    return replace(spoken, inputs={**spoken.inputs, DECODER: decoder}, fills={**spoken.fills, DECODER: spelling.stop})


def fits(examples: Examples, row: int, steps: int) -> bool:
    """Whether a clip of so many steps has room for the characters of this row."""
    assert isinstance(examples.targets, Ragged)
    return steps >= _needed(examples.targets[row][2:].tolist())


def with_words_of(changed: Clips, examples: Examples, indices: np.ndarray) -> SpokenClips:
    """Clips that were changed, with what is said in the rows at ``indices``."""
    assert isinstance(examples, SpokenClips)
    assert isinstance(examples.targets, Ragged)
    references = [examples.references[i] for i in indices]
    rows = [examples.targets[int(i)].tolist() for i in indices]
    if DECODER not in examples.inputs:
        rows = [[int(steps), *row[1:]] for steps, row in zip(changed.lengths, rows, strict=True)]
        return _spoken(changed, references, examples.spelling, targets=Ragged.of(rows))
    spoken = _spoken(changed, references, examples.spelling, targets=Ragged.of(rows))
    decoder = Ragged.of(examples.inputs[DECODER][int(i)].tolist() for i in indices)
    return replace(spoken, inputs={**spoken.inputs, DECODER: decoder}, fills=examples.fills)


def _needed(numbers: Sequence[int]) -> int:
    """Steps that characters need: two equal ones in turn have a blank between them."""
    return len(numbers) + sum(a == b for a, b in pairwise(numbers))


def _spoken(clips: Clips, references: Sequence[str], spelling: Spelling, targets: Ragged) -> SpokenClips:
    known = {**vars(clips), "targets": targets}
    return SpokenClips(**known, references=tuple(references), spelling=spelling)

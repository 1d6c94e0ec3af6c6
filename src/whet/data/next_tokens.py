"""Texts as rows of tokens with a target for each: what a language model reads, and what of it is learned.

Every text ends with the stop token, which is learned like any other, and what is cut off is counted. Long texts are
cut into rows; short ones are packed into one row where that is wanted, each with positions of its own from 0, from
which transformers tells that they do not see each other. Knows no model and no template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from whet.core import Batch, Examples, Ragged
from whet.data.batch import pad
from whet.data.chats import Rendered

UNLEARNED = -100
"""The target of a token that is not learned."""

CHUNK = 512
"""Texts that are tokenised at once."""


@dataclass(frozen=True)
class Piece:
    """A text, or a part of one, as tokens."""

    tokens: np.ndarray
    targets: np.ndarray
    """The tokens that are learned, ``UNLEARNED`` elsewhere."""
    cut: bool = False
    """Whether its end was cut off."""


def tokenised(texts: Sequence[Rendered], processor: PreTrainedTokenizerBase, *, specials: bool) -> Iterator[Piece]:
    """Each text as one piece, which ends with a stop token; ``specials`` adds what the tokenizer puts before a text.

    A token is learned where its end lies in a learned part.
    """
    first = _leading(processor) if specials else []
    stop = processor.eos_token_id
    known = set(processor.all_special_ids)
    for begin in range(0, len(texts), CHUNK):
        few = texts[begin : begin + CHUNK]
        read = processor(
            [one.text for one in few],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        for one, tokens, offsets in zip(few, read["input_ids"], read["offset_mapping"], strict=True):
            ends = np.array([end for _, end in offsets], dtype=np.int64)
            learned = np.zeros(len(tokens), dtype=bool)
            for start, end in one.learned:
                learned |= (ends > start) & (ends <= end)
            numbers = [*first, *tokens]
            mask = np.concatenate([np.zeros(len(first), dtype=bool), learned])
            # An answer that ends the chat with a sign of its own needs no other.
            ends_itself = bool(learned.any()) and tokens[np.flatnonzero(learned)[-1]] in known
            if one.learned and not ends_itself:
                numbers, mask = [*numbers, stop], np.append(mask, True)
            array = np.array(numbers, dtype=np.int64)
            yield Piece(array, np.where(mask, array, UNLEARNED))


def cut(pieces: Iterator[Piece], longest: int) -> list[Piece]:
    """Pieces of at most so many tokens; those that are longer lose their end, or their beginning where nothing else is
    learned."""
    return [piece if len(piece.tokens) <= longest else _cut(piece, longest) for piece in pieces]


def _cut(piece: Piece, longest: int) -> Piece:
    begins = (piece.targets[1:longest] >= 0).any()
    part = slice(0, longest) if begins else slice(len(piece.tokens) - longest, None)
    return Piece(piece.tokens[part], piece.targets[part], cut=True)


def divided(pieces: Iterable[Piece], longest: int, *, to_fill: bool) -> list[Piece]:
    """Pieces of at most so many tokens; those that are longer go on in the next.

    With ``to_fill`` they are cut where ``packed`` has no more room, so that it fills every row but the last.
    """
    parts = []
    room = longest
    for piece in pieces:
        start = 0
        while start < len(piece.tokens):
            part = slice(start, start + (room if to_fill else longest))
            parts.append(Piece(piece.tokens[part], piece.targets[part]))
            start = part.stop
            room = room - len(parts[-1].tokens) or longest
    return parts


def packed(pieces: Sequence[Piece], longest: int) -> list[list[Piece]]:
    """Pieces that stand in one row of at most so many tokens, in their order."""
    rows: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if len(piece.tokens) > room:
            rows.append([])
            room = longest
        rows[-1].append(piece)
        room -= len(piece.tokens)
    return rows


def examples(rows: Sequence[Sequence[Piece]], padding: int, *, positions: bool) -> Examples:
    """Rows of one or more pieces each as examples; ``positions`` tells the model where each piece begins.

    The first token of a piece is never learned: nothing comes before it.
    """
    tokens = Ragged.of(_joined(piece.tokens for piece in row) for row in rows)
    targets = Ragged.of(_joined(_from_second(piece.targets) for piece in row) for row in rows)
    inputs, fills = {"input_ids": tokens}, {"input_ids": padding}
    if positions:
        inputs["position_ids"] = Ragged.of(_joined(np.arange(len(piece.tokens)) for piece in row) for row in rows)
        fills["position_ids"] = 0
    truncated = sum(piece.cut for row in rows for piece in row)
    return Examples(inputs, targets, tokens.lengths, fills, truncated)


def collate(examples: Examples, indices: np.ndarray) -> Batch:
    """Rows padded on the right; targets (B, T) are those of the tokens themselves, not of the next ones."""
    inputs = {n: torch.from_numpy(pad(values, indices, examples.fills[n])) for n, values in examples.inputs.items()}
    lengths = examples.lengths[indices]
    if "position_ids" not in inputs:
        inputs["attention_mask"] = torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
    targets, weight = None, 0.0
    if isinstance(examples.targets, Ragged):
        targets = torch.from_numpy(pad(examples.targets, indices, UNLEARNED))
        weight = float((targets != UNLEARNED).sum())
    return Batch(inputs, targets, weight, len(indices), int(lengths.sum()))


def illustrated(examples: Examples, processor: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
    """The first row in pieces of text that are learned and pieces that are not."""
    assert isinstance(examples.targets, Ragged)
    tokens, learned = examples.inputs["input_ids"][0], examples.targets[0] != UNLEARNED
    edges = [0, *(np.flatnonzero(np.diff(learned)) + 1).tolist(), len(tokens)]
    spans = [slice(start, end) for start, end in pairwise(edges) if end > start]
    return [(str(processor.decode(tokens[span].tolist())), bool(learned[span.start])) for span in spans]


def _joined(arrays: Iterable[np.ndarray]) -> list[int]:
    joined: list[int] = np.concatenate(list(arrays)).tolist()
    return joined


def _from_second(targets: np.ndarray) -> np.ndarray:
    return np.concatenate([[UNLEARNED], targets[1:]]) if len(targets) else targets


def _leading(processor: PreTrainedTokenizerBase) -> list[int]:
    """The sign that the tokenizer puts before a text."""
    first: list[int] = processor("", verbose=False)["input_ids"][:1]
    return first if first and first[0] == processor.bos_token_id else []

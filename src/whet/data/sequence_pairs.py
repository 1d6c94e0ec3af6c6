"""Texts and what they become, as an encoder-decoder reads and learns them. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from whet.core import Choice, Columns, Examples, Ragged, Rows
from whet.data.tokens import CHUNK, limit, tokenise
from whet.errors import ModelError

QUANTILE = 0.99
"""Share of the targets that are to be learned to their end."""


@dataclass(frozen=True)
class SequencePairs:
    """How the rows of a data set become what a model reads and learns."""

    source: PreTrainedTokenizerBase
    target: PreTrainedTokenizerBase
    prefix: str
    """What stands before every source."""
    max_length: int | None
    max_target_length: int | None
    start: int | None
    """What a decoder reads first; None is the target's last token."""

    @property
    def end(self) -> int:
        """What ends a target; raises ModelError where the tokenizer has no such token."""
        ends = (self.target.eos_token_id, self.target.sep_token_id)
        found = next((number for number in ends if number is not None), None)
        if found is None:
            raise ModelError("the tokenizer of this model has no end token, so no answer could end; add 'eos_token'")
        return int(found)

    @property
    def longest_target(self) -> int:
        """Tokens that are written at most."""
        most = limit(self.target, None)
        return most if self.max_target_length is None else min(most, self.max_target_length)

    @property
    def opening(self) -> list[int]:
        """What every target begins with: a language, or the tokenizer's own sign."""
        empty = self._targets([""], None)[0]
        return empty[: empty.index(self.end)]

    @property
    def first_read(self) -> int:
        """What the decoder reads before it writes."""
        return self._targets([""], None)[0][-1] if self.start is None else self.start

    def lengths(self, texts: Sequence[object]) -> np.ndarray:
        """(N,) tokens of targets, none of them cut."""
        return np.array([len(row) for row in self._targets([str(text) for text in texts], None)])

    def examples(self, rows: Rows, columns: Columns) -> Examples:
        """Sources, and targets where there are any; raises DataError for sources in which nothing is read."""
        read = tokenise(self._prefixed(rows, columns), columns.text, self.source, limit(self.source, self.max_length))
        inputs, fills = {"input_ids": read.inputs["input_ids"]}, {"input_ids": read.fills["input_ids"]}
        learned = None
        if columns.label:
            texts = [str(text) for text in rows.columns[columns.label[0]]]
            targets = self._targets(texts, self.longest_target)
            learned = Ragged.of(targets)
            starts = [row[-1] if self.start is None else self.start for row in targets]
            inputs["decoder_input_ids"] = Ragged.of(
                [first, *row[:-1]] for first, row in zip(starts, targets, strict=True)
            )
            fills["decoder_input_ids"] = int(self.target.pad_token_id or 0)
        return Examples(inputs, learned, read.lengths, fills, read.truncated)

    def illustrated(self, examples: Examples) -> list[tuple[str, bool]]:
        """The first source as it is read, and the target as it is learned."""
        assert isinstance(examples.targets, Ragged)
        read = str(self.source.decode(examples.inputs["input_ids"][0].tolist()))
        return [(f"{read} ", False), (str(self.target.decode(examples.targets[0].tolist())), True)]

    def _prefixed(self, rows: Rows, columns: Columns) -> Rows:
        texts: list[object] = [f"{self.prefix}{text}" for text in rows.columns[columns.text[0]]]
        return replace(rows, columns={columns.text[0]: texts})

    def _targets(self, texts: Sequence[str], longest: int | None) -> list[list[int]]:
        """Tokens of targets, each with its end."""
        apart = self.source is not self.target
        cut = {} if longest is None else {"truncation": True, "max_length": longest - apart}
        found: list[list[int]] = []
        for first in range(0, len(texts), CHUNK):
            few, options = list(texts[first : first + CHUNK]), {"return_attention_mask": False, "verbose": False, **cut}
            # A decoder that was pre-trained alone has its own signs where an encoder would look for them.
            read = (
                self.target(few, add_special_tokens=False, **options)
                if apart
                else self.target(text_target=few, **options)
            )
            for row in read["input_ids"]:
                # Behind it may stand a language.
                ended = self.end in row[-2:]
                found.append(row if ended else [*(row if longest is None else row[: longest - 1]), self.end])
        return found


def measured(pairs: SequencePairs, targets: Sequence[object]) -> tuple[int, list[Choice]]:
    """Tokens of a target that are learned: of nearly all of them all, as far as the model can write; and why."""
    lengths = pairs.lengths(targets)
    wanted = pairs.max_target_length or int(np.ceil(np.quantile(lengths, QUANTILE)))
    most = limit(pairs.target, None)
    longest = min(wanted, most)
    cut = int((lengths > longest).sum())
    why = f"the longest target has {lengths.max()} tokens"
    if cut:
        why = f"{cut} of {len(lengths)} targets lose their end; the longest has {lengths.max()} tokens"
    if longest < wanted:
        why += f", and the model writes {most}"
    return longest, [Choice("task.max_target_length", longest, "inferred", why)]

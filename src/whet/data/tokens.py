"""Texts to token numbers: each text is tokenised once and kept without padding. Knows no task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from whet.core import Ragged, Rows
from whet.data.problems import at
from whet.errors import DataError, RecipeError

LONGEST = 512
"""Tokens that are read of a row unless the recipe says otherwise; the cost of attention grows with their square."""

CHUNK = 512
"""Rows that are tokenised at once: what the tokenizer returns takes fifty times the room of the numbers alone."""


@dataclass(frozen=True)
class Tokens:
    """N rows of token numbers."""

    inputs: dict[str, Ragged]
    lengths: np.ndarray
    """(N,) tokens of each row, at least 1."""
    fills: dict[str, int]
    """What pads each input."""
    truncated: int
    """Rows that lost their end."""


def limit(processor: PreTrainedTokenizerBase, wanted: int | None) -> int:
    """Tokens that are read of a row: what the user wants, else what the model can read, at most ``LONGEST``.

    Raises RecipeError for more than the model can read.
    """
    most = processor.model_max_length
    if wanted is not None and wanted > most:
        raise RecipeError(f"task.max_length: {wanted} tokens, but the model reads {most}; choose at most {most}")
    return wanted or min(LONGEST, most)


def tokenise(rows: Rows, columns: Sequence[str], processor: PreTrainedTokenizerBase, longest: int) -> Tokens:
    """Token numbers of the texts (one column) or pairs of texts (two columns) of N rows.

    Raises DataError for texts in which the tokenizer finds nothing.
    """
    chunks, truncated = [], 0
    for start in range(0, len(rows), CHUNK):
        texts = [[str(value) for value in rows.columns[name][start : start + CHUNK]] for name in columns]
        numbers, cut = _numbers(texts, processor, longest)
        chunks.append({name: Ragged.of(values) for name, values in numbers.items()})
        truncated += cut
    names = chunks[0] if chunks else ["input_ids"]
    ragged = {name: Ragged.joined([chunk[name] for chunk in chunks]) for name in names}
    lengths = ragged["input_ids"].lengths
    blank = np.flatnonzero(lengths == 0).tolist()
    if blank:
        where = at(rows.source, [rows.places[i] for i in blank])
        raise DataError(f"{rows.source}: the model's tokenizer reads nothing in the text of {where}; correct it")
    pads = {"input_ids": processor.pad_token_id, "token_type_ids": processor.pad_token_type_id}
    return Tokens(ragged, lengths, {name: int(pads.get(name) or 0) for name in ragged}, truncated)


def _numbers(
    texts: list[list[str]], processor: PreTrainedTokenizerBase, longest: int
) -> tuple[dict[str, list[list[int]]], int]:
    """Some rows by the name of the model's argument, and how many of them were cut."""
    options = {"return_attention_mask": False, "verbose": False}
    read = processor(*texts, truncation=True, max_length=longest, **options)
    inputs = {name: read[name] for name in processor.model_input_names if name in read}
    if read.encodings is not None:
        return inputs, sum(bool(encoding.overflowing) for encoding in read.encodings)
    # Tokenizers written in Python do not tell what they cut off: a row that fills the limit may have been longer.
    full = [row for row, numbers in enumerate(read["input_ids"]) if len(numbers) >= longest]
    if not full:
        return inputs, 0
    whole = processor(*[[column[row] for row in full] for column in texts], truncation=False, **options)
    return inputs, sum(len(numbers) > longest for numbers in whole["input_ids"])

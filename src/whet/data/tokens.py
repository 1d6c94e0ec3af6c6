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
    texts = [[str(value) for value in rows.columns[name]] for name in columns]
    inputs, truncated = _numbers(texts, processor, longest) if len(rows) else ({"input_ids": []}, 0)
    ragged = {name: Ragged.of(values) for name, values in inputs.items()}
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
    """Rows by the name of the model's argument, and how many were cut; only those are tokenised again."""
    options = {"return_attention_mask": False, "verbose": False}
    whole = processor(*texts, truncation=False, **options)
    inputs = {name: list(whole[name]) for name in processor.model_input_names if name in whole}
    long = [row for row, numbers in enumerate(inputs["input_ids"]) if len(numbers) > longest]
    if long:
        cut = processor(
            *[[column[i] for i in long] for column in texts], truncation=True, max_length=longest, **options
        )
        for name, values in inputs.items():
            for position, row in enumerate(long):
                values[row] = cut[name][position]
    return inputs, len(long)

"""Texts to token numbers: each text is tokenised once and kept without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from whet.core import Ragged

LONGEST = 512
"""Tokens that are read of a row unless the recipe says otherwise; the cost of attention grows with their square."""


@dataclass(frozen=True)
class Tokens:
    """N rows of token numbers."""

    inputs: dict[str, Ragged]
    fills: dict[str, int]
    """What pads each input."""
    truncated: int
    """Rows that lost their end."""


def limit(processor: PreTrainedTokenizerBase, wanted: int | None) -> int:
    """Tokens that are read of a row: what the user wants, else what the model can read, at most ``LONGEST``."""
    return wanted or min(LONGEST, processor.model_max_length)


def tokenise(texts: Sequence[Sequence[str]], processor: PreTrainedTokenizerBase, longest: int) -> Tokens:
    """Token numbers of N texts (``texts`` holds one sequence) or N pairs of texts (two sequences)."""
    options = {"return_attention_mask": False, "verbose": False}
    whole = processor(*map(list, texts), truncation=False, **options)
    columns = {name: list(whole[name]) for name in processor.model_input_names if name in whole}
    long = [row for row, numbers in enumerate(columns["input_ids"]) if len(numbers) > longest]
    if long:
        cut = processor(
            *[[column[i] for i in long] for column in texts], truncation=True, max_length=longest, **options
        )
        for name, values in columns.items():
            for position, row in enumerate(long):
                values[row] = cut[name][position]
    pads = {"input_ids": processor.pad_token_id, "token_type_ids": processor.pad_token_type_id}
    fills = {name: int(pads.get(name) or 0) for name in columns}
    return Tokens({name: Ragged.of(values) for name, values in columns.items()}, fills, len(long))

"""Training the token embeddings."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class Embeddings(Selection):
    """Embeddings: the vectors of the tokens train, and the head; everything between them is frozen.

    Artetxe et al. 2020, "On the Cross-lingual Transferability of Monolingual Representations" (arXiv 1910.11856).

    Row t of the table E (vocabulary, D) moves where token t stands in the data; a row that is never read keeps its
    values but for weight decay. Choose it for a vocabulary that the model has hardly seen (jargon, another language,
    added tokens) and a task that it knows. A model that reads no tokens is refused.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=1e-3, schedule="linear", warmup=0.1, weight_decay=0.0)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the token embeddings and the head train."""
        if not parts.tokens:
            raise ModelError(
                f"method 'embeddings': {parts.family} reads no tokens, so it has no table of their vectors; "
                "choose 'last_blocks' or 'lora'"
            )
        return [Stage("token embeddings", 1.0, parts.under(parts.tokens) | parts.always)]

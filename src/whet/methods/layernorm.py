"""Training the norms."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.selection import Selection
from whet.model.targets import norms


@dataclass(frozen=True, config=OPTIONS)
class Layernorm(Selection):
    """LayerNorm tuning: the scales and shifts of all norms train, and the head.

    Zhao et al. 2024, "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning" (arXiv 2312.11420);
    for batch norms Frankle et al. 2021, "Training BatchNorm and Only BatchNorm" (arXiv 2003.00152).

    In y = gamma * (x - mean) / deviation + beta with x (B, T, D) only gamma (D,) and beta (D,) move; RMS norms have
    gamma alone. Some 0.02 % of a BERT. Choose it where what is stored per task must be tiny, and for models without
    biases, which ``bitfit`` refuses.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=2e-3, schedule="linear", warmup=0.1)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the norms of the body and the head train."""
        body = [*parts.stem, *(name for block in parts.blocks for name in block), *parts.final_norm]
        found = parts.under(norms(parts, body))
        if not found:
            raise ModelError(f"method 'layernorm': {parts.family} has no norms with weights; choose 'lora' or 'full'")
        return [Stage("norms", 1.0, found | parts.always)]

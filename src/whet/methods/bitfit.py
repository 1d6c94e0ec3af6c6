"""Training the biases."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class Bitfit(Selection):
    """BitFit: the biases and the head train, every weight matrix is frozen.

    Ben Zaken et al. 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
    Language-models" (arXiv 2106.10199).

    In y = x W + b with x (B, T, d_in), W (d_in, d_out) and b (d_out,) only b moves, in the norms too: some 0.1 % of a
    BERT. Choose it for few rows, where what is stored per task must be tiny, or to see how much of the answer the
    model knows already; on large data full fine-tuning wins. A model without biases, such as Llama, is refused.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=2e-3, schedule="linear", warmup=0.1)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the biases of the body and the head train."""
        biases = frozenset(name for name in parts.parameters if name.rpartition(".")[2] == "bias")
        if not biases - parts.always:
            raise ModelError(
                f"method 'bitfit': the layers of {parts.family} have no biases; choose 'layernorm', which trains as "
                "few numbers, or 'lora'"
            )
        return [Stage("biases", 1.0, biases | parts.always)]

"""Full fine-tuning."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class Full(Selection):
    """Full fine-tuning: every parameter trains.

    Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv 1810.04805), section 3.2.

    All weights W move: W <- W - learning_rate * AdamW(dLoss/dW); a run of less than 1,300 steps learns faster, up to
    twice. Choose it for the best scores where the model is small (up to some 110 M parameters) and there are more than
    a few hundred rows. It needs the most memory: per trained number four bytes of weight, four of gradient and eight of
    optimiser state.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=5e-5, schedule="linear", warmup=0.1, settled_steps=1300)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which everything trains."""
        return [Stage("full", 1.0, frozenset(parts.parameters))]

"""Full fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts, Stage

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Full:
    """Full fine-tuning: every parameter trains.

    Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv 1810.04805), section 3.2.

    All weights W move: W <- W - learning_rate * AdamW(dLoss/dW); a run of less than 1,300 steps learns faster, up to
    twice. Choose it for the best scores where the model is small (up to some 110 M parameters) and there are more than
    a few hundred rows. It needs the most memory: per trained number four bytes of weight, four of gradient and eight of
    optimiser state.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=5e-5, schedule="linear", warmup=0.1, settled_steps=1300)
    keeps_base: ClassVar[bool] = False

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:  # noqa: ARG002
        """Nothing is inserted."""
        return model

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which everything trains."""
        return [Stage("full", 1.0, frozenset(parts.parameters))]

    def merge(self, model: nn.Module) -> nn.Module:
        """The model is plain already."""
        return model

    def cost(self, parts: Parts) -> Cost:
        """Every number is trained and stored."""
        total = parts.count(frozenset(parts.parameters))
        return Cost(trainable=total, stored=total, total=total)

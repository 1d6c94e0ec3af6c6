"""Linear probing, then full fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class LpFt(Selection):
    """LP-FT: the head trains until it fits the frozen body, then everything trains.

    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution"
    (arXiv 2202.10054).

    A random head sends large random gradients through the body and bends what it knows. So h trains on f(x) (B, T, D)
    first, which is computed once and for all, and then h and f train together. Choose it over ``full`` where the data
    to come differs from the data at hand (other sources, other times), and for few rows.
    """

    probing: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the steps in which the head trains alone."""
    probing_scale: Annotated[float, Field(gt=0)] = 30.0
    """How many times faster the head learns while it trains alone."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=5e-5, schedule="linear", warmup=0.1, settled_steps=1300)
    searched: ClassVar[Mapping[str, str]] = {"probing": "0.1,0.3,0.5"}

    def stages(self, parts: Parts) -> list[Stage]:
        """The head alone, then everything."""
        return [
            Stage("head", self.probing, self.head_alone(parts, "lp_ft"), self.probing_scale),
            Stage("all", 1.0 - self.probing, frozenset(parts.parameters)),
        ]

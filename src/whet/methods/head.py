"""Training the head alone."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class Head(Selection):
    """Head only (feature extraction): the pre-trained body never changes.

    Peters et al. 2019, "To Tune or Not to Tune?" (arXiv 1903.05987).

    With the body f frozen and the head h (pooler, if there is one, and classifier) trained, the answer is
    h(f(x)): f(x) is (B, T, D), the head makes (B, C) of it. A head that is one linear layer
    learns from numbers of mean 0 and deviation 1, which its weights take over at the end. The cheapest method by far.
    Choose it for few rows, for topics and intents close to what the body was trained on, or as the floor that other
    methods must beat; for sentiment and other subtle matters it usually loses.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=3e-3, schedule="linear", warmup=0.1, epochs=5)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the head trains."""
        return [Stage("head", 1.0, self.head_alone(parts, "head"), standardised=True)]

"""P-tuning v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts
from whet.model.virtual_tokens import DeepPrefix

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class PTuning(DeepPrefix):
    """P-tuning v2: learned keys and values for every block, beside those of the text.

    Liu et al. 2022, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales and Tasks"
    (arXiv 2110.07602); for pictures Jia et al. 2022, "Visual Prompt Tuning" (arXiv 2203.12119) put tokens there.

    With K, V (B, T, D) of a block and its learned P_K, P_V (l, D), attention reads [P_K; K] and [P_V; V]: 2 L l D
    numbers, some 0.3 % of a BERT, and the head, which trains in full. Choose it for understanding rather than writing,
    where many tasks share one base model. Models without attention, such as ResNet, are refused.
    """

    length: Annotated[int, Field(ge=1)] = 20
    """Virtual tokens l: the paper found 20 enough for simple classification, some 100 for hard tasks."""

    name: ClassVar[str] = "p_tuning"
    defaults: ClassVar[Defaults] = Defaults(learning_rate=1e-2, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"length": "5,10,20,50,100"}

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model with learned keys and values; raises ModelError where no attention could read them."""
        from whet.model.prefixes import insert

        self.check(parts)
        return insert(self.name, model, parts, self.length, None)

    def cost(self, parts: Parts) -> Cost:
        """Counts of the keys and values and of the head."""
        return self.count(parts, self.length, None)

"""Prefix tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts
from whet.errors import ModelError
from whet.model.virtual_tokens import DeepPrefix

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Prefix(DeepPrefix):
    """Prefix tuning: learned keys and values for every block, made by a small network while training.

    Li and Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation" (arXiv 2101.00190).

    With K, V (B, T, D) of a block and its learned P_K, P_V (l, D), attention reads [P_K; K] and [P_V; V]; no weight of
    the body moves. During training one network makes all of them from l tokens, P = tanh(E U + c) W + b with E (l, D),
    U (D, h) and W (h, 2 L D); afterwards it is dropped and 2 L l D numbers remain. The head trains in full. Choose it
    where many tasks share one base model; without the network it is ``p_tuning``.
    """

    length: Annotated[int, Field(ge=1)] = 20
    """Virtual tokens l. Longer ones fit more (the paper took 10 for tables, 200 for summaries) and cost time."""
    reparametrise: bool = True
    """Whether a network makes the keys and values during training, which is steadier than training them directly."""
    bottleneck: Annotated[int, Field(ge=1)] | None = None
    """Width h of the network's hidden layer; None is as wide as the keys."""

    name: ClassVar[str] = "prefix"
    defaults: ClassVar[Defaults] = Defaults(learning_rate=1e-3, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"length": "5,10,20,50"}

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model with a prefix; raises ModelError where no attention could read it."""
        from whet.model.prefixes import insert

        self.check(parts)
        return insert(self.name, model, parts, self.length, self._hidden(parts))

    def cost(self, parts: Parts) -> Cost:
        """Counts of the network that trains, of what it leaves behind, and of the head."""
        return self.count(parts, self.length, self._hidden(parts))

    def _hidden(self, parts: Parts) -> int | None:
        if self.reparametrise:
            return self.bottleneck or max(parts.attention.values(), default=1)
        if self.bottleneck is not None:
            raise ModelError("method.bottleneck: there is no network without 'reparametrise'; leave it out")
        return None

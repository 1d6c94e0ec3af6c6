"""What all methods share that insert nothing and only say which of a model's own parameters train."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from whet.core import Cost, Mask, Parts, Stage

if TYPE_CHECKING:
    from torch import nn


class Selection:
    """A method that is a mask, or one mask after the other; ``stages`` is all that it has to say."""

    keeps_base: ClassVar[bool] = False

    def stages(self, parts: Parts) -> list[Stage]:
        """What trains when; raises ModelError where the model has no such parameters."""
        raise NotImplementedError

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """Nothing is inserted; raises ModelError where the model has nothing that the method trains."""
        self.stages(parts)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        """The model is plain already."""
        return model

    def cost(self, parts: Parts) -> Cost:
        """What trains in any stage; the whole model is stored."""
        every: Mask = frozenset().union(*(stage.mask for stage in self.stages(parts)))
        total = parts.count(frozenset(parts.parameters))
        return Cost(trainable=parts.count(every), stored=total, total=total)

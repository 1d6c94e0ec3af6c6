"""What all methods share that insert nothing and only say which of a model's own parameters train."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from whet.core import Cost, Mask, Parts, Stage
from whet.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


class Selection:
    """A method that is a mask, or one mask after the other; ``stages`` is all that it has to say."""

    keeps_base: ClassVar[bool] = False

    def stages(self, parts: Parts) -> list[Stage]:
        """What trains when; raises ModelError where the model has no such parameters."""
        raise NotImplementedError

    def head_alone(self, parts: Parts, name: str) -> Mask:
        """The head, for the method of this name; raises ModelError where the model has no head of its own."""
        if not parts.answers:
            raise ModelError(
                f"method '{name}': the head of this {parts.family} is its table of token vectors, so it cannot "
                "train alone; choose 'last_blocks', 'embeddings' or 'lora'"
            )
        return parts.answers

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

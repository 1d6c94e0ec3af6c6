"""Training from random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.model.selection import Selection

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Scratch(Selection):
    """From scratch: the same architecture with random weights, as a baseline.

    Yosinski et al. 2014, "How Transferable Are Features in Deep Neural Networks?" (arXiv 1411.1792).

    Every weight is drawn anew by the architecture's own initialisation, then everything trains. The distance to
    ``full`` is what pre-training is worth on this data. Choose it to know that distance, or where the data has
    nothing in common with any pre-trained model.
    """

    defaults: ClassVar[Defaults] = Defaults(learning_rate=2e-4, schedule="linear", warmup=0.1, epochs=5)

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:  # noqa: ARG002
        """The same model with new random weights, drawn from torch's present seed."""
        from transformers import PreTrainedModel

        assert isinstance(model, PreTrainedModel)
        model.load_state_dict(type(model)(model.config).state_dict())
        return model

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which everything trains."""
        return [Stage("scratch", 1.0, frozenset(parts.parameters))]

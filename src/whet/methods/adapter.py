"""Bottleneck adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.sublayers import Sublayer, sublayers
from whet.model.targets import counted, norms, saved_modules, trained

if TYPE_CHECKING:
    from torch import nn

    from whet.model.bottleneck import BottleneckConfig

REDUCTION = 16.0


@dataclass(frozen=True, config=OPTIONS)
class Adapter:
    """Bottleneck adapters: small layers between the frozen ones of every block, and the head.

    Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP" (arXiv 1902.00751), Pfeiffer et al. 2021,
    "AdapterFusion" (arXiv 2005.00247), He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer
    Learning" (arXiv 2110.04366).

    The output h (B, T, D) of a frozen layer becomes h + s (act(x A + a) B + b) with A (D, m) random, B (m, D), a (m,)
    and b (D,) zero, so nothing changes at the start; 2 D m + m + D numbers train per adapter. x is h itself, or what
    the feed-forward reads. The head trains in full. Choose it where many tasks share one base model and answers may
    take a few per cent longer: what is bent cannot be merged into the weights, as ``lora`` can.
    """

    placement: Literal["pfeiffer", "houlsby", "parallel"] = "pfeiffer"
    """Where adapters are: 'pfeiffer' has one per block, behind the feed-forward (behind the last convolution in a model
    without one), 'houlsby' one behind every attention too, and the norms of the blocks train, 'parallel' one beside the
    feed-forward, which reads what that reads."""
    bottleneck: Annotated[int, Field(ge=1)] | None = None
    """Width m of every adapter, instead of a reduction. Raise it when the training loss stops falling early."""
    reduction: Annotated[float, Field(ge=1)] = REDUCTION
    """How many times narrower than the model's width D an adapter is: m = D / reduction."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """What bends the m numbers in the middle of an adapter."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability on those m numbers. Helps against over-fitting on few rows."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Factor s on what an adapter adds; without it 4 for 'parallel', else 1."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=2e-3, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"reduction": "4,8,16,32,64"}
    keeps_base: ClassVar[bool] = True

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model as a peft model; raises ModelError where it has no place for such adapters."""
        from whet.model.adapters import attached

        return attached(model, self._config(parts))

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the adapters, the head and, with 'houlsby', the norms of the blocks train."""
        return [Stage("adapters", 1.0, trained(parts, ".bottleneck_"))]

    def merge(self, model: nn.Module) -> nn.Module:  # noqa: ARG002
        """Raises ModelError: there is no plain model that computes the same."""
        from whet.model.bottleneck import NOT_MERGED

        raise ModelError(f"method 'adapter': {NOT_MERGED}")

    def cost(self, parts: Parts) -> Cost:
        """Counts of the adapters, and of the head and norms, of which the model keeps its first copy too."""
        config, places = self._config(parts), self._places(parts)
        adapters = sum(2 * p.width * config.width(p.width) + config.width(p.width) + p.width for p in places)
        return counted(parts, adapters + parts.count(parts.under(self._norms(parts, places))))

    def _config(self, parts: Parts) -> BottleneckConfig:
        from whet.model.bottleneck import BottleneckConfig

        if self.bottleneck is not None and self.reduction != REDUCTION:
            raise ModelError(
                f"method.bottleneck: {self.bottleneck} sets the width of the adapters, and method.reduction "
                f"{self.reduction:g} would set it too; leave one of them out"
            )
        places = self._places(parts)
        beside = self.placement == "parallel"
        return BottleneckConfig(
            target_modules=[place.output for place in places],
            inputs={place.output: place.entry for place in places if beside and place.entry},
            bottleneck=self.bottleneck,
            reduction=self.reduction,
            activation=self.activation,
            dropout=self.dropout,
            scale=(4.0 if beside else 1.0) if self.scale is None else self.scale,
            modules_to_save=sorted({*saved_modules(parts), *self._norms(parts, places)}),
        )

    def _norms(self, parts: Parts, places: list[Sublayer]) -> list[str]:
        return norms(parts, {place.block for place in places}) if self.placement == "houlsby" else []

    def _places(self, parts: Parts) -> list[Sublayer]:
        found = sublayers(parts)
        if not found:
            raise ModelError(
                f"method 'adapter': {parts.family} has neither a feed-forward of linear layers in its blocks nor a "
                "convolution; choose method 'lora' or 'full'"
            )
        kinds = {place.kind for place in found}
        if self.placement == "houlsby" and "attention" not in kinds:
            raise ModelError(
                f"method.placement: 'houlsby' stands behind attentions, and {parts.family} has none that it can "
                "stand behind; choose 'pfeiffer'"
            )
        if self.placement == "parallel" and "feed_forward" not in kinds:
            raise ModelError(
                f"method.placement: 'parallel' stands beside a feed-forward, and {parts.family} has none; "
                "choose 'pfeiffer'"
            )
        return [place for place in found if place.kind != "attention" or self.placement == "houlsby"]

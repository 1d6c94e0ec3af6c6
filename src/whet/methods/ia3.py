"""Scaling inner activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.targets import (
    counted,
    feed_forwards,
    keys_and_values,
    leading_queries,
    linear_layers,
    matching,
    saved_modules,
    trained,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Ia3:
    """IA3: vectors that scale keys, values and the inside of the feed-forward network, and the head.

    Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning"
    (arXiv 2205.05638).

    Attention becomes softmax(q (l_k * k)^T / sqrt(d)) (l_v * v) and the feed-forward network (l_ff * f(x W_1)) W_2,
    with vectors l_k (d_k,), l_v (d_v,) and l_ff (d_ff,) that begin as ones, so nothing changes at the start. That is
    L (d_k + d_v + d_ff) numbers in L blocks, and l_k and l_v once more where a decoder attends to an encoder. Where
    one layer computes queries, keys and values, its queries stay; in BLOOM, Falcon, GPT-NeoX and the first DeBERTa,
    which mix them head by head, they are scaled too. ConvNeXt has no attention and gets l_ff only. Choose it for tens
    to hundreds of rows, or where thousands of adapters are stored; LoRA can learn more.
    """

    targets: list[str] | None = None
    """Patterns of layers whose output is scaled, such as '*.value'; without them those that compute keys or values."""
    feedforward: list[str] | None = None
    """Patterns of layers whose input is scaled; without them the second ones of the feed-forward networks."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=3e-3, schedule="linear", warmup=0.06)
    keeps_base: ClassVar[bool] = True

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model as a peft model; raises ModelError where there is nothing to scale."""
        from peft import IA3Config

        from whet.model.adapters import ADAPTER, attached, keep_part

        outputs, inputs = self._layers(parts)
        config = IA3Config(
            target_modules=[*outputs, *inputs], feedforward_modules=inputs, modules_to_save=saved_modules(parts)
        )
        wrapped = attached(model, config)
        for name in outputs:
            if queries := leading_queries(parts, name):
                vectors = wrapped.get_submodule(f"base_model.model.{name}.ia3_l")
                keep_part(vectors, ADAPTER, 0, queries, first=True)
        return wrapped

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the vectors and the head train; a vector of ones must not decay to zeros."""
        mask = trained(parts, ".ia3_l.")
        return [Stage("ia3", 1.0, mask, undecayed=frozenset(name for name in mask if ".ia3_l." in name))]

    def merge(self, model: nn.Module) -> nn.Module:
        """A plain model whose weights are scaled, in their precision."""
        from whet.model.adapters import merged

        return merged(model)

    def cost(self, parts: Parts) -> Cost:
        """Counts of the vectors and of the head, of which the model keeps its first copy too."""
        outputs, inputs = self._layers(parts)
        scales = sum(parts.linear[name][1] for name in outputs) + sum(parts.linear[name][0] for name in inputs)
        queries = sum(leading_queries(parts, name) for name in outputs)
        return counted(parts, scales - queries, inserted=scales, stored=scales)

    def _layers(self, parts: Parts) -> tuple[list[str], list[str]]:
        """Layers whose output is scaled, and layers whose input is; one that is named as both counts as the latter."""
        known = linear_layers(parts)
        outputs, inputs = keys_and_values(parts), feed_forwards(parts)
        if self.targets is not None:
            outputs = matching("targets", self.targets, known, parts) if self.targets else []
        if self.feedforward is not None:
            inputs = matching("feedforward", self.feedforward, known, parts) if self.feedforward else []
        if not (outputs or inputs):
            raise ModelError(
                f"method 'ia3': {parts.family} has neither keys and values nor a feed-forward network to scale, or "
                "none that are known or named; name layers in method.targets, or choose 'lora'"
            )
        return sorted({*outputs} - {*inputs}), inputs

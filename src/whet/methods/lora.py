"""Low-rank adaptation."""

from __future__ import annotations

import fnmatch
import warnings
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Mask, Parts, Stage
from whet.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

# Peft's word for what a model answers, by the ending of the model's class; it picks the class that loads the adapter.
TASK_TYPES = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
}


@dataclass(frozen=True, config=OPTIONS)
class Lora:
    """LoRA: a low-rank update beside every linear layer, and the head.

    Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685); placement and learning
    rate after Schulman et al. 2025, "LoRA Without Regret".

    A frozen layer y = x W becomes y = x W + (alpha / r) x A B with x (B, T, d_in), W (d_in, d_out), A (d_in, r)
    random and B (r, d_out) zero, so nothing changes at the start; r (d_in + d_out) numbers train per layer. A
    convolution gets an A of its own kernel size and a B of 1 x 1. The head trains in full. Choose it where full
    fine-tuning does not fit into memory, where many tasks share one base model, or where old skills must stay.
    """

    rank: Annotated[int, Field(ge=1)] = 16
    """Rank r of the update. Raise it when the training loss stops falling early; costs memory and time."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update: it is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability on the input of every update. Helps against over-fitting on few rows."""
    targets: list[str] | None = None
    """Patterns of layer names such as '*.query'; without them all linear layers of the blocks, or their convolutions
    where a model has no linear ones."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=6e-4, schedule="linear", warmup=0.1)
    keeps_base: ClassVar[bool] = True

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model as a peft model; raises ModelError where no layer matches the targets."""
        from peft import LoraConfig, get_peft_model

        owners = {name.rpartition(".")[0] for name in frozenset(parts.fresh) - parts.under(parts.head)}
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft computes alpha / r and takes any number
            lora_dropout=self.dropout,
            target_modules=self._targets(parts),
            modules_to_save=[*parts.head, *sorted(owners)],
            task_type=next((v for k, v in TASK_TYPES.items() if type(model).__name__.endswith(k)), None),
        )
        with warnings.catch_warnings():
            # Peft warns of what it mends itself: GPT-2's kind of layer, and names that transformers gave up.
            warnings.simplefilter("ignore")
            return get_peft_model(model, config)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the updates and the head train."""
        return [Stage("lora", 1.0, frozenset(n for n in parts.parameters if ".lora_" in n or ".modules_to_save." in n))]

    def merge(self, model: nn.Module) -> nn.Module:
        """A plain model with W + (alpha / r) A B in place of W, in the precision of W."""
        from peft import PeftModel

        assert isinstance(model, PeftModel)
        merged: nn.Module = model.merge_and_unload()
        return merged

    def cost(self, parts: Parts) -> Cost:
        """Counts of the updates and of the head, of which the model keeps its first copy too."""
        trainable = sum(self._update(parts, name) for name in self._targets(parts)) + parts.count(self._head(parts))
        return Cost(trainable, stored=trainable, total=parts.count(frozenset(parts.parameters)) + trainable)

    def _head(self, parts: Parts) -> Mask:
        return parts.under(parts.head) | frozenset(parts.fresh)

    def _update(self, parts: Parts, name: str) -> int:
        if name in parts.linear:
            return self.rank * sum(parts.linear[name])
        width_out, *kernel = parts.parameters[f"{name}.weight"]
        size = 1
        for length in kernel:
            size *= length
        return self.rank * (size + width_out)

    def _targets(self, parts: Parts) -> list[str]:
        inside = parts.under(name for block in parts.blocks for name in block)
        weights = {name.removesuffix(".weight"): parts.parameters[name] for name in inside if name.endswith(".weight")}
        linear = sorted(name for name in weights if name in parts.linear)
        convolutions = sorted(name for name, shape in weights.items() if len(shape) > 2)
        if self.targets is None:
            if not (linear or convolutions):
                raise ModelError(
                    f"method 'lora': {parts.family} has no linear layer in its blocks; choose method 'full'"
                )
            return linear or convolutions
        known = linear + convolutions
        idle = [pattern for pattern in self.targets if not fnmatch.filter(known, pattern)]
        if idle or not self.targets:
            endings = sorted({name.rpartition(".")[2] for name in known})
            raise ModelError(
                f"method.targets: {', '.join(map(repr, idle)) or 'an empty list'} matches no layer of the blocks; "
                f"their names end in {', '.join(endings)} (write '*.{endings[0]}')"
            )
        return sorted({name for pattern in self.targets for name in fnmatch.filter(known, pattern)})

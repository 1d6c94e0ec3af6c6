"""Low-rank adaptation."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from math import prod, sqrt
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.targets import convolutions, counted, linear_layers, matching, saved_modules, trained

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Lora:
    """LoRA: a low-rank update beside every linear layer, and the head; its variants are options.

    Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685); placement and learning
    rate after Schulman et al. 2025, "LoRA Without Regret".

    A frozen layer y = x W becomes y = x W + (alpha / r) x A B with x (B, T, d_in), W (d_in, d_out), A (d_in, r)
    random and B (r, d_out) zero, so nothing changes at the start; r (d_in + d_out) numbers train per layer. A
    convolution gets an A of its own kernel size and a B of 1 x 1; a grouped one gets none, nor does a layer whose
    weight is read without calling it (the attention of WavLM). The head trains in full.
    Choose it where full fine-tuning does not fit into memory, where many tasks share one base model, or where old
    skills must stay. Its variants can be combined: ``scaling`` for ranks of 32 and more, ``decompose`` for ranks of 8
    and less, ``start`` and ``b_rate`` where there is time for few steps only.
    """

    rank: Annotated[int, Field(ge=1)] = 16
    """Rank r of the update. Raise it when the training loss stops falling early; costs memory and time."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update: it is multiplied by what ``scaling`` says."""
    scaling: Literal["alpha/rank", "alpha/sqrt(rank)"] = "alpha/rank"
    """What the update is multiplied by. With 'alpha/sqrt(rank)' (rsLoRA, Kalajdzievski 2023, arXiv 2312.03732) high
    ranks learn as fast as low ones; take a smaller alpha then, such as 8."""
    decompose: bool = False
    """Train the length of every output's weights apart from their direction (DoRA, Liu et al. 2024, arXiv 2402.09353):
    W' = m (W + (alpha / r) A B) / |W + (alpha / r) A B|, with lengths m (d_out,) that begin as |W|. Takes more time."""
    start: Literal["zero", "pissa"] = "zero"
    """Where the update begins. With 'pissa' (Meng et al. 2024, arXiv 2404.02948) A B is the principal part of W, which
    W gives away, so what matters most in W learns first. The adapter is stored as one of twice the rank."""
    b_rate: Annotated[float, Field(gt=0)] = 1.0
    """How many times faster B learns than A (LoRA+, Hayou et al. 2024, arXiv 2402.12354, who take 16 at a low rate)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability on the input of every update. Helps against over-fitting on few rows."""
    targets: list[str] | None = None
    """Patterns of layer names such as '*.query'; without them all linear layers of the blocks, or their convolutions
    where a model has no linear ones."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=6e-4, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"rank": "4,8,16,32,64", "alpha": "2*method.rank"}
    keeps_base: ClassVar[bool] = True

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model as a peft model; raises ModelError where no layer can have such an update."""
        from peft import LoraConfig

        from whet.model.adapters import attached
        from whet.model.principal import start_at_principal_part

        halves = self._halves
        config = LoraConfig(
            r=halves * self.rank,
            # Peft divides by the rank that it knows, and takes any number.
            lora_alpha=self.alpha * (halves if self.scaling == "alpha/rank" else sqrt(halves)),  # type: ignore[arg-type]
            use_rslora=self.scaling == "alpha/sqrt(rank)",
            use_dora=self.decompose,
            lora_dropout=self.dropout,
            target_modules=self._targets(parts),
            modules_to_save=saved_modules(parts),
        )
        wrapped = attached(model, config)
        if self.start == "pissa":
            start_at_principal_part(wrapped)
        return wrapped

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the updates and the head train."""
        mask = trained(parts, ".lora_")
        rates = {name: self.b_rate for name in mask if ".lora_B." in name}
        lengths = frozenset(name for name in mask if ".lora_magnitude_vector." in name)
        return [Stage("lora", 1.0, mask, rates=rates, undecayed=lengths)]

    def merge(self, model: nn.Module) -> nn.Module:
        """A plain model with the updated W in place of W, in the precision of W."""
        from whet.model.adapters import merged

        return merged(model)

    def cost(self, parts: Parts) -> Cost:
        """Counts of the updates and of the head, of which the model keeps its first copy too."""
        shapes = [self._shape(parts, name) for name in self._targets(parts)]
        updates = sum(self.rank * (d_in + d_out) for d_in, d_out in shapes)
        lengths = sum(d_out for _, d_out in shapes) if self.decompose else 0
        kept = self._halves * updates + lengths
        return counted(parts, updates + lengths, inserted=kept, stored=kept)

    @property
    def _halves(self) -> int:
        """With PiSSA's start one half of the update learns and the other stays."""
        return 2 if self.start == "pissa" else 1

    def _shape(self, parts: Parts, name: str) -> tuple[int, int]:
        """Numbers in and numbers out of a layer; into a convolution go all that its kernel covers."""
        if name in parts.linear:
            return parts.linear[name]
        width_out, *kernel = parts.parameters[f"{name}.weight"]
        return prod(kernel), width_out

    def _targets(self, parts: Parts) -> list[str]:
        linear, others = linear_layers(parts), convolutions(parts)
        if not (linear or others):
            raise ModelError(f"method 'lora': {parts.family} has no linear layer in its blocks; choose method 'full'")
        for pattern in self.targets or ():
            if fnmatch.filter(parts.grouped, pattern) and not fnmatch.filter(linear + others, pattern):
                raise ModelError(
                    f"method.targets: '{pattern}' names grouped convolutions, with which an update cannot be merged; "
                    "leave them out, or choose method 'mask' to train them in full"
                )
        found = (
            (linear or others) if self.targets is None else matching("targets", self.targets, linear + others, parts)
        )
        narrow = next((name for name in found if self.rank > min(self._shape(parts, name))), None)
        if self.start == "pissa" and narrow:
            most = min(self._shape(parts, narrow))
            raise ModelError(
                f"method.rank: '{narrow}' has {most} principal directions, not {self.rank}; choose a rank of at most "
                f"{most}, or start 'zero'"
            )
        return found

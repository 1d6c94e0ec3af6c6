"""Low-rank adaptation of a base in 4 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts, Quantisation, Stage
from whet.errors import ModelError
from whet.model.targets import counted, linear_layers, matching, saved_modules, trained

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Qlora:
    """QLoRA: LoRA on a base whose blocks are kept in 4 bits a number, an eighth of their memory.

    Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs" (arXiv 2305.14314). Needs bitsandbytes:
    ``pip install "whet[qlora]"``.

    All linear layers of the blocks become y = x Q(W) + (alpha / r) x A B with x (B, T, d_in), A (d_in, r) random and
    B (r, d_out) zero. Q(W) keeps of each block of 64 numbers the largest magnitude, and of each number the nearest of
    16 quantiles of the normal distribution (nf4); it is some 9 % off W (root mean square). Products are computed in the
    precision of the run. Embeddings, norms and head stay whole; A, B and the head train.

    The adapter fits the base that was quantised in the same way, which ``quantization_config.json`` beside it says::

        config = BitsAndBytesConfig.from_dict(json.load(open("model/quantization_config.json")))
        base = AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=C, quantization_config=config)
        model = PeftModel.from_pretrained(base, "model")

    Choose it where the base does not fit into memory otherwise. Where it does, LoRA is faster and more exact.
    """

    rank: Annotated[int, Field(ge=1)] = 16
    """Rank r of the update; the paper's 64 is for models of billions. Costs memory and time."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Scale of the update: it is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout probability on the input of every update."""
    targets: list[str] | None = None
    """Patterns of layer names such as '*.query' that get an update; all linear layers of the blocks without them.
    Quantised are all of them in any case."""
    kind: Literal["nf4", "fp4"] = "nf4"
    """The 16 values: quantiles of the normal distribution, or floating-point numbers of 4 bits, which are worse."""
    double_quantisation: bool = True
    """Whether the scales of the blocks are quantised too: 4.127 bits a number instead of 4.5."""

    # Between the paper's 2e-4 for 7 to 13 billion parameters, and what LoRA takes on small models here.
    defaults: ClassVar[Defaults] = Defaults(learning_rate=5e-4, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"rank": "4,8,16,32,64", "alpha": "2*method.rank"}
    keeps_base: ClassVar[bool] = True

    @property
    def quantisation(self) -> Quantisation:
        """How the base is kept."""
        return Quantisation(self.kind, self.double_quantisation)

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model with its blocks in 4 bits as a peft model; raises ModelError where nothing can be quantised."""
        from peft import LoraConfig

        from whet.model.adapters import attached
        from whet.model.quantise import quantise

        targets = self._targets(parts)
        quantise(model, parts, self.quantisation)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft computes alpha / r and takes any number
            lora_dropout=self.dropout,
            target_modules=targets,
            modules_to_save=saved_modules(parts),
        )
        return attached(model, config)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the updates and the head train."""
        return [Stage("qlora", 1.0, trained(parts, ".lora_"))]

    def merge(self, model: nn.Module) -> nn.Module:
        """A plain fp32 model with Q(W) + (alpha / r) A B in place of W.

        It answers as the trained one does, but it keeps the rounding to 4 bits: its weights differ from the original
        base by some 9 % (fp4: 12 %) besides the update, and nothing brings the lost bits back.
        """
        from whet.model.adapters import merged
        from whet.model.quantise import dequantise, turn_back

        turned = dequantise(model)
        plain = merged(model)
        turn_back(plain, turned)
        return plain

    def cost(self, parts: Parts) -> Cost:
        """Counts of the updates and of the head, of which the model keeps its first copy too; a number that is kept in
        4 bits is a number."""
        updates = sum(self.rank * sum(parts.linear[name]) for name in self._targets(parts))
        return counted(parts, updates)

    def _targets(self, parts: Parts) -> list[str]:
        known = linear_layers(parts)
        if not known:
            raise ModelError(
                f"method 'qlora': {parts.family} has no linear layer in its blocks, and only those can be kept in "
                "4 bits; choose method 'lora'"
            )
        return known if self.targets is None else matching("targets", self.targets, known, parts)

"""Virtual tokens at the input of any model: a kind of peft adapter, for the models that peft's own one does not fit.

A model of texts gets new token numbers behind its vocabulary, whose vectors train; they are put into every text, so the
model itself makes their positions and masks and finds the token that its head reads. A model of pictures or sound gets
them at its first block, and loses them after its last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PromptTuningConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from whet.core import Parts
from whet.errors import ModelError
from whet.model import adapters
from whet.model.attention import looks_back_only
from whet.model.registration import add_kind
from whet.model.targets import saved_modules
from whet.model.virtual_tokens import check_room

KIND = "WHET_PROMPT"

# What peft's own prompt tuning gets right: generation, and encoders whose head reads the first token (here a virtual
# one). A decoder that classifies looks for its last token among the token numbers, which peft does not hand on; and
# encoder-decoders that classify want them too.
_GENERATES = ("CAUSAL_LM", "SEQ_2_SEQ_LM")
_READ_FIRST = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "deberta-v2", "modernbert")

_EXTENDED = {"attention_mask": 1, "token_type_ids": 0}
"""What a model of texts is told about each token, and what about a virtual one."""


@dataclass
class PromptConfig(PeftConfig):
    """What is inserted where."""

    length: int = 0
    """Virtual tokens l."""
    width: int = 0
    """Width D of their vectors."""
    tables: list[str] = field(default_factory=list)
    """Modules with the vectors of the vocabulary, for texts."""
    vocabulary: int = 0
    """Rows of these tables."""
    after: int = 0
    """Tokens of a text that stand before the virtual ones."""
    blocks: list[str] = field(default_factory=list)
    """The blocks in execution order, for pictures and sound."""
    modules_to_save: list[str] | None = None
    target_modules: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(KIND)
        self.target_modules = [*self.tables, *self.blocks]

    @property
    def num_virtual_tokens(self) -> int:
        """Positions that they take away from a text."""
        return self.length if self.tables else 0


class Vectors(nn.Module):
    """The vectors (l, D) of the virtual tokens."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, width))

    def forward(self) -> Tensor:
        return self.weight


class PromptLayer(nn.Module, BaseTunerLayer):
    """A module of the model that knows the virtual tokens, which belong to no module alone."""

    def __init__(self, module: nn.Module, adapter: str, vectors: nn.ModuleDict) -> None:
        super().__init__()
        self.base_layer = module
        self._active_adapter = adapter
        # In a tuple it is no child.
        self._vectors = (vectors,)

    @property
    def vectors(self) -> Tensor | None:
        """(l, D), None where the adapter is switched off."""
        if self.disable_adapters:
            return None
        vectors: Tensor = self._vectors[0][self.active_adapters[0]]()
        return vectors

    def unload_and_optionally_merge_module(
        self,
        merge: bool,
        safe_merge: bool,  # noqa: ARG002
        adapter_names: list[str] | None,  # noqa: ARG002
    ) -> nn.Module:
        """The module as it was; raises ValueError for a merge."""
        if merge:
            raise ValueError("virtual tokens cannot be folded into weights")
        return self.base_layer


class Table(PromptLayer):
    """A table of token vectors that goes on behind its end."""

    @property
    def weight(self) -> nn.Parameter:
        """Of the vocabulary: what else uses the table goes on with it."""
        weight = self.base_layer.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def forward(self, numbers: Tensor) -> Tensor:
        vectors = self.vectors
        known: Tensor
        if vectors is None:
            known = self.base_layer(numbers)
            return known
        virtual = numbers - len(self.weight)
        drawn = virtual >= 0
        known = self.base_layer(numbers.masked_fill(drawn, 0))
        return torch.where(drawn[..., None], vectors.to(known.dtype)[virtual.clamp_(min=0)], known)


class Stretch(PromptLayer):
    """A block that reads the virtual tokens before all others; they come in at the first and go after the last."""

    def __init__(self, module: nn.Module, adapter: str, vectors: nn.ModuleDict, *, first: bool, last: bool) -> None:
        super().__init__(module, adapter, vectors)
        self._first, self._last = first, last

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        vectors = self.vectors
        if vectors is None:
            return self.base_layer(hidden_states, *args, **kwargs)
        length = len(vectors)
        if self._first:
            rows = vectors.to(hidden_states.dtype).expand(len(hidden_states), -1, -1)
            hidden_states = torch.cat([rows, hidden_states], dim=1)
        args = tuple(_widened(value, length) for value in args)
        output = self.base_layer(hidden_states, *args, **{n: _widened(value, length) for n, value in kwargs.items()})
        if not self._last:
            return output
        return (output[0][:, length:], *output[1:]) if isinstance(output, tuple) else output[:, length:]


class PromptModel(BaseTuner):
    """Inserts them; what peft calls a tuner."""

    prefix = "whet_prompt"
    tuner_layer_cls = PromptLayer
    target_module_mapping: Mapping[str, list[str]] = {}  # type: ignore[assignment]
    uses_shared_state = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's answer to its input with the virtual tokens in it."""
        config = self.peft_config[self.active_adapters[0]]
        assert isinstance(config, PromptConfig)
        if config.tables and not next(m for m in self.model.modules() if isinstance(m, PromptLayer)).disable_adapters:
            outputs = self.model(*args, **_with_virtual_tokens(kwargs, config))
            if config.task_type == "TOKEN_CLS":
                outputs["logits"] = _without(outputs["logits"], config.after, config.length)
            return outputs
        return self.model(*args, **kwargs)

    def _pre_injection_hook(self, model: nn.Module, config: PeftConfig, adapter_name: str) -> None:  # noqa: ARG002
        self.whet_prompt = nn.ModuleDict()

    @staticmethod
    def _check_target_module_exists(peft_config: PeftConfig, key: str) -> bool:
        assert isinstance(peft_config, PromptConfig)
        return key in peft_config.tables or key in peft_config.blocks

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,  # noqa: ARG002
    ) -> None:
        assert isinstance(peft_config, PromptConfig)
        if adapter_name not in self.whet_prompt:
            vectors = Vectors(peft_config.length, peft_config.width)
            # Under peft's low_cpu_mem_usage they are nowhere yet.
            self.whet_prompt[adapter_name] = vectors if vectors.weight.is_meta else vectors.to(_device(target))
        if isinstance(target, PromptLayer):
            return
        if peft_config.tables:
            layer: PromptLayer = Table(target, adapter_name, self.whet_prompt)
        else:
            first, last = current_key == peft_config.blocks[0], current_key == peft_config.blocks[-1]
            layer = Stretch(target, adapter_name, self.whet_prompt, first=first, last=last)
        setattr(parent, target_name, layer)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:  # noqa: ARG002
        setattr(parent, child_name, new_module)


def insert(name: str, model: nn.Module, parts: Parts, length: int, *, from_vocabulary: bool) -> nn.Module:
    """The model with virtual tokens at its input, for the method of this name."""
    assert isinstance(model, PreTrainedModel)
    answers = adapters.task_type(model)
    saved = saved_modules(parts)
    if model.main_input_name != "input_ids":
        if parts.tokens:
            raise ModelError(
                f"method '{name}': {parts.family} hears with one part and writes with another, and virtual tokens "
                "stand before a single one; choose 'prefix', 'p_tuning' or 'lora'"
            )
        blocks = [block[0] for block in parts.blocks]
        width = next(parts.linear[layer][0] for layer in parts.linear if layer.rpartition(".")[0] in parts.attention)
        config = PromptConfig(length=length, width=width, blocks=blocks, modules_to_save=saved, task_type=answers)
        return adapters.attached(model, config)
    check_room(name, model, length)
    table = model.get_submodule(parts.tokens[0])
    start = _drawn(table, length) if from_vocabulary else None
    if answers in _GENERATES or (answers == "SEQ_CLS" and parts.family in _READ_FIRST):
        wrapped = adapters.attached(model, _peft_config(parts, length, answers))
    else:
        wrapped = adapters.attached(model, _own_config(model, parts, length, answers))
    if start is not None:
        _set_vectors(wrapped, start)
    return wrapped


def begin(wrapped: nn.Module, numbers: Sequence[int]) -> None:
    """Let the virtual tokens of a model of texts start as these tokens, which come again until all have one."""
    assert isinstance(wrapped, PeftModel)
    base = wrapped.get_base_model()
    assert isinstance(base, PreTrainedModel)
    table = base.get_input_embeddings()
    length = wrapped.active_peft_config.num_virtual_tokens
    chosen = torch.tensor([numbers[i % len(numbers)] for i in range(length)], device=_device(table))
    with torch.no_grad():
        _set_vectors(wrapped, table(chosen))


def _set_vectors(wrapped: nn.Module, values: Tensor) -> None:
    """Give the virtual tokens of a model of texts these vectors (l, D)."""
    modules = dict(wrapped.named_modules())
    places = ("prompt_encoder.default.embedding", "base_model.whet_prompt.default")
    vectors = next(modules[place] for place in places if place in modules).weight
    assert isinstance(vectors, Tensor)
    with torch.no_grad():
        vectors.copy_(values)


def _drawn(table: nn.Module, length: int) -> Tensor:
    """(l, D) vectors of random tokens, as the model reads them, drawn from torch's present seed."""
    size = next(table.parameters())
    with torch.no_grad():
        vectors: Tensor = table(torch.randint(len(size), (length,), device=size.device))
    return vectors


def _peft_config(parts: Parts, length: int, answers: str | None) -> PeftConfig:
    """Of peft's own prompt tuning; of what it needs to know of the model only the width matters."""
    width = parts.parameters[f"{parts.tokens[0]}.weight"][1]
    return PromptTuningConfig(
        num_virtual_tokens=length,
        token_dim=width,
        num_layers=len(parts.blocks),
        num_attention_heads=1,
        num_transformer_submodules=1,
        modules_to_save=saved_modules(parts),
        task_type=answers,
    )


def _own_config(model: PreTrainedModel, parts: Parts, length: int, answers: str | None) -> PromptConfig:
    rows, width = parts.parameters[f"{parts.tokens[0]}.weight"]
    # An encoder reads its answer off the first token, which has to stay the first.
    decodes = model.config.is_encoder_decoder or any(looks_back_only(model.get_submodule(n)) for n in parts.attention)
    shared = model.get_input_embeddings().weight
    tables = [n for n, m in model.named_modules() if isinstance(m, nn.Embedding) and m.weight is shared]
    return PromptConfig(
        length=length,
        width=width,
        tables=tables,
        vocabulary=rows,
        after=0 if decodes else 1,
        modules_to_save=saved_modules(parts),
        task_type=answers,
    )


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _with_virtual_tokens(inputs: Mapping[str, Any], config: PromptConfig) -> dict[str, Any]:
    """The input of a model of texts with virtual tokens in every row; raises ValueError without token numbers."""
    numbers = inputs.get("input_ids")
    if not isinstance(numbers, Tensor):
        raise ValueError("virtual tokens are put among token numbers; give the model 'input_ids'")
    virtual = torch.arange(config.vocabulary, config.vocabulary + config.length, device=numbers.device)
    extended = {"input_ids": _put_in(numbers, virtual, config.after)}
    for name, told in _EXTENDED.items():
        about = inputs.get(name)
        if isinstance(about, Tensor):
            extended[name] = _put_in(about, about.new_full((config.length,), told), config.after)
    return {**inputs, **extended}


def _put_in(rows: Tensor, virtual: Tensor, after: int) -> Tensor:
    """(B, T) as (B, T + l)."""
    return torch.cat([rows[:, :after], virtual.expand(len(rows), -1), rows[:, after:]], dim=1)


def _without(rows: Tensor, after: int, length: int) -> Tensor:
    """(B, T + l, C) as (B, T, C): who asks about each token does not ask about virtual ones."""
    return torch.cat([rows[:, :after], rows[:, after + length :]], dim=1)


def _widened(value: Any, length: int) -> Any:
    """A mask (B, 1, T, T) with virtual tokens, which see what the first token sees, and which all tokens see."""
    if not (isinstance(value, Tensor) and value.ndim == 4):
        return value
    if value.shape[2] > 1:
        value = torch.cat([value[:, :, :1].expand(-1, -1, length, -1), value], dim=2)
    return functional.pad(value, (length, 0), value=0.0 if value.is_floating_point() else True)


add_kind(KIND, PromptConfig, PromptModel, PromptModel.prefix)

"""Keys and values of its own for every block, on any architecture: a kind of peft adapter.

Every self-attention gets a wrapper, which hands its learned keys and values to the function that computes the
attention; that function puts them before the keys and values of the tokens and calls the one that the model has chosen
(fused, plain, ...), whichever that is at the moment. A learned key has no position: nothing rotates it, no relative
position is added to its scores, and no window or causal mask hides it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PrefixEncoder, PrefixTuningConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.peft_types import PeftType
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

from whet.core import Parts
from whet.model import adapters
from whet.model.attention import functions, looks_back_only
from whet.model.registration import add_kind
from whet.model.targets import saved_modules
from whet.model.virtual_tokens import check_room

# Model types for which peft's own prefix tuning computes the same, by what the model answers. Everywhere else peft has
# no way in (encoders of most kinds, pictures, sound) or reaches the decoder alone.
_PEFT_READS = {
    "SEQ_CLS": ("bert", "roberta", "xlm-roberta", "camembert", "electra", "gpt2", "llama", "qwen2"),
    "CAUSAL_LM": ("gpt2", "llama", "qwen2"),
}

KIND = "WHET_PREFIX"
IMPLEMENTATION = "whet_prefix"
"""What the config of an attention with a wrapper calls the function that computes it."""


@dataclass(frozen=True)
class _Prefix:
    """What one attention gets."""

    keys: Tensor
    """(l, W)"""
    values: Tensor
    """(l, W)"""


_present: ContextVar[tuple[_Prefix | None, str] | None] = ContextVar(KIND, default=None)
"""What the attention gets that is being computed, and the implementation that its model has chosen."""


@dataclass
class PrefixConfig(PeftConfig):
    """What is inserted where."""

    length: int = 0
    """Virtual tokens l."""
    widths: dict[str, int] = field(default_factory=dict)
    """Width W of the keys by name of the attention."""
    bottleneck: int | None = None
    """Width of the hidden layer that makes all keys and values during training; None where they train themselves."""
    modules_to_save: list[str] | None = None
    target_modules: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(KIND)
        self.target_modules = list(self.widths)

    def to_dict(self) -> dict[str, Any]:
        """As it is saved: the layer that makes keys and values is not."""
        return {**super().to_dict(), "bottleneck": None}


class Free(nn.Module):
    """Keys and values (l, 2 W) that train themselves."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, 2 * width))

    def forward(self) -> Tensor:
        return self.weight


class Hidden(nn.Module):
    """Hidden states (l, h) from which all blocks make their keys and values: tanh(P U + c)."""

    def __init__(self, length: int, width: int, bottleneck: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(length, width))
        self.inner = nn.Linear(width, bottleneck)

    def forward(self) -> Tensor:
        return torch.tanh(self.inner(self.tokens))


class Made(nn.Module):
    """Keys and values (l, 2 W) of one block, made of the hidden states."""

    def __init__(self, hidden: Hidden, bottleneck: int, width: int) -> None:
        super().__init__()
        self.outer = nn.Linear(bottleneck, 2 * width)
        # In a tuple it is no child: it belongs to all blocks.
        self._hidden = (hidden,)

    def forward(self) -> Tensor:
        made: Tensor = self.outer(self._hidden[0]())
        return made


class PrefixLayer(nn.Module, BaseTunerLayer):
    """A self-attention with keys and values of its own."""

    adapter_layer_names = ("whet_prefix",)

    def __init__(self, attention: nn.Module, adapter: str, source: nn.Module) -> None:
        super().__init__()
        self.base_layer = attention
        self.whet_prefix = nn.ModuleDict({adapter: source})
        self._active_adapter = adapter
        self._config: PreTrainedConfig | None = vars(attention)["config"] if functions(attention) else None
        if self._config is not None:
            # A copy: the model's own config goes on saying which implementation it has chosen.
            config = copy.copy(self._config)
            config._attn_implementation_internal = IMPLEMENTATION
            attention.config = config

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        prefix = None
        if not self.disable_adapters:
            # Before the attention begins, and as a call: who looks for what trains first must find it outside of it.
            prefix = _Prefix(*self.whet_prefix[self.active_adapters[0]]().chunk(2, dim=-1))
        if self._config is None:
            return self._attend_by_itself(prefix, args, kwargs)
        before = _present.set((prefix, self._config._attn_implementation or "eager"))
        try:
            return self.base_layer(*args, **kwargs)
        finally:
            _present.reset(before)

    def unload_and_optionally_merge_module(
        self,
        merge: bool,
        safe_merge: bool,  # noqa: ARG002
        adapter_names: list[str] | None,  # noqa: ARG002
    ) -> nn.Module:
        """The attention as it was; raises ValueError for a merge."""
        if merge:
            raise ValueError("keys and values of virtual tokens cannot be folded into weights")
        if self._config is not None:
            self.base_layer.config = self._config  # type: ignore[assignment]
        return self.base_layer

    def _attend_by_itself(self, prefix: _Prefix | None, args: Any, kwargs: Any) -> Any:
        if prefix is None:
            return self.base_layer(*args, **kwargs)
        with _Disentangled(self.base_layer, prefix):
            return self.base_layer(*args, **kwargs)


class PrefixModel(BaseTuner):
    """Inserts the wrappers; what peft calls a tuner."""

    prefix = "whet_prefix"
    tuner_layer_cls = PrefixLayer
    target_module_mapping: Mapping[str, list[str]] = {}  # type: ignore[assignment]
    uses_shared_state = True

    def _pre_injection_hook(self, model: nn.Module, config: PeftConfig, adapter_name: str) -> None:  # noqa: ARG002
        self.whet_prefix_hidden = nn.ModuleDict()

    @staticmethod
    def _check_target_module_exists(peft_config: PeftConfig, key: str) -> bool:
        assert isinstance(peft_config, PrefixConfig)
        return key in peft_config.widths

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
        assert isinstance(peft_config, PrefixConfig)
        source = self._source(peft_config, adapter_name, peft_config.widths[current_key])
        weight = next(target.parameters())
        if not any(parameter.is_meta for parameter in source.parameters()):
            source.to(weight.device)
        if isinstance(target, PrefixLayer):
            target.whet_prefix[adapter_name] = source
        else:
            setattr(parent, target_name, PrefixLayer(target, adapter_name, source))

    def _source(self, config: PrefixConfig, adapter: str, width: int) -> nn.Module:
        if config.bottleneck is None or config.inference_mode:
            return Free(config.length, width)
        if adapter not in self.whet_prefix_hidden:
            widest = max(config.widths.values())
            self.whet_prefix_hidden[adapter] = Hidden(config.length, widest, config.bottleneck)
        hidden = self.whet_prefix_hidden[adapter]
        assert isinstance(hidden, Hidden)
        return Made(hidden, config.bottleneck, width)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:  # noqa: ARG002
        setattr(parent, child_name, new_module)

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,  # noqa: ARG003
        adapter_name: str,
        state_dict: dict[str, Tensor],  # noqa: ARG003
        unwanted_adapter_names: list[str],  # noqa: ARG003
    ) -> dict[str, Tensor]:
        """The keys and values alone: what made them is left behind."""
        layers = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, PrefixLayer))
        return {
            f"{name}.whet_prefix.{adapter_name}.weight": layer.whet_prefix[adapter_name]().detach().clone()
            for name, layer in layers
        }


def insert(name: str, model: nn.Module, parts: Parts, length: int, bottleneck: int | None) -> nn.Module:
    """The model with keys and values of ``length`` tokens at every block, for the method of this name.

    ``bottleneck`` is the width of the layer that makes them during training, None where they train themselves.
    """
    assert isinstance(model, PreTrainedModel)
    answers = adapters.task_type(model)
    if parts.family not in _PEFT_READS.get(answers or "", ()):
        own = PrefixConfig(
            length=length,
            widths=dict(parts.attention),
            bottleneck=bottleneck,
            modules_to_save=saved_modules(parts),
            task_type=answers,
        )
        return adapters.attached(model, own)
    check_room(name, model, length)
    config = PrefixTuningConfig(
        num_virtual_tokens=length,
        prefix_projection=bottleneck is not None,
        encoder_hidden_size=bottleneck,  # type: ignore[arg-type]  # peft takes None for its default
        modules_to_save=saved_modules(parts),
        task_type=answers,
    )
    return compute_once(adapters.attached(model, config))


class _Once(PrefixEncoder):
    """Peft's maker of keys and values, which are the same in all rows, working for one."""

    def forward(self, prefix: Tensor) -> Tensor:
        made: Tensor = super().forward(prefix[:1])
        return made.expand(len(prefix), -1, -1)


def compute_once(model: nn.Module) -> nn.Module:
    """A model with peft's own prefix, which is made once for a batch instead of once a row."""
    assert isinstance(model, PeftModel)
    for adapter, config in model.peft_config.items():
        model.prompt_encoder[adapter] = _Once(config)  # type: ignore[no-untyped-call]
    return model


# --- how attention reads them ---------------------------------------------------------------------------------------


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> Any:
    """Attention over the learned keys and those of the tokens (B, heads, T, width of one), as the model computes it."""
    present = _present.get()
    if present is None:
        raise RuntimeError(f"a {type(module).__name__} has lost the wrapper around it; unload the adapter by peft")
    prefix, implementation = present
    compute = functions(module)[implementation]
    if prefix is None:
        return compute(module, query, key, value, attention_mask, **options)
    length = len(prefix.keys)
    asked = options.get("is_causal")
    backwards = looks_back_only(module) if asked is None else bool(asked)
    if attention_mask is None and implementation == "sdpa" and backwards and query.shape[2] > 1:
        # The fused function would take the first learned key for the first token.
        seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=key.device)
        attention_mask = seen.tril(key.shape[2] - query.shape[2])[None, None]
    if attention_mask is not None:
        attention_mask = _widened(attention_mask, length)
    if options.get("position_bias") is not None:
        options["position_bias"] = functional.pad(options["position_bias"], (length, 0))
    key = torch.cat([_by_head(prefix.keys, key), key], dim=2)
    value = torch.cat([_by_head(prefix.values, value), value], dim=2)
    return compute(module, query, key, value, attention_mask, **options)


def _by_head(part: Tensor, like: Tensor) -> Tensor:
    """(l, W) as (B, heads, l, width of one), like the tensor of the tokens."""
    rows, heads, _, width = like.shape
    return part.to(like.dtype).view(-1, heads, width).transpose(0, 1).expand(rows, -1, -1, -1)


def _widened(mask: Tensor, length: int) -> Tensor:
    """The mask (..., T) with learned keys that all tokens see: of booleans, of summands, or of ones for tokens."""
    if mask.is_floating_point():
        return functional.pad(mask, (length, 0))
    return functional.pad(mask, (length, 0), value=True)


class _Disentangled(TorchFunctionMode):
    """DeBERTa's attention asks no function: learned keys join before its softmax, their values right after it."""

    def __init__(self, module: nn.Module, prefix: _Prefix) -> None:
        super().__init__()
        own = vars(module)
        self._heads, kinds = own["num_attention_heads"], own["pos_att_type"]
        self._factor = 1 + ("c2p" in kinds) + ("p2c" in kinds)
        self._prefix = prefix
        self._query: Tensor | None = None
        self._weighted = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.bmm and self._query is None:
            self._query = args[0]
        elif func is functional.softmax:
            self._weighted = True
            args = (self._with_learned_keys(args[0]), *args[1:])
        elif func is torch.bmm and self._weighted:
            self._weighted = False
            args = (args[0], torch.cat([self._by_head(self._prefix.values, args[1]), args[1]], dim=1))
        return func(*args, **(kwargs or {}))

    def _with_learned_keys(self, scores: Tensor) -> Tensor:
        """(B, heads, T, T) scores as (B, heads, T, l + T)."""
        assert self._query is not None
        keys = self._by_head(self._prefix.keys, self._query)
        scale = (self._factor * self._query.shape[-1]) ** -0.5
        learned = torch.bmm(self._query, keys.transpose(1, 2) * scale)
        return torch.cat([learned.view(*scores.shape[:-1], -1).to(scores.dtype), scores], dim=-1)

    def _by_head(self, part: Tensor, like: Tensor) -> Tensor:
        """(l, W) as (B x heads, l, width of one)."""
        shaped = part.to(like.dtype).view(len(part), self._heads, -1).transpose(0, 1)
        return shaped.repeat(len(like) // self._heads, 1, 1)


AttentionInterface.register(IMPLEMENTATION, attend)
add_kind(KIND, PrefixConfig, PrefixModel, PrefixModel.prefix)

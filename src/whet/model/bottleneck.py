"""Bottleneck adapters as a kind of peft's: they are saved, loaded, added, switched and removed like all others.

An adapter is h <- h + scale * (W_up act(W_down x + b_down) + b_up) at the output h of a layer, where x is h itself or
the input of an earlier layer. Beside a convolution both matrices are convolutions of 1 x 1. W_up, b_up and b_down begin
as zeros, so nothing changes at the start, and W_down as any linear layer does (He et al. 2022), so W_up learns at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from whet.model.registration import add_kind

KIND = "WHET_BOTTLENECK"
PREFIX = "bottleneck_"

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}

NOT_MERGED = (
    "an adapter bends what passes through it, so it cannot be folded into the weights; use it as it is saved, a folder "
    "beside its base model, or choose 'lora', which can be merged"
)

_POINTWISE: dict[int, Callable[[int, int], nn.Linear | _ConvNd]] = {
    2: nn.Linear,
    3: lambda width_in, width_out: nn.Conv1d(width_in, width_out, 1),
    4: lambda width_in, width_out: nn.Conv2d(width_in, width_out, 1),
    5: lambda width_in, width_out: nn.Conv3d(width_in, width_out, 1),
}
"""What mixes the channels of a layer's output, by the dimensions of the layer's weight."""


@dataclass
class BottleneckConfig(PeftConfig):
    """What an adapter's ``adapter_config.json`` says."""

    target_modules: list[str] | set[str] | str | None = None
    """Layers to whose output an adapter adds."""
    inputs: dict[str, str] = field(default_factory=dict)
    """For adapters that read something else than that output: the layer to whose output one adds, and the layer that
    reads the same as the adapter."""
    bottleneck: int | None = None
    """Width m of every adapter."""
    reduction: float = 16.0
    """Where no bottleneck is given: how many times narrower an adapter is than what it reads."""
    activation: str = "relu"
    dropout: float = 0.0
    scale: float = 1.0
    modules_to_save: list[str] | None = None
    """Modules that train in full and are saved beside the adapters."""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = KIND

    def width(self, width: int) -> int:
        """Width m of an adapter for outputs of this width D."""
        return self.bottleneck or max(1, round(width / self.reduction))


class Entry(nn.Module, BaseTunerLayer):
    """The first layer of a feed-forward, which shows what it reads to the adapter at the last one."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.seen: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        self.seen = values
        outputs: Tensor = self.base_layer(values)
        return outputs


class Bottleneck(nn.Module, BaseTunerLayer):
    """A layer with the adapters at its output, one behind the other where several are active."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ("bottleneck_dropout", "activation", "scale", "entries")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.bottleneck_dropout = nn.ModuleDict()
        self.activation: dict[str, Callable[[Tensor], Tensor]] = {}
        self.scale: dict[str, float] = {}
        # In a plain dict, or the feed-forward's first layer would be a part of its last one.
        self.entries: dict[str, Entry] = {}

    def add(self, name: str, config: BottleneckConfig, entry: Entry | None) -> None:
        """One more adapter, which reads what ``entry`` reads or else this layer's output."""
        width, pointwise = _width(self.get_base_layer()), _POINTWISE[self.weight.dim()]
        narrow = config.width(width)
        down, up = pointwise(width, narrow), pointwise(narrow, width)
        assert down.bias is not None
        for tensor in (down.bias, *up.parameters()):
            nn.init.zeros_(tensor)
        self.bottleneck_down[name], self.bottleneck_up[name] = down, up
        self.bottleneck_dropout[name] = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.activation[name] = ACTIVATIONS[config.activation]
        self.scale[name] = config.scale
        if entry is not None:
            self.entries[name] = entry
        self._move_adapter_to_device_of_base_layer(name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, values: Tensor) -> Tensor:
        outputs: Tensor = self.base_layer(values)
        seen = {name: entry.seen for name, entry in self.entries.items()}
        for entry in self.entries.values():
            entry.seen = None
        if self.disable_adapters:
            return outputs
        for name in self.active_adapters:
            if name in self.bottleneck_down:
                outputs = outputs + self._update(name, seen.get(name, outputs)).to(outputs.dtype)
        return outputs

    def _update(self, name: str, values: Tensor | None) -> Tensor:
        """What one adapter adds, from what it reads."""
        assert values is not None, "the first layer of the feed-forward has not computed"
        down, up = self.bottleneck_down[name], self.bottleneck_up[name]
        if not torch.is_autocast_enabled(values.device.type):
            values = values.to(next(down.parameters()).dtype)
        inner = self.bottleneck_dropout[name](self.activation[name](down(values)))
        update: Tensor = up(inner) * self.scale[name]
        return update


class BottleneckModel(BaseTuner):
    """A model with bottleneck adapters."""

    prefix = PREFIX
    tuner_layer_cls = Bottleneck
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012

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
        assert isinstance(peft_config, BottleneckConfig)
        if not isinstance(target, Bottleneck):
            self._replace_module(parent, target_name, Bottleneck(target), target)
        layer = parent.get_submodule(target_name)
        assert isinstance(layer, Bottleneck)
        entry = peft_config.inputs.get(current_key)
        layer.add(adapter_name, peft_config, None if entry is None else self._entry(entry))

    def _entry(self, name: str) -> Entry:
        """The layer of this name, made to show what it reads."""
        layer = self.model.get_submodule(name)
        if isinstance(layer, Entry):
            return layer
        entry = Entry(layer)
        parent, _, last = name.rpartition(".")
        self._replace_module(self.model.get_submodule(parent), last, entry, layer)
        return entry

    def _check_merge_allowed(self) -> None:
        raise ValueError(NOT_MERGED)


def _width(layer: nn.Module) -> int:
    """Width of a layer's output: numbers at a place, or channels."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, Conv1D):
        return int(layer.nf)
    assert isinstance(layer, _ConvNd)
    return layer.out_channels


add_kind(KIND, BottleneckConfig, BottleneckModel, PREFIX)

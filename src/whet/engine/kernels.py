"""The same mathematics in less time: stands between a model and torch while it trains on a CPU.

    dropout      torch draws one random number of 32 bits for every element, one after the other; 16 bits decide as
                 well (the probability is right to 1 / 65,536), and four of them come with one number
    embedding    the gradient of a large table is kept as the few rows that the batch has read (see ``optim``)
    linear       a frozen weight is rounded to bf16 once, not at every step

A mode of torch's, so it reaches functional calls as well as modules, on every architecture.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_BITS = 16


class Kernels(TorchFunctionMode):
    """Use it around a forward pass."""

    def __init__(
        self,
        tables: frozenset[int] = frozenset(),
        about_to_read: Callable[[Tensor, Tensor], None] | None = None,
        rounded: Mapping[int, Tensor] | None = None,
    ) -> None:
        """``tables`` holds the ids of large embedding weights; ``about_to_read`` hears of each look-up in one, with the
        weight and the rows; ``rounded`` holds the bf16 copy of frozen weights by their id."""
        super().__init__()
        self._tables = tables
        self._about_to_read = about_to_read
        self._rounded = rounded or {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        weight = args[1] if len(args) > 1 else None
        # A model may leave autocast for some of its layers, which then want the weight as it is.
        if func is functional.linear and id(weight) in self._rounded and torch.is_autocast_enabled("cpu"):
            return func(args[0], self._rounded[id(weight)], *args[2:], **kwargs)
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        if func is functional.embedding and id(weight) in self._tables and torch.is_grad_enabled():
            if self._about_to_read is not None:
                self._about_to_read(args[1], args[0])
            return torch.embedding(args[1], args[0], _padding(args, kwargs), False, True)
        return func(*args, **kwargs)


def round_frozen(model: nn.Module, left_out: Iterable[str] = ()) -> dict[int, Tensor]:
    """bf16 copies of the frozen weights of linear layers, by the id of the weight; none for modules ``left_out``."""
    idle = {module for name in left_out for module in model.get_submodule(name).modules()}
    weights = {id(m.weight): m.weight for m in model.modules() if type(m) is nn.Linear and m not in idle}
    return {key: w.detach().to(torch.bfloat16) for key, w in weights.items() if not w.requires_grad}


def _padding(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """The row without a gradient, as the operator counts it; -1 is none."""
    index = args[2] if len(args) > 2 else kwargs.get("padding_idx")
    return -1 if index is None else int(index) % len(args[1])


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or not 0.0 < p < 1.0 or input.device.type != "cpu":
        return functional.dropout(input, p, training, inplace)
    dropped: Tensor = _Dropout.apply(input, p)  # type: ignore[no-untyped-call]
    return input.copy_(dropped) if inplace else dropped


class _Dropout(torch.autograd.Function):
    """Zero with probability p, else times 1 / (1 - p)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Tensor:
        count = values.numel()
        # A full range of 64-bit numbers is four independent numbers of 16 bits each.
        words = torch.empty(-(-count * _BITS // 64), dtype=torch.int64).random_(-(2**63), None)
        threshold = min(round(p * 2**_BITS), 2**_BITS - 1)
        last_dropped = threshold - 2 ** (_BITS - 1) - 1
        # 0 or 1 from two operations on small integers, which are several times as fast as a comparison.
        keep = words.view(torch.int16)[:count].view(values.shape).clamp_(last_dropped, last_dropped + 1)
        keep.sub_(last_dropped)
        ctx.scale = 1.0 / (1.0 - threshold / 2**_BITS)
        ctx.save_for_backward(keep)
        return _kept(values, keep, ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (keep,) = ctx.saved_tensors
        return _kept(gradients[0], keep, ctx.scale), None


def _kept(values: Tensor, keep: Tensor, scale: float) -> Tensor:
    """``values * keep * scale``."""
    if values.dtype == torch.bfloat16 and values.is_contiguous():
        scaled = values * scale
        # Its bits, or none of them: minus one is all bits.
        scaled.view(torch.int16).bitwise_and_(-keep)
        return scaled
    return values * keep.to(values.dtype).mul_(scale)

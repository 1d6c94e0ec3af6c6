"""Linear layers whose frozen weight is kept in 4 bits, by way of bitsandbytes, on a CPU as well as on a GPU.

A weight is cut into blocks of 64 numbers. Of each block the largest magnitude is kept as its scale, and of each number
which of 16 values, times that scale, is nearest to it; two numbers share a byte. The scales can be quantised likewise,
to 8 bits in blocks of 256. A number then takes 4.5 bits, or 4.127 with quantised scales. bitsandbytes is imported where
it is used: a model can be looked at without it.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from whet.core import Parts, Quantisation
from whet.errors import ModelError
from whet.model.mapped import give_back
from whet.model.targets import is_read_only

BLOCK = 64
_BLOCK_OF_SCALES = 256
_PIECE = 2**18
"""Numbers of a weight that are worked on at a time: what is needed meanwhile fits into a processor's cache."""


class QuantisedLinear(nn.Linear):
    """x (..., d_in) to x W + b (..., d_out), where W is frozen and kept in 4 bits.

    ``weight`` holds two numbers a byte. W is made whole for each product, in the precision in which is computed, and
    once more for the gradient of x, so no whole W outlives a product.
    """

    scales_of_scales: Tensor
    offset: Tensor
    code: Tensor
    scales: Tensor

    def __init__(self, source: nn.Linear | Conv1D, quantisation: Quantisation) -> None:
        turned = isinstance(source, Conv1D)
        matrix = source.weight.detach().T if turned else source.weight.detach()
        super().__init__(matrix.shape[1], matrix.shape[0], bias=source.bias is not None, device="meta")
        self.quantisation = quantisation
        self.turned = turned
        """Whether the layer was one of GPT-2's, which keep their weight as (d_in, d_out)."""
        packed, scales = _quantised(matrix, quantisation.kind)
        self.weight = nn.Parameter(packed, requires_grad=False)
        if source.bias is not None:
            self.bias = nn.Parameter(source.bias.detach().float(), requires_grad=False)
        # Buffers, so that they go to the device of the weight and belong to what is known of a frozen layer. Not in
        # the state, because they follow from the base model.
        for name, tensor in (_quantised_scales(scales) if quantisation.double else {"scales": scales}).items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
        product: Tensor = _Product.apply(input.to(dtype), self.bias, self)  # type: ignore[no-untyped-call]
        return product

    def whole(self, dtype: torch.dtype, *, lent: bool = False) -> Tensor:
        """(d_out, d_in) what is left of W; ``lent`` for a moment, until the next layer of this thread is made whole."""
        from bitsandbytes.functional import QuantState, dequantize_4bit

        state: Any = QuantState
        packed, scales, kind = self.weight.detach(), self._scales(), self.quantisation.kind
        numbers, device = packed.numel() * 2, packed.device
        values = (
            _lend(numbers, dtype) if lent and device.type == "cpu" else torch.empty(numbers, dtype=dtype, device=device)
        )
        piece = _PIECE if device.type == "cpu" else numbers
        for start in range(0, numbers, piece):
            some = scales[start // BLOCK : (start + piece) // BLOCK]
            # A row a block: its CPU kernel takes wrong scales where a row ends inside of a block.
            told = state(some, shape=torch.Size((len(some), BLOCK)), blocksize=BLOCK, quant_type=kind, dtype=dtype)
            made = dequantize_4bit(packed[start // 2 : (start + piece) // 2], told)
            values[start : start + piece] = made.view(-1)
        return values[: self.in_features * self.out_features].view(self.out_features, self.in_features)

    def _scales(self) -> Tensor:
        """One for each block, in fp32."""
        from bitsandbytes.functional import dequantize_blockwise

        if not self.quantisation.double:
            return self.scales
        inner: Tensor = dequantize_blockwise(
            self.scales, absmax=self.scales_of_scales, code=self.code, blocksize=_BLOCK_OF_SCALES
        )
        return inner + self.offset

    def plain(self) -> nn.Linear:
        """An ordinary layer with what is left of W, in fp32."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        layer.weight = nn.Parameter(self.whole(torch.float32), requires_grad=False)
        layer.bias = self.bias
        return layer


class _Room(threading.local):
    """Where this thread makes weights whole, one after the other.

    Fresh memory for each of them would leave holes between what a step has to keep, more than the weights take.
    """

    def __init__(self) -> None:
        self.bytes = torch.empty(0, dtype=torch.uint8)


_ROOM = _Room()


def _lend(numbers: int, dtype: torch.dtype) -> Tensor:
    """Room for so many numbers on the CPU."""
    size = numbers * dtype.itemsize
    if len(_ROOM.bytes) < size:
        _ROOM.bytes = torch.empty(size, dtype=torch.uint8)
    return _ROOM.bytes[:size].view(dtype)


class _Product(torch.autograd.Function):
    """A product that keeps the layer for its gradient, not the whole weight."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, bias: Tensor | None, layer: QuantisedLinear) -> Tensor:
        ctx.layer = layer
        return functional.linear(values, layer.whole(values.dtype, lent=True), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        of_values = gradient @ ctx.layer.whole(gradient.dtype, lent=True) if ctx.needs_input_grad[0] else None
        of_bias = gradient.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        return of_values, of_bias, None


def quantise(model: nn.Module, parts: Parts, quantisation: Quantisation) -> None:
    """Keep all linear layers of a model's blocks in 4 bits, one after the other; what is so already stays as it is.

    Left as they are: layers that no pre-trained weight filled, and those that their architecture wants in fp32. Raises
    ModelError where the blocks have no linear layer, and where bitsandbytes is not installed.
    """
    names = list(_layers(model, parts))
    if not names:
        raise ModelError(
            f"{parts.family} has no linear layer in its blocks, and only those can be kept in 4 bits; "
            "choose method 'lora'"
        )
    alone = next(model.get_submodule(names[0]).parameters()).is_meta
    if not alone and importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            'weights in 4 bits need bitsandbytes, which is not installed; run: pip install "whet[qlora]", '
            "or choose method 'lora'"
        )
    for name in names:
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Linear | Conv1D) and not isinstance(layer, QuantisedLinear):
            model.set_submodule(name, QuantisedLinear(layer, quantisation).train(layer.training))
            if not alone:
                give_back(layer.weight)


def quantisation_of(model: nn.Module) -> Quantisation | None:
    """How a model's layers are quantised; None where none is."""
    return next((m.quantisation for m in model.modules() if isinstance(m, QuantisedLinear)), None)


def dequantise(model: nn.Module) -> list[nn.Module]:
    """Put ordinary layers in place of quantised ones; returns those that take the place of a layer of GPT-2's."""
    turned: list[nn.Module] = []
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantisedLinear):
            plain = layer.plain()
            model.set_submodule(name, plain)
            turned += [plain] if layer.turned else []
    return turned


def turn_back(model: nn.Module, layers: list[nn.Module]) -> None:
    """Put layers of GPT-2's kind in place of these ordinary ones."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and any(layer is one for one in layers):
            turned = Conv1D(layer.out_features, layer.in_features)  # type: ignore[no-untyped-call]
            turned.weight = nn.Parameter(layer.weight.detach().T.contiguous(), requires_grad=False)
            turned.bias = layer.bias
            model.set_submodule(name, turned.train(layer.training))


def _layers(model: nn.Module, parts: Parts) -> Iterator[str]:
    """The linear layers that are quantised, by name."""
    owners = {name.rpartition(".")[0] for name in parts.fresh}
    exact = {part for m in model.modules() if isinstance(m, PreTrainedModel) for part in m._keep_in_fp32_modules or ()}
    inside = parts.under(name for block in parts.blocks for name in block)
    for name in parts.linear:
        kind = type(model.get_submodule(name))
        wanted = f"{name}.weight" in inside and name not in owners and exact.isdisjoint(name.split("."))
        if wanted and not is_read_only(parts, name) and kind in (nn.Linear, Conv1D, QuantisedLinear):
            yield name


def _quantised(matrix: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Two numbers a byte, and the scale of every block; zeros fill the last block up."""
    if matrix.is_meta:
        blocks = -(-matrix.numel() // BLOCK)
        return matrix.new_empty(blocks * BLOCK // 2, 1, dtype=torch.uint8), matrix.new_empty(
            blocks, dtype=torch.float32
        )
    from bitsandbytes.functional import quantize_4bit

    flat = matrix.reshape(-1)
    pieces = []
    for start in range(0, len(flat), _PIECE):
        piece = flat[start : start + _PIECE].float()
        piece = functional.pad(piece, (0, -len(piece) % BLOCK))
        packed, state = quantize_4bit(piece, blocksize=BLOCK, quant_type=kind)
        pieces.append((packed, state.absmax))
    return torch.cat([packed for packed, _ in pieces]), torch.cat([scales for _, scales in pieces])


def _quantised_scales(scales: Tensor) -> dict[str, Tensor]:
    """The distances of the scales from their mean, in 8 bits each."""
    if scales.is_meta:
        sizes = {"offset": (), "scales_of_scales": (-(-len(scales) // _BLOCK_OF_SCALES),), "code": (256,)}
        return {"scales": scales.to(torch.uint8), **{name: scales.new_empty(size) for name, size in sizes.items()}}
    from bitsandbytes.functional import quantize_blockwise

    offset = scales.mean()
    codes, state = quantize_blockwise(scales - offset, blocksize=_BLOCK_OF_SCALES)
    return {"scales": codes, "offset": offset, "scales_of_scales": state.absmax, "code": state.code}

"""The start of PiSSA: an update that begins as the principal part of the weight that it stands beside.

Meng et al. 2024 (arXiv 2404.02948) take the principal part out of the weight and let it learn,

    y = x (W - s A0 B0) + s x A B        s A0 B0 = the r largest singular values of W with their vectors

which is the same as an update of rank 2 r beside the whole W, of which one half learns and the other stays:

    y = x W + s x [A, A0] [B; -B0]

So the base model stays as it is, the adapter is a plain one of rank 2 r that any number of others can stand beside, and
what is loaded computes the very same as what was trained.
"""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from whet.model.adapters import ADAPTER, keep_part

_MORE = 8
"""Directions beyond r that the search for the first r takes along, to find them well (Halko et al. 2011)."""

_TURNS = 4
"""Power iterations of the search, as in the paper: exact where singular values fall off, and always in seconds."""


def start_at_principal_part(model: nn.Module) -> None:
    """Give every LoRA layer of a peft model, of rank 2 r, the principal part of its weight to learn from.

    The same in every process and at every resumption, as it follows from the weights alone.
    """
    for module in list(model.modules()):
        if isinstance(module, LoraLayer):
            down, up = module.lora_A[ADAPTER], module.lora_B[ADAPTER]
            rank = module.r[ADAPTER] // 2
            a, b = _factors(_matrix(module.get_base_layer()), rank, module.scaling[ADAPTER])
            with torch.no_grad():
                for layer, factor in ((down, torch.cat((a, a))), (up, torch.cat((b, -b), 1))):
                    weight = layer.get_parameter("weight")
                    weight.copy_(factor.view_as(weight))
            keep_part(down, "weight", 0, rank)
            keep_part(up, "weight", 1, rank)


def _matrix(layer: nn.Module) -> Tensor:
    """(d_out, d_in) weight of a layer; the inputs of a convolution are all that its kernel covers."""
    weight: Tensor = layer.get_parameter("weight").detach()
    return weight.T if isinstance(layer, Conv1D) else weight.flatten(1)


def _factors(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """(r, d_in) and (d_out, r), whose product times ``scale`` is the principal part of ``weight`` (d_out, d_in)."""
    directions = min(rank + _MORE, *weight.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, values, right = torch.svd_lowrank(weight.float(), directions, niter=_TURNS)
    roots = (values[:rank] / scale).sqrt()
    return (right[:, :rank] * roots).T, left[:, :rank] * roots

"""Sees what a block is made of: its attentions and its feed-forward, from the names and shapes of its layers alone.

Linear layers are told apart by their names, first and last of them by their widths and their order. This module knows
no architecture and imports no torch, so it works for a model whose weights are still on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from whet.core import Parts
from whet.model.families import NOT_CALLED

_ATTENTION = ("attn", "attention")
"""One of these is part of a step in the name of every linear layer of an attention, and of no feed-forward's."""


@dataclass(frozen=True)
class Sublayer:
    """One of the functions f of a block that computes x + f(x), once or several times."""

    kind: Literal["attention", "feed_forward", "convolution"]
    block: str
    """The module of the block that it stands in."""
    output: str
    """The layer that computes last: its output is f(x)."""
    width: int
    """Width D of that output."""
    entry: str | None = None
    """A layer that reads x, in a feed-forward."""


def sublayers(parts: Parts) -> list[Sublayer]:
    """Attentions and feed-forward of every block in execution order; in a model without linear layers the convolutions.

    A block without a feed-forward is left out, and what a block has beside the two, such as the merging of patches; so
    is an attention behind which nothing can be put.
    """
    members = [name for block in parts.blocks for name in block]
    found = [sublayer for member in members for sublayer in _transformer(parts, member)]
    return found or [sublayer for member in members for sublayer in _convolution(parts, member)]


def _transformer(parts: Parts, member: str) -> list[Sublayer]:
    """The attentions and the feed-forward of one module of a block; empty where it has no feed-forward."""
    layers = [name for name in parts.linear if name.startswith(f"{member}.")]
    feed_forward = _feed_forward(parts, member, [name for name in layers if not _attention(member, name)])
    if feed_forward is None:
        return []
    found = []
    for attention, group in groupby(layers, key=lambda name: _attention(member, name)):
        ends = [name for name in group if parts.linear[name][1] == feed_forward.width]
        if attention and ends and parts.family not in NOT_CALLED:
            found.append(Sublayer("attention", member, ends[-1], feed_forward.width))
    return [*found, feed_forward]


def _feed_forward(parts: Parts, member: str, layers: list[str]) -> Sublayer | None:
    """The last layer that is as wide as what an earlier one reads; of several the nearest earlier one."""
    for position in reversed(range(len(layers))):
        output = layers[position]
        width = parts.linear[output][1]
        entry = next((name for name in reversed(layers[:position]) if parts.linear[name][0] == width), None)
        if entry is not None:
            return Sublayer("feed_forward", member, output, width, entry)
    return None


def _attention(member: str, layer: str) -> str:
    """Name of the attention that a layer belongs to; empty for any other layer."""
    steps = layer.removeprefix(f"{member}.").split(".")
    for position, step in enumerate(steps):
        if any(word in step.lower() for word in _ATTENTION):
            return ".".join(steps[: position + 1])
    return ""


def _convolution(parts: Parts, member: str) -> list[Sublayer]:
    """The last convolution of one module of a block."""
    kernels = [
        (name.removesuffix(".weight"), shape)
        for name, shape in parts.parameters.items()
        if name.startswith(f"{member}.") and name.endswith(".weight") and len(shape) > 2
    ]
    return [Sublayer("convolution", member, name, shape[0]) for name, shape in kernels[-1:]]

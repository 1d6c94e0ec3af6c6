"""Which layers an adapter stands beside, what trains in full with it, and how its parameters are told from the rest.

What all methods share whose artefact is a peft adapter. Names and shapes only: nothing here imports torch.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from whet.core import Mask, Parts
from whet.errors import ModelError

KEPT = ".original1"
"""Ending of the part of an adapter's parameter that stays as it began (``adapters.keep_part``)."""


def saved_modules(parts: Parts) -> list[str]:
    """Modules that train in full and are saved beside the adapter: the head, and what no pre-trained weight filled."""
    fresh = frozenset(parts.fresh) - parts.under(parts.head)
    return [*parts.head, *sorted({name.rpartition(".")[0] for name in fresh})]


def saved_in_full(parts: Parts) -> int:
    """How many numbers those modules hold; the model keeps its first copy of them too."""
    return parts.count(parts.under(saved_modules(parts)))


def trained(parts: Parts, mark: str) -> Mask:
    """What trains in a model with an adapter, whose own parameters have ``mark`` in their names."""
    return frozenset(
        name for name in parts.parameters if (mark in name and not name.endswith(KEPT)) or ".modules_to_save." in name
    )


def linear_layers(parts: Parts) -> list[str]:
    """The linear layers of the blocks."""
    inside = parts.under(name for block in parts.blocks for name in block)
    return sorted(name for name in parts.linear if f"{name}.weight" in inside)


def convolutions(parts: Parts) -> list[str]:
    """The convolutions of the blocks, but those that are grouped."""
    inside = parts.under(name for block in parts.blocks for name in block)
    weights = {name.removesuffix(".weight") for name in inside if name.endswith(".weight")}
    return sorted(n for n in weights - {*parts.grouped} if len(parts.parameters[f"{n}.weight"]) > 2)


def matching(option: str, patterns: Sequence[str], known: Sequence[str]) -> list[str]:
    """The layers among ``known`` that patterns name; raises ModelError where one names nothing."""
    idle = [pattern for pattern in patterns if not fnmatch.filter(known, pattern)]
    if idle or not patterns:
        endings = sorted({name.rpartition(".")[2] for name in known})
        raise ModelError(
            f"method.{option}: {', '.join(map(repr, idle)) or 'an empty list'} matches no layer of the blocks; "
            f"their names end in {', '.join(endings)} (write '*.{endings[0]}')"
        )
    return sorted({name for pattern in patterns for name in fnmatch.filter(known, pattern)})

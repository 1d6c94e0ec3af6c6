"""Which layers an adapter stands beside, what trains in full with it, and how its parameters are told from the rest.

What all methods share whose artefact is a peft adapter. Names and shapes only: nothing here imports torch.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from whet.core import Cost, Mask, Parts
from whet.errors import ModelError
from whet.model.families import NOT_CALLED

KEPT = ".original1"
"""Ending of the part of an adapter's parameter that stays as it began (``adapters.keep_part``)."""


def saved_modules(parts: Parts) -> list[str]:
    """Modules that train in full and are saved beside the adapter: the head, unless it was pre-trained for the whole
    vocabulary, and what no pre-trained weight filled."""
    head = () if parts.speaks else parts.head
    fresh = frozenset(parts.fresh) - parts.under(head)
    return [*head, *sorted({name.rpartition(".")[0] for name in fresh})]


def saved_in_full(parts: Parts) -> int:
    """How many numbers those modules hold; the model keeps its first copy of them too."""
    return parts.count(parts.under(saved_modules(parts)))


def counted(parts: Parts, trained: int, *, inserted: int | None = None, stored: int | None = None) -> Cost:
    """Counts of an adapter of which so many numbers train, are ``inserted`` and are ``stored`` (each as many as train
    if not named), and of what is saved in full beside it, of which the model keeps its first copy too."""
    full, whole = saved_in_full(parts), parts.count(frozenset(parts.parameters))
    inserted, stored = (trained if number is None else number for number in (inserted, stored))
    return Cost(trained + full, stored=stored + full, total=whole + inserted + full)


def trained(parts: Parts, mark: str) -> Mask:
    """What trains in a model with an adapter, whose own parameters have ``mark`` in their names."""
    return frozenset(
        name for name in parts.parameters if (mark in name and not name.endswith(KEPT)) or ".modules_to_save." in name
    )


def linear_layers(parts: Parts) -> list[str]:
    """The linear layers of the blocks, but those that nothing calls."""
    inside = parts.under(name for block in parts.blocks for name in block)
    return sorted(name for name in parts.linear if f"{name}.weight" in inside and not is_read_only(parts, name))


def is_read_only(parts: Parts, name: str) -> bool:
    """Whether a linear layer has its weight read and is never called."""
    return name.rpartition(".")[2] in NOT_CALLED.get(parts.family, ())


def convolutions(parts: Parts) -> list[str]:
    """The convolutions of the blocks, but those that are grouped."""
    inside = parts.under(name for block in parts.blocks for name in block)
    weights = {name.removesuffix(".weight") for name in inside if name.endswith(".weight")}
    return sorted(n for n in weights - {*parts.grouped} if len(parts.parameters[f"{n}.weight"]) > 2)


def norms(parts: Parts, modules: Iterable[str]) -> list[str]:
    """The norms with weights under ``modules``."""
    # A weight of one dimension scales channels: no other layer has one.
    return sorted(
        name.removesuffix(".weight")
        for name in parts.under(modules)
        if name.endswith(".weight") and len(parts.parameters[name]) == 1
    )


def matching(option: str, patterns: Sequence[str], known: Sequence[str], parts: Parts) -> list[str]:
    """The layers among ``known`` that patterns name; raises ModelError where one names nothing."""
    idle = [pattern for pattern in patterns if not fnmatch.filter(known, pattern)]
    read_only = [name for name in parts.linear if is_read_only(parts, name)]
    if unheard := [pattern for pattern in idle if fnmatch.filter(read_only, pattern)]:
        raise ModelError(
            f"method.{option}: {', '.join(map(repr, unheard))} names layers whose weights the attention of "
            f"{parts.family} reads without calling them, so what stands beside them would do nothing; leave them out, "
            "or choose 'mask' or 'last_blocks', which train them in full"
        )
    if idle or not patterns:
        endings = sorted({name.rpartition(".")[2] for name in known})
        raise ModelError(
            f"method.{option}: {', '.join(map(repr, idle)) or 'an empty list'} matches no layer of the blocks; "
            f"their names end in {', '.join(endings)} (write '*.{endings[0]}')"
        )
    return sorted({name for pattern in patterns for name in fnmatch.filter(known, pattern)})


# --- what a layer of a block is for, by the ending of its name --------------------------------------------------------

_KEYS_AND_VALUES = (
    *("key", "value"),  # BERT and its kin
    *("k", "v"),  # T5, MPNet
    *("k_proj", "v_proj"),  # Llama, BART, ViT, Wav2Vec2 and theirs
    *("k_lin", "v_lin"),  # DistilBERT
    *("key_proj", "value_proj"),  # DeBERTa-v2
    *("linear_k", "linear_v"),  # Wav2Vec2-BERT
)

# One layer for queries, keys and values: first all queries, or head by head (BLOOM, Falcon, GPT-NeoX, DeBERTa).
_QUERIES_FIRST = ("c_attn", "Wqkv", "qkv_proj", "qkv")
_BY_HEAD = ("query_key_value", "in_proj")

# The second layer of a feed-forward network. Attention ends in layers of the same names, and stands inside of a module
# with "attention" or "attn" in its name.
_SECOND = (
    *("output.dense", "output_dense", "ffn_output"),
    *("fc2", "lin2", "fc_out", "pwconv2"),
    *("wo", "Wo", "c_proj", "down_proj", "dense_4h_to_h"),
)


def keys_and_values(parts: Parts) -> list[str]:
    """The layers of the blocks that compute keys or values."""
    return _ending(parts, (*_KEYS_AND_VALUES, *_QUERIES_FIRST, *_BY_HEAD))


def feed_forwards(parts: Parts) -> list[str]:
    """The layers of the blocks that read the inner activation of a feed-forward network."""
    return [name for name in _ending(parts, _SECOND) if "attention" not in name.lower() and "attn" not in name]


def leading_queries(parts: Parts, name: str) -> int:
    """How many of a layer's outputs are queries that come before its keys and values."""
    fused = name.rpartition(".")[2] in _QUERIES_FIRST
    # What attends to another sequence takes its queries from elsewhere. All heads together are as wide as the model.
    return parts.linear[name][0] if fused and ".crossattention." not in name else 0


def _ending(parts: Parts, endings: Sequence[str]) -> list[str]:
    return [name for name in linear_layers(parts) if f".{name}".endswith(tuple(f".{end}" for end in endings))]

"""Sees the parts of any model: what comes before its blocks, the blocks in execution order, what comes after.

The only place of whet that may probe an architecture. It knows how families of models name their layers; it does
not know what is trained, nor why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn
from transformers import EncoderDecoderModel, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from whet.core import Block, Parts
from whet.errors import ModelError
from whet.model.attention import linear_widths, self_attention
from whet.model.families import PATTERNS
from whet.model.quantise import QuantisedLinear

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

# What belongs to the head although it stands inside of the base model, or beside the blocks where a model has no
# base model of its own (Whisper for audio, T5 for generation).
_HEADS = (
    "pooler",
    "vision_model.head",
    "classifier",
    "projector",
    "layer_weights",
    "lm_head",
    "proj_out",
    "score",
)


def parts_of(model: nn.Module, fresh: Iterable[str] = ()) -> Parts:
    """The parts of a transformers model, plain or wrapped by peft.

    ``fresh`` names parameters that no pre-trained weight filled, as the plain model called them; of a wrapped model
    their present names are found, those of the copies that train. Works without touching weights, so on the meta
    device too. Every parameter belongs to exactly one of stem, blocks, final norm and head; a parameter that a
    container owns itself (``wav2vec2.masked_spec_embed``) stands there by its own name. What is neither a known
    block nor known to come after the blocks is counted to the stem, where a mistake costs speed, never correctness.
    The head lists modules with parameters only. Raises ModelError where no blocks are found.
    """
    root_name, root = _root(model)
    body = body_of(model)
    modules = dict(model.named_modules())
    parameters = dict(_shapes(model))
    blocks, final_norm = _blocks(modules, body, root)
    pooled = {_join(body, name) for name in (*_HEADS, *_heads_of_joined(root))}
    head = [name for name in (*parameters, *modules) if name in pooled]
    after = {*final_norm, *head}
    inner = {*after, *(name for block in blocks for name in block)}
    shared = _shared_with_head(model, body, inner) if body != root_name else set()
    outside = _cover(model, "", {root_name}) if root_name else []
    stem = [*outside, *_cover(modules[body], body, inner), *sorted(shared)]
    if body != root_name:
        head += _cover(root, root_name, {body, *shared})
    return Parts(
        family=root.config.model_type,
        stem=tuple(stem),
        blocks=tuple(blocks),
        final_norm=tuple(final_norm),
        head=tuple(name for name in head if any(p == name or p.startswith(f"{name}.") for p in parameters)),
        parameters=parameters,
        linear=dict(linear_widths(modules)),
        grouped=tuple(n for n, module in modules.items() if isinstance(module, _CONVOLUTIONS) and module.groups > 1),
        tokens=_tokens(root, modules),
        attention=dict(self_attention(modules, blocks)),
        fresh=_present_names(parameters, root_name, frozenset(fresh)),
        settled=tuple(name for name, module in modules.items() if _is_settled(module)),
        speaks=language_head(model) is not None,
    )


def body_of(model: nn.Module) -> str:
    """Name of the pre-trained body inside of a model, such as ``bert``; "" where the model has no head around it.

    Raises ModelError where there is no transformers model inside.
    """
    name, root = _root(model)
    prefix = root.base_model_prefix
    return _join(name, prefix) if prefix and isinstance(getattr(root, prefix, None), nn.Module) else name


def architecture(model: nn.Module) -> str:
    """Everything about a model that decides what its body computes, but its weights: class and config.

    Leaves out what the head answers and where the model came from.
    """
    _, root = _root(model)
    config = root.config.to_dict()
    for name in ("id2label", "label2id", "problem_type", "_name_or_path", "architectures"):
        config.pop(name, None)
    kinds = [f"{name}:{type(module).__qualname__}" for name, module in model.named_modules()]
    return json.dumps([config, kinds], sort_keys=True, default=str)


def attention(model: nn.Module) -> str:
    """What computes a model's attention: ``sdpa``, ``eager`` or another of transformers' implementations."""
    return str(_root(model)[1].config._attn_implementation)


def set_attention(model: nn.Module, implementation: str) -> None:
    """Let another implementation compute a model's attention."""
    _root(model)[1].set_attn_implementation(implementation)


def language_head(model: nn.Module) -> nn.Module | None:
    """What makes a number for every token of the vocabulary, None where a model does not write texts."""
    _, root = _root(model)
    head: nn.Module | None = root.get_output_embeddings()  # type: ignore[no-untyped-call]
    known = getattr(root.config.get_text_config(), "vocab_size", None)
    weight = getattr(head, "weight", None)
    return head if weight is not None and len(weight) == known else None


def has_decoder(model: nn.Module) -> bool:
    """Does one part of the model read, and another write?"""
    return bool(_root(model)[1].config.is_encoder_decoder)


@contextmanager
def without_keys_and_values(model: nn.Module) -> Iterator[None]:
    """Meanwhile a decoder does not keep the keys and values of what it has read."""
    # An encoder-decoder of two models keeps it in the decoder's.
    config = _root(model)[1].config.get_text_config()
    before = getattr(config, "use_cache", None)
    if before is None:
        yield
        return
    config.use_cache = False
    try:
        yield
    finally:
        config.use_cache = before


def longest_input(model: nn.Module) -> int | None:
    """How many tokens a text model can read at a time; None where its positions have no end.

    What a method puts before or into each text takes positions away from it.
    """
    config = _root(model)[1].config
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return None
    adapters = getattr(model, "peft_config", {}).values()
    positions -= sum(getattr(adapter, "num_virtual_tokens", 0) for adapter in adapters)
    for name, module in model.named_modules():
        # RoBERTa and its kin count positions from behind the padding token's number.
        if (
            name.endswith(".position_embeddings")
            and isinstance(module, nn.Embedding)
            and module.padding_idx is not None
        ):
            return positions - module.padding_idx - 1
    return positions


def adapted(model: nn.Module) -> bool:
    """Does peft wrap the model?"""
    return hasattr(model, "peft_config")


def left_whole(model: nn.Module) -> list[str]:
    """The linear layers that are not quantised, by the names that they had before peft wrapped the model."""
    root, _ = _root(model)
    own = {"modules_to_save", "lora_A", "lora_B"}
    return [
        _plain_name(name, root).replace(".original_module", "")
        for name, module in model.named_modules()
        if type(module) in (nn.Linear, Conv1D) and own.isdisjoint(name.split("."))
    ]


def _root(model: nn.Module) -> tuple[str, PreTrainedModel]:
    """The transformers model inside of whatever wraps it, with its name."""
    for name, module in model.named_modules():
        if isinstance(module, PreTrainedModel):
            return name, module
    raise ModelError(f"a {type(model).__name__} is no transformers model; whet trains models of transformers only")


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


# --- blocks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Match:
    """A module that a pattern found, and how it stands to the blocks around it."""

    name: str
    joins: str
    """"before" or "after" it is the block to join; empty for a block of its own."""
    order: tuple[int, ...]
    """Sorts matches into execution order."""


def _blocks(modules: dict[str, nn.Module], body: str, root: PreTrainedModel) -> tuple[list[Block], list[str]]:
    """The blocks in execution order, and what the body has after the last of them."""
    found = _matches(modules, body, _patterns(root))
    if not any(not match.joins for match in found):
        found = _matches(modules, body, _guess(modules, body))
    if not found:
        raise ModelError(
            f"a {type(modules[body]).__name__} (model type '{root.config.model_type}') has no list of layers that whet "
            f"could take for its blocks; known model types are: {', '.join(sorted(PATTERNS))}"
        )
    blocks: list[list[str]] = []
    final: list[str] = []
    waiting: list[str] = []
    last = max(position for position, match in enumerate(found) if not match.joins)
    for position, match in enumerate(found):
        if position > last:
            final.append(match.name)
        elif match.joins == "after":
            waiting.append(match.name)
        elif match.joins == "before" and blocks:
            blocks[-1].append(match.name)
        else:
            blocks.append([*waiting, match.name])
            waiting = []
    return [tuple(block) for block in blocks], final


def _patterns(root: PreTrainedModel) -> tuple[str, ...]:
    config = root.config
    if isinstance(root, EncoderDecoderModel):
        sides = {"encoder": root.encoder.config, f"decoder.{root.decoder.base_model_prefix}": root.decoder.config}
        return tuple(
            f"+{side}.{pattern[1:]}" if pattern.startswith("+") else f"{side}.{pattern}"
            for side, config in sides.items()
            for pattern in PATTERNS.get(config.model_type, ())
        )
    patterns = PATTERNS.get(config.model_type, ())
    # One variant of wav2vec2 and its kin normalises after the blocks, the other one before them.
    if getattr(config, "do_stable_layer_norm", False):
        return (*patterns, "+encoder.layer_norm")
    return patterns


def _heads_of_joined(root: PreTrainedModel) -> list[str]:
    """What a decoder that was joined with an encoder has around its body."""
    if not isinstance(root, EncoderDecoderModel):
        return []
    body = root.decoder.base_model_prefix
    return [f"decoder.{name}" for name, _ in root.decoder.named_children() if name != body]


def _matches(modules: dict[str, nn.Module], body: str, patterns: Sequence[str]) -> list[_Match]:
    """All modules below the body that the patterns find, each once, in execution order."""
    found: dict[str, _Match] = {}
    beginnings = [pattern.strip("+").partition("*")[0] for pattern in patterns]
    for number, pattern in enumerate(patterns):
        joins = "before" if pattern.startswith("+") else "after" if pattern.endswith("+") else ""
        group = beginnings.index(beginnings[number])
        for name, (first, *rest) in _expand(modules, body, pattern.strip("+")):
            order = (group, first, number, *rest)
            found.setdefault(name, _Match(name, joins, order))
    return sorted(found.values(), key=lambda match: match.order)


def _expand(modules: dict[str, nn.Module], body: str, pattern: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names that a pattern stands for, each with the positions its stars have there (one 0 without a star)."""
    candidates: list[tuple[str, tuple[int, ...]]] = [(body, ())]
    for step in pattern.split("."):
        if step != "*":
            candidates = [(_join(name, step), positions) for name, positions in candidates]
            continue
        candidates = [
            (_join(name, child), (*positions, position))
            for name, positions in candidates
            if name in modules
            for position, (child, _) in enumerate(modules[name].named_children())
        ]
    for name, positions in candidates:
        if name in modules:
            yield name, positions or (0,)


def _guess(modules: dict[str, nn.Module], body: str) -> list[str]:
    """Patterns for an unknown family: its largest list of layers of one kind, and the norms registered after it."""
    sizes = {
        name.removeprefix(f"{body}.") if body else name: sum(p.numel() for p in module.parameters())
        for name, module in modules.items()
        if name.startswith(f"{body}." if body else "")
        and isinstance(module, nn.ModuleList)
        and len({type(child) for child in module}) == 1
    }
    if not sizes or not max(sizes.values()):
        return []
    layers = max(sizes, key=lambda name: sizes[name])
    norms: list[str] = []
    parent = layers
    while parent:
        parent, _, child = parent.rpartition(".")
        siblings = dict(modules[_join(body, parent)].named_children())
        later = list(siblings)[list(siblings).index(child) + 1 :]
        norms += [_join(parent, name) for name in later if "Norm" in type(siblings[name]).__name__]
    return [f"{layers}.*", *(f"+{name}" for name in norms)]


# --- what is around the blocks ----------------------------------------------------------------------------------


def _cover(module: nn.Module, name: str, taken: Iterable[str]) -> list[str]:
    """The fewest names that stand for all of a module but what is taken: modules, and parameters by themselves."""
    taken = set(taken)
    if name in taken:
        return []
    if not any(other.startswith(f"{name}.") or not name for other in taken):
        return [name]
    own = [_join(name, leaf) for leaf, _ in module.named_parameters(recurse=False)]
    covered = [full for full in own if full not in taken]
    for child, submodule in module.named_children():
        covered += _cover(submodule, _join(name, child), taken)
    return covered


def _shared_with_head(model: nn.Module, body: str, inner: set[str]) -> set[str]:
    """Parameters of the stem that are listed under a name outside of the body, because the head is tied to them."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    inside = {name for name, _ in model.get_submodule(body).named_parameters(remove_duplicate=False, prefix=body)}
    own = {
        first[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name in inside and not any(name == other or name.startswith(f"{other}.") for other in inner)
    }
    return own - inside


def _is_settled(module: nn.Module) -> bool:
    """Whether a batch norm has seen rows: its statistics begin as means of 0 and variances of 1."""
    if not isinstance(module, _BATCH_NORMS) or module.running_mean is None or module.running_var is None:
        return False
    if module.running_mean.is_meta:
        return False
    return bool((module.running_mean != 0).any() or (module.running_var != 1).any())


def _tokens(root: PreTrainedModel, modules: dict[str, nn.Module]) -> tuple[str, ...]:
    """The modules that hold the token vectors, of which an encoder-decoder has one to three for the same table."""
    try:
        table = root.get_input_embeddings()
    except NotImplementedError:
        return ()
    if not isinstance(table, nn.Embedding):
        return ()
    return tuple(name for name, module in modules.items() if module is table)


def _shapes(model: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    quantised = {id(module.weight): module for module in model.modules() if isinstance(module, QuantisedLinear)}
    for name, parameter in model.named_parameters():
        layer = quantised.get(id(parameter))
        yield name, tuple(parameter.shape) if layer is None else (layer.out_features, layer.in_features)


def _present_names(parameters: Iterable[str], root: str, fresh: frozenset[str]) -> tuple[str, ...]:
    """What fresh parameters are called in a model that peft may have wrapped."""
    return tuple(name for name in parameters if name in fresh or _plain_name(name, root) in fresh)


def _plain_name(name: str, root: str) -> str:
    """The name that a parameter had before peft wrapped its model; peft's own parameters keep theirs."""
    steps = name.removeprefix(f"{root}.").split(".")
    plain: list[str] = []
    while steps:
        step = steps.pop(0)
        if step == "modules_to_save" and steps:
            steps.pop(0)  # the adapter's name
        elif step != "base_layer":
            plain.append(step)
    return ".".join(plain)

"""What there is to know of a model from its config alone: its parts, what it reads, and how a method changes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from whet.core import Cost, Parts, Stage
from whet.errors import ModelError
from whet.model.dropout import set_dropout
from whet.model.freeze import apply, frozen_depth, set_training_modes, training_modes
from whet.model.heads import HEADS, Kind
from whet.model.locate import opening
from whet.model.outline import outline
from whet.model.parts import parts_of
from whet.model.quantise import QuantisedLinear
from whet.model.surgery import without_last
from whet.planning.trace import Traced
from whet.protocols import Method

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "text_classification": ("SequenceClassification",),
    "token_classification": ("TokenClassification",),
    "causal_lm": ("CausalLM",),
    "seq2seq": ("Seq2SeqLM",),
    "image_classification": ("ImageClassification",),
    "audio_classification": ("AudioClassification",),
    "speech_recognition": ("SpeechSeq2Seq", "CTC"),
}
"""Heads by the name of the task."""
_ENDINGS: tuple[tuple[str, Kind], ...] = (
    ("ForSequenceClassification", "SequenceClassification"),
    ("ForTokenClassification", "TokenClassification"),
    ("ForImageClassification", "ImageClassification"),
    ("ForAudioClassification", "AudioClassification"),
    ("ForCTC", "CTC"),
    ("ForCausalLM", "CausalLM"),
    ("LMHeadModel", "CausalLM"),
    ("ForConditionalGeneration", "Seq2SeqLM"),
    ("MarianMTModel", "Seq2SeqLM"),
)
"""Heads by the ending of the class that a config names."""
WRITES: tuple[Kind, ...] = ("CausalLM", "Seq2SeqLM", "SpeechSeq2Seq")
"""Heads with a number for every token of a vocabulary."""
PIXELS = 224
"""Pixels a side where a config does not tell."""
SECONDS = 10
"""Of a clip where a config does not tell, at 16,000 samples a second."""
TARGETS = 2
"""Classes where nobody tells how many there are."""


def read_config(path: Path) -> PreTrainedConfig:
    """The config in a file, or in the folder of a model; raises ModelError."""
    if not path.exists():
        raise ModelError(f"config '{path}': there is no such file; name a model's config.json, or its folder")
    with opening(f"{path}"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    return config


def kind_of(config: PreTrainedConfig, task: str | None) -> Kind:
    """The head that a task wants, or else the one of the class that the config names; raises ModelError."""
    family = config.model_type
    if task is not None:
        if task not in KINDS:
            raise ModelError(f"task '{task}' is not known; known are: {', '.join(KINDS)}")
        wanted = next((kind for kind in KINDS[task] if family in HEADS[kind].families), None)
        if wanted is None:
            head = HEADS[KINDS[task][-1]]
            raise ModelError(f"a model of type '{family}' cannot {head.purpose} in transformers; {head.way_out}")
        return wanted
    for name in config.architectures or ():
        named = next(
            (kind for ending, kind in _ENDINGS if name.endswith(ending) and family in HEADS[kind].families), None
        )
        if named is not None:
            return named
    orders: tuple[Kind, ...] = ("CausalLM", "Seq2SeqLM", "ImageClassification", "SequenceClassification")
    found = next((kind for kind in (*orders, *HEADS) if family in HEADS[kind].families), None)
    if found is None:
        raise ModelError(f"whet trains no model of type '{family}'")
    return found


def open_outline(config: PreTrainedConfig, kind: Kind, targets: int) -> PreTrainedModel:
    """The model of a config without weights, with a head for so many targets."""
    if HEADS[kind].has_labels:
        config.num_labels = targets
    if HEADS[kind].reads == "texts" and config.to_dict().get("pad_token_id") is None:
        config.pad_token_id = 0
    with opening(config.model_type):
        return outline(config, kind)


def inputs_of(model: PreTrainedModel, kind: Kind, rows: int, length: int) -> dict[str, Tensor]:
    """Arguments of a model for so many rows, of so many tokens where it reads texts."""
    config: dict[str, Any] = model.config.to_dict()
    if HEADS[kind].reads == "texts":
        tokens = torch.ones(rows, length, dtype=torch.int64)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return {**inputs, "decoder_input_ids": tokens.clone()} if config.get("is_encoder_decoder") else inputs
    if HEADS[kind].reads == "pictures":
        side = config.get("image_size") or PIXELS
        height, width = side if isinstance(side, list | tuple) else (side, side)
        return {"pixel_values": torch.zeros(rows, config.get("num_channels") or 3, height, width)}
    if model.main_input_name == "input_features":
        frames = 2 * int(config.get("max_source_positions") or 1500)
        sound = {"input_features": torch.zeros(rows, int(config.get("num_mel_bins") or 80), frames)}
        if kind == "SpeechSeq2Seq":
            sound["decoder_input_ids"] = torch.ones(
                rows, min(length, int(config["max_target_positions"])), dtype=torch.int64
            )
        return sound
    if "num_mel_bins" in config and "max_length" in config and "patch_size" in config:
        return {"input_values": torch.zeros(rows, int(config["max_length"]), int(config["num_mel_bins"]))}
    return {"input_values": torch.zeros(rows, SECONDS * 16_000)}


# --- a method on a model ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attached:
    """A method on a model without weights, at the part of the run that trains most."""

    model: nn.Module
    parts: Parts
    stage: Stage
    every: frozenset[str]
    """What trains in any part."""
    cost: Cost
    hidden: tuple[str, ...]
    """Frozen modules whose outputs can be stored; none where something trains before the first block ends."""
    whole: bool
    """Whether all blocks are among them."""
    stages: tuple[tuple[float, float], ...]
    """Of each stage its share of the run, and the share of the blocks that are frozen from the bottom on."""


def attach(method: Method, plain: PreTrainedModel, parts: Parts, dropout: float | None = None) -> Attached:
    """The method on a copy of a model, all of which drops out so much; raises ModelError where it cannot work."""
    cost = method.cost(parts)
    with torch.device("meta"):
        copied = copy.deepcopy(plain)
        if dropout is not None:
            set_dropout(copied, dropout)
        model = method.attach(copied, parts)
    own = parts_of(model, parts.fresh)
    stages = method.stages(own)
    stage = max(stages, key=lambda one: own.count(one.mask))
    apply(model, own, stage.mask)
    set_training_modes(model, training_modes(model, own, stage.mask))
    depth = frozen_depth(own, stage.mask)
    hidden: tuple[str, ...] = ()
    if depth:
        modules = {name for name, _ in model.named_modules()}
        after = own.final_norm if depth == len(own.blocks) else ()
        names = [*own.stem, *after, *(name for block in own.blocks[:depth] for name in block)]
        hidden = tuple(name for name in names if name in modules and not own.under([name]) & stage.mask)
    every = frozenset[str]().union(*(one.mask for one in stages))
    blocks = max(1, len(own.blocks))
    shares = tuple((one.share, frozen_depth(own, one.mask) / blocks) for one in stages)
    return Attached(model, own, stage, every, cost, hidden, depth == len(own.blocks), shares)


def shorter(plain: PreTrainedModel, blocks: int) -> PreTrainedModel | None:
    """The same model without weights with its first blocks only; None where its blocks differ."""
    try:
        with torch.device("meta"):
            return without_last(plain, len(parts_of(plain).blocks) - blocks)
    except ModelError:
        return None


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, tied ones once."""
    held = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in held.values())


def estimated(parts: Parts, mask: frozenset[str], rows: int, length: int, *, casts: bool) -> Traced:
    """What a step takes by the sizes of the layers, where a model cannot be traced.

    Each linear layer of a block keeps what it reads, as much again is kept by what stands between them, and what trains
    has a gradient in fp32.
    """
    size = 2 if casts else 4
    depth = frozen_depth(parts, mask)
    above = parts.under(name for block in parts.blocks[depth:] for name in block)
    widths = [pair for name, pair in parts.linear.items() if f"{name}.weight" in above]
    tokens = rows * length
    traced = Traced()
    traced.peak["activations"] = tokens * size * 2 * sum(width_in + width_out for width_in, width_out in widths)
    traced.peak["gradients"] = 4 * parts.count(mask)
    inside = [pair for name, pair in parts.linear.items()]
    traced.flops = 6.0 * tokens * sum(width_in * width_out for width_in, width_out in inside)
    traced.operations = 60 * len(parts.blocks) * 3
    return traced


def unread_bytes(parts: Parts, mask: frozenset[str], read: int) -> int:
    """Bytes of frozen token tables of which a step reads so many rows: what is mapped and not read takes no memory.

    A table that is the head too is read as a whole.
    """
    bodies = parts.under(parts.tokens) - mask - parts.under(parts.head)
    tables = (parts.parameters[name] for name in bodies if name.endswith("weight"))
    return 0 if parts.speaks else sum(4 * max(0, shape[0] - read) * shape[1] for shape in tables if len(shape) == 2)


def packed_room(model: nn.Module) -> int:
    """Numbers of the largest layer in 4 bits, for which room is kept to make it whole; 0 where there is none."""
    packed = (module for module in model.modules() if isinstance(module, QuantisedLinear))
    return max((layer.in_features * layer.out_features for layer in packed), default=0)


def writes_tokens(problem: str | None, family: str) -> bool:
    """Whether a task for this problem answers with tokens of a vocabulary, some logits at a time."""
    return problem in ("next_token", "target_text") or (problem == "transcript" and family == "whisper")

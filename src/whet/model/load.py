"""From a name to a model with the right head, and its tokenizer.

Weights are safetensors only, no code of a model is run, and bad files are refused before they are opened.
This module knows no method and no data.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from whet.core import Loaded, Problem, Quantisation
from whet.errors import ModelError
from whet.model.files import (
    CONFIG,
    model_problems,
    precisions,
)
from whet.model.heads import HEADS, Kind
from whet.model.locate import locate, opening, refuse
from whet.model.outline import left_open, outline, weights_left_out
from whet.model.parts import parts_of
from whet.model.processors import open_processor
from whet.model.quantise import quantise
from whet.model.spelling import spell_with, spelling

_PROBLEM_TYPES = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def load(
    name: str | None,
    *,
    labels: Sequence[str] | None,
    targets: int,
    problem: Problem,
    kind: Kind = "SequenceClassification",
    revision: str | None = None,
    quantisation: Quantisation | None = None,
    characters: str | None = None,
) -> Loaded:
    """A pre-trained model with a head for this problem, and its tokenizer.

    ``name`` is a folder, the name of a model on the hub (at a ``revision``), or None for the embedded model, which
    answers to its own name too. ``labels`` are the classes in order, None for regression; ``targets`` is the width C
    of the output. A language model has neither: its head is the pre-trained one. Weights are float32, those of the
    blocks quantised if so asked. A head that answered these very labels before, in this order, is kept; any other last
    layer is drawn anew from torch's present seed and listed in ``fresh``. So is that of a CTC model which cannot spell
    the ``characters``: it gets a vocabulary of them. A tokenizer without padding pads with its end token, and never
    reads more tokens than the model has positions. Raises ModelError, naming everything that is wrong.
    """
    if name is None and HEADS[kind].reads != "texts":
        raise ModelError(
            f"no model is named, and none that reads {HEADS[kind].reads} is embedded; {HEADS[kind].way_out}"
        )
    name, folder, source = locate(name, revision)
    refuse(name, model_problems(folder, kind))
    with opening(name):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    kept = not HEADS[kind].has_labels or _answers_alike(config, labels, targets, problem)
    if HEADS[kind].has_labels:
        config.num_labels = targets
        config.id2label = dict(enumerate(labels or [f"LABEL_{i}" for i in range(targets)]))
        config.label2id = {label: i for i, label in config.id2label.items()}
        config.problem_type = _PROBLEM_TYPES.get(problem)
    if HEADS[kind].reads in ("sound", "speech"):
        # Its numbers come from numpy's generator, whose state no checkpoint holds, and short clips make it fail.
        config.apply_spec_augment = False
    tokenizer = None
    if kind == "CTC":
        tokenizer, kept = spelling(name, folder, characters)
        spell_with(config, tokenizer)
    model, unfilled = read(name, folder, config, kind, quantisation)
    if not kept:
        unfilled |= _draw_answers(model, unfilled, kind)
    # Peft writes this into an adapter as the name of its base model.
    model.name_or_path = name if source == "hub" else str(folder)
    processor = open_processor(name, folder, model, HEADS[kind].reads, tokenizer)
    fresh = tuple(parameter for parameter, _ in model.named_parameters() if parameter in unfilled)
    return Loaded(model, processor, name, source, fresh)


# --- opening it -------------------------------------------------------------------------------------------------


def read(
    name: str, folder: Path, config: PreTrainedConfig, kind: Kind, quantisation: Quantisation | None = None
) -> tuple[PreTrainedModel, set[str]]:
    """The model with its weights, quantised if so asked, and the names of those parameters that no weight filled.

    Where weights are left out the model has shapes alone. Raises ModelError where the weights are those of another
    model.
    """
    if weights_left_out():
        with opening(name):
            model = outline(config, kind)
        return model, left_open(parts_of(model), folder)
    with opening(name):
        model, report = _filled(folder, config, kind, torch.float32 if quantisation is None else _precision(folder))
    parts = parts_of(model)
    head = parts.under(parts.head)
    misfits = sorted(entry for entry in report["mismatched_keys"] if entry[0] not in head)
    if misfits:
        parameter, found, wanted = misfits[0]
        raise ModelError(
            f"model '{name}': the weights are not those of {CONFIG}: '{parameter}' is {tuple(found)} in the file and "
            f"{tuple(wanted)} by {CONFIG}, and {len(misfits) - 1} more; fetch both from one source"
        )
    body = parts.parameters.keys() - head
    absent = body & report["missing_keys"]
    if 2 * len(absent) > len(body):
        raise ModelError(
            f"model '{name}': the weights file fills only {len(body) - len(absent)} of the {len(body)} tensors of a "
            f"'{config.model_type}' model, it lacks {few(absent)}; fetch weights and {CONFIG} from one source"
        )
    unfilled = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    if quantisation is not None:
        quantise(model, parts_of(model, unfilled), quantisation)
        nn.Module.to(model, torch.float32)
    return model, unfilled


def _filled(
    folder: Path, config: PreTrainedConfig, kind: Kind, dtype: torch.dtype
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model with its weights in this precision, and what transformers reports of them.

    Weights that the file holds in this precision are mapped: they take no memory before they are read.
    """
    model, report = HEADS[kind].builder.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    if dtype != torch.float32 and any(buffer.dtype == dtype for buffer in model.buffers()):
        # A table that the architecture computes, and that would keep the rounding.
        return _filled(folder, config, kind, torch.float32)
    return model, report


def _precision(folder: Path) -> torch.dtype:
    """That in which a model's weights lie in their file."""
    kinds = precisions(folder)
    return (
        {"BF16": torch.bfloat16, "F16": torch.float16}[kinds.pop()] if kinds in ({"BF16"}, {"F16"}) else torch.float32
    )


def _answers_alike(config: PreTrainedConfig, labels: Sequence[str] | None, targets: int, problem: Problem) -> bool:
    """Did the head of a saved model answer this very question?"""
    if config.problem_type not in (None, _PROBLEM_TYPES.get(problem)) or config.num_labels != targets:
        return False
    saved = sorted((int(number), label) for number, label in (config.id2label or {}).items())
    return labels is None or [label for _, label in saved] == list(labels)


def _draw_answers(model: PreTrainedModel, drawn: set[str], kind: Kind) -> set[str]:
    """Draw anew the parameters whose shape follows the number of answers, but those drawn already; their names."""
    wider = copy.deepcopy(model.config)
    if HEADS[kind].has_labels:
        wider.num_labels = len(model.config.id2label or {}) + 1
    else:
        wider.vocab_size += 1
    with torch.device("meta"):
        plain, other = _random_model(model.config, kind), _random_model(wider, kind)
    old = {n for n, parameter in plain.named_parameters() if parameter.shape != other.get_parameter(n).shape} - drawn
    if old and not weights_left_out():
        source = _random_model(model.config, kind)
        with torch.no_grad():
            for name in sorted(old):
                model.get_parameter(name).copy_(source.get_parameter(name))
    return old


def _random_model(config: PreTrainedConfig, kind: Kind) -> PreTrainedModel:
    model: PreTrainedModel = HEADS[kind].builder.from_config(config)
    return model


def few(names: set[str]) -> str:
    """The first names of many, and how many more."""
    shown = sorted(names)[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(f"'{name}'" for name in shown) + more

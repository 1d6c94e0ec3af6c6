"""The tables of methods by kinds of models and by tasks: where each works, and how much of a model it trains.

What the tables say is tried here, on the tiny models on which the tests run the laws of every method.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tests.contracts.backbones import BACKBONES, Backbone
from tests.contracts.grounds import GROUNDS, Ground
from tests.contracts.rows import row
from torch import nn
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    ViTConfig,
)

from whet import catalog
from whet import recipe as recipes
from whet.build import prepare
from whet.engine.arithmetic import Arithmetic
from whet.errors import ModelError
from whet.model.freeze import frozen_depth
from whet.model.parts import parts_of
from whet.protocols import Method

WORKS = "✓"


def families() -> str:
    """A table of methods by backbone families, and why a method is refused where it is."""
    columns = [backbone.name for backbone in BACKBONES]
    lines = [
        "| method | " + " | ".join(columns) + " | merges | caches |",
        "|---" + "|:-:" * (len(columns) + 2) + "|",
    ]
    reasons: list[str] = []
    for name in catalog.names("method"):
        cells = [_cell(_refusal(name, backbone), reasons) for backbone in BACKBONES]
        lines.append(f"| `{name}` | " + " | ".join([*cells, _merges(name), _caches(name)]) + " |")
    return "\n".join([*lines, "", *_numbered(reasons)])


def shares() -> str:
    """A table of what each method trains and stores of three models, from their configs alone."""
    models = dict(_well_known())
    lines = [
        "| method | " + " | ".join(f"{name} trains | stores" for name in models) + " |",
        "|---" + "|--:" * (2 * len(models)) + "|",
    ]
    for name in catalog.names("method"):
        if any(option.required for option in catalog.options("method", name)):
            continue
        cells = []
        for model in models.values():
            parts = parts_of(model)
            try:
                cost = catalog.build("method", name, {}).cost(parts)
            except ModelError:
                cells += ["refused", ""]
                continue
            whole = parts.count(frozenset(parts.parameters))
            cells += [f"{cost.trainable / whole:.2%}", f"{cost.stored / 1e6:,.1f} M"]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tasks() -> str:
    """A table of methods by tasks, and why a method is refused where it is."""
    columns = [f"{ground.task}, {ground.family}" for ground in GROUNDS]
    lines = ["| method | " + " | ".join(columns) + " |", "|---" + "|:-:" * len(columns) + "|"]
    reasons: list[str] = []
    with TemporaryDirectory() as folder:
        for name in catalog.names("method"):
            cells = [_cell(_refusal_of_run(name, ground, Path(folder)), reasons) for ground in GROUNDS]
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_numbered(reasons)])


def _refusal_of_run(name: str, ground: Ground, folder: Path) -> str:
    """Why a run of a method is refused before it begins; empty where it is not."""
    recipe = recipes.parse(ground.recipe(folder, name, steps=1))
    try:
        prepare(recipe, Arithmetic())
    except ModelError as error:
        told, family = " ".join(error.problems), ground.family.partition(",")[0]
        return told.replace(f"this {family}", "the model").replace(family, "the model")
    return ""


def _cell(reason: str, reasons: list[str]) -> str:
    """The number of a reason, which is new in the list or stands there already."""
    if not reason:
        return WORKS
    if reason not in reasons:
        reasons.append(reason)
    return f"[{reasons.index(reason) + 1}]"


def _numbered(reasons: list[str]) -> list[str]:
    return [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]


def _refusal(name: str, backbone: Backbone) -> str:
    """Why a method is refused on a backbone; empty where it works."""
    plain = backbone.build()
    method: Method = catalog.build("method", name, row(name).options)
    try:
        method.attach(plain, parts_of(plain))
    except ModelError as error:
        # One reason for all models of a kind.
        return " ".join(error.problems).replace(plain.config.model_type, "the model")
    return ""


def _merges(name: str) -> str:
    if not catalog.load("method", name).keeps_base:
        return "plain"
    return WORKS if row(name).merges else ""


def _caches(name: str) -> str:
    """Whether outputs of frozen blocks are stored, and in which part of the run."""
    plain = BACKBONES[0].build()
    method: Method = catalog.build("method", name, row(name).options)
    model = method.attach(plain, parts_of(plain))
    parts = parts_of(model)
    depths = [frozen_depth(parts, stage.mask) for stage in method.stages(parts)]
    if not any(depths) or name == "mask":
        return "by what is named" if name == "mask" else ""
    return WORKS if all(depths) else "at first"


def _well_known() -> Iterator[tuple[str, nn.Module]]:
    llama = LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=131072,
    )
    with torch.device("meta"):
        yield "BERT-base", AutoModelForSequenceClassification.from_config(BertConfig(num_labels=2))
        yield "ViT-B", AutoModelForImageClassification.from_config(ViTConfig(num_labels=2))
        yield "Llama-1B", AutoModelForSequenceClassification.from_config(llama)

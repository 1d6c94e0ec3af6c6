"""A head of given layers: they and a new last one stand where the last layer of the model's own head stood.

No class of transformers holds such a head. Told the family's own type it would draw its plain head at random, with no
more than a warning; so the saved ``config.json`` says a type that transformers does not know and refuses, and
``open_layered`` opens the folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from safetensors.torch import load_model
from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedModel

from whet.errors import ModelError
from whet.model.files import CONFIG, LAYERED, LAYERED_FROM, WEIGHTS
from whet.model.heads import HEADS, Kind
from whet.model.parts import parts_of

LAYERS = "whet_head"
"""Where a model's config lists them."""

_BENDING = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def put_on(model: PreTrainedModel, layers: Sequence[int | str]) -> str:
    """Put these layers, and a last one behind them, in place of the model's last layer; returns where they stand.

    A number is the width of a linear layer, ``dropout 0.2`` drops a fifth, any other word bends; weights come from
    torch's present seed. Raises ModelError where the model has no layer of its own that answers.
    """
    parts = parts_of(model)
    answers, targets = parts.under(parts.head), model.config.num_labels or 0
    last = [name for name, (_, out) in parts.linear.items() if f"{name}.weight" in answers and out == targets]
    if parts.speaks or not last:
        raise ModelError(
            f"surgery.head: this {parts.family} has no last layer with a number for each of {targets} answers that "
            "others could replace; leave surgery.head out"
        )
    name = last[-1]
    parent, _, child = name.rpartition(".")
    widths = [parts.linear[name][0], *(layer for layer in layers if isinstance(layer, int)), targets]
    linear = iter([nn.Linear(*pair) for pair in pairwise(widths)])
    stack = [next(linear) if isinstance(layer, int) else _unweighted(layer) for layer in layers]
    model.get_submodule(parent).register_module(child, nn.Sequential(*stack, next(linear)).train(model.training))
    model.config.update({LAYERS: list(layers)})
    return name


def _unweighted(layer: str) -> nn.Module:
    word, _, share = layer.partition(" ")
    return nn.Dropout(float(share)) if word == "dropout" else _BENDING[word]()


def layered(model: nn.Module) -> bool:
    """Whether the model's head has layers of its own."""
    return isinstance(model, PreTrainedModel) and LAYERS in model.config.to_dict()


def says_layered(folder: Path) -> bool:
    """Whether a folder that was looked at holds a model with such a head."""
    told: dict[str, object] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return told.get("model_type") == LAYERED


def mark(folder: Path) -> None:
    """Let the config of a saved model say that transformers alone cannot open it."""
    told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    told = {**told, "model_type": LAYERED, LAYERED_FROM: told["model_type"]}
    (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def open_layered(folder: str | Path, kind: Kind = "SequenceClassification") -> PreTrainedModel:
    """The model of a run whose recipe set ``surgery.head``, in evaluation mode; ``kind`` is what it answers.

    Raises ModelError where its weights are those of another head.
    """
    told = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    family = told.pop(LAYERED_FROM)
    config = CONFIG_MAPPING[family].from_dict({**told, "model_type": family})
    model: PreTrainedModel = HEADS[kind].builder.from_config(config)
    put_on(model, told[LAYERS])
    try:
        # Two names of one tensor are one entry of the file.
        load_model(model, Path(folder) / WEIGHTS)
    except RuntimeError as error:
        raise ModelError(f"model '{folder}': {WEIGHTS} does not fit {CONFIG}; copy the folder anew") from error
    model.train(mode=False)
    return model

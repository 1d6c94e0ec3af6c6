"""Small pictures that a tiny model can tell apart, and tiny models that read them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    ConvNextImageProcessorPil,
    PreTrainedModel,
    ViTImageProcessorPil,
)

SIDE = 16
"""Pixels a side of what the tiny models read."""
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}

_OPTIONS: dict[str, dict[str, Any]] = {
    "vit": {
        "image_size": SIDE,
        "patch_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    },
    "resnet": {"embedding_size": 16, "layer_type": "basic", "hidden_sizes": [16, 32], "depths": [1, 2]},
}


def picture(colour: tuple[int, int, int], seed: int, side: int = 24) -> Image.Image:
    """A square mostly of this colour, another one for each seed."""
    noise = np.random.default_rng(seed).integers(-40, 40, (side, side, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def class_folders(folder: Path, rows: int, classes: Sequence[str] = ("red", "green")) -> Path:
    """``rows`` different pictures for each class, in a folder of its own."""
    for label in classes:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(rows):
            picture(COLOURS[label], number + 1000 * len(label)).save(folder / label / f"{number}.png")
    return folder


def tiny_model(folder: Path, family: str) -> Path:
    """A folder with a random model for 2 classes of no name, and its processor."""
    config = AutoConfig.for_model(family, num_labels=2, **_OPTIONS[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind: Any = AutoModelForImageClassification
        model: PreTrainedModel = kind.from_config(config)
        if family == "resnet":
            _settle(model)
    model.save_pretrained(folder)
    processor = (
        ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
        if family == "vit"
        else ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=0.9)
    )
    processor.save_pretrained(folder)
    assert json.loads((folder / "preprocessor_config.json").read_text())["do_resize"]
    return folder


def _settle(model: nn.Module) -> None:
    """Let batch norms see pictures, as those of a pre-trained model have."""
    with torch.no_grad():
        model.train()
        for _ in range(10):
            model(pixel_values=torch.randn(16, 3, SIDE, SIDE))
    model.eval()

"""Models without weights: a config alone makes one, on torch's meta device. It takes no memory and answers nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from whet.core import Parts
from whet.model.files import all_tensor_names
from whet.model.heads import HEADS, Kind

_ALONE: ContextVar[bool] = ContextVar("shapes_alone", default=False)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Meanwhile models are opened without their weights, and what is made beside them has none either."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def weights_left_out() -> bool:
    """Whether that is so now."""
    return _ALONE.get()


def outline(config: PreTrainedConfig, kind: Kind) -> PreTrainedModel:
    """The model that a config describes, in fp32, as whet trains it."""
    with torch.device("meta"):
        model: PreTrainedModel = HEADS[kind].builder.from_config(config)
    nn.Module.to(model, torch.float32)
    return model


def left_open(parts: Parts, folder: Path) -> set[str]:
    """The parameters of a head for which the weights of a checked folder have none of that name."""
    known = all_tensor_names(folder)
    # A body is saved with or without the name that it has inside of a model with a head.
    return {name for name in parts.answers if not {name, name.partition(".")[2]} & known}

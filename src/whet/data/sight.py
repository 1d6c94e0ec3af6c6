"""What size of pictures a model reads: its processor is told, and the model is tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import nn

from whet.core import Loaded, Processor
from whet.data.pictures import PIXELS, channels_of
from whet.errors import ModelError


def with_size(loaded: Loaded, size: int | None) -> Loaded:
    """A model whose processor makes squares of ``size`` pixels a side; None leaves the size that it has.

    Raises ModelError where the model does not read what its processor makes; one without weights is not asked.
    """
    processor = loaded.processor if size is None else _square(loaded.processor, size)
    if next(loaded.model.parameters()).is_meta:
        return replace(loaded, processor=processor)
    mode = "L" if channels_of(processor) == 1 else "RGB"
    made = processor(images=Image.new(mode, (320, 320)), return_tensors="pt")[PIXELS]
    model: nn.Module = loaded.model
    before = {module: module.training for module in model.modules()}
    try:
        with torch.inference_mode():
            model.eval()(pixel_values=made)
    except (RuntimeError, ValueError) as error:
        seen = f"{made.shape[-2]} x {made.shape[-1]} pixels in {made.shape[1]} channels"
        way_out = "leave task.size out" if size is not None else "fetch model and preprocessor from one source"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(f"model '{loaded.name}' does not read pictures of {seen}: {reason}; {way_out}") from error
    finally:
        for module, training in before.items():
            module.training = training
    return replace(loaded, processor=processor)


def _square(processor: Processor, size: int) -> Processor:
    """The same processor for another size; what it cuts off the sides stays the same share."""
    settings: dict[str, Any] = dict(processor.to_dict())
    sides = {"height": size, "width": size}
    before, cut = dict(settings["size"]), dict(settings.get("crop_size") or {})
    cuts = bool(settings.get("do_center_crop"))
    whole = before.get("shortest_edge") or before.get("height")
    margin = whole / cut["height"] if cuts and whole and cut.get("height") else 1.0
    if "shortest_edge" in before:
        settings |= {"size": {"shortest_edge": round(size * margin)}, "do_center_crop": True, "crop_size": sides}
    else:
        larger = round(size * margin)
        settings |= {"size": {"height": larger, "width": larger}, "crop_size": sides}
    settings["do_resize"] = True
    return type(processor).from_dict(settings)

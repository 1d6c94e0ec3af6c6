"""A model and its processor to a folder, in the layout of transformers or peft."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from whet.errors import SaveError
from whet.model.silence import silence


def save(model: nn.Module, processor: Any, folder: Path) -> None:
    """Write weights as safetensors, with config and tokenizer.

    A model that peft wraps leaves its adapter only. Raises SaveError where the disk refuses.
    """
    try:
        with silence():
            model.save_pretrained(folder)  # type: ignore[operator]
            processor.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise SaveError(f"{folder} could not be written: {error}; make room, then go on with 'whet resume'") from error

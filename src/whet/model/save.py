"""A model and its processor to a folder, in the layout of transformers or peft."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import BitsAndBytesConfig

from whet.errors import SaveError
from whet.model.files import QUANTISATION
from whet.model.layered import layered, mark
from whet.model.parts import adapted, left_whole
from whet.model.quantise import quantisation_of
from whet.model.silence import silence


def save(model: nn.Module, processor: Any, folder: Path) -> None:
    """Write weights as safetensors, with config and tokenizer.

    A model that peft wraps leaves its adapter only and, where its base is quantised, how. Raises SaveError where the
    disk refuses.
    """
    try:
        with silence():
            # Peft would look for tables of tokens where the number of outputs changed; a model that hears has none.
            options = {"save_embedding_layers": False} if adapted(model) else {}
            model.save_pretrained(folder, **options)  # type: ignore[operator]
            processor.save_pretrained(folder)
            if layered(model):
                mark(folder)
            if quantisation_of(model) is not None:
                (folder / QUANTISATION).write_text(json.dumps(_told(model), indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise SaveError(f"{folder} could not be written: {error}; make room, then go on with 'whet resume'") from error


def _told(model: nn.Module) -> dict[str, Any]:
    """What transformers has to be told to quantise the same layers of the base in the same way."""
    quantisation = quantisation_of(model)
    assert quantisation is not None
    told: dict[str, Any] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=quantisation.kind,
        bnb_4bit_use_double_quant=quantisation.double,
        llm_int8_skip_modules=left_whole(model),
    ).to_dict()
    return told

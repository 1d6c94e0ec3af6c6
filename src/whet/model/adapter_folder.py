"""Opens a peft adapter that a run saved, on its base model, wherever that is now."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from peft import PeftModel, get_peft_model_state_dict
from transformers import AutoConfig, PreTrainedModel

from whet.core import Loaded
from whet.errors import ModelError
from whet.model.files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    PROCESSORS,
    adapter_problems,
    model_problems,
    read_adapter_config,
    read_quantisation,
    tensor_names,
)
from whet.model.heads import HEADS, Kind
from whet.model.load import few, read
from whet.model.locate import EMBEDDED, EMBEDDED_PACKAGE, embedded_text_model, locate, opening, refuse
from whet.model.parts import parts_of
from whet.model.processors import make_room, open_processor
from whet.model.spelling import open_tokenizer, spell_with


def open_adapter(folder: Path, targets: int, kind: Kind) -> Loaded:
    """A model with an adapter that a run saved; raises ModelError where it is damaged, or its base model is gone."""
    name = str(folder)
    refuse(name, adapter_problems(folder))
    adapter = read_adapter_config(folder)
    base, base_folder = _base_model(folder, adapter["base_model_name_or_path"], adapter.get("revision"))
    refuse(base, model_problems(base_folder, kind))
    with opening(name):
        config = AutoConfig.from_pretrained(base_folder, trust_remote_code=False)
    if HEADS[kind].has_labels:
        config.num_labels = targets
    if kind == "CTC":
        spell_with(config, open_tokenizer(name, folder))
    model, unfilled = read(base, base_folder, config, kind, read_quantisation(folder))
    with opening(name):
        wrapped = PeftModel.from_pretrained(model, name, torch_device="cpu")
    held = tensor_names(folder / ADAPTER_WEIGHTS)
    absent = get_peft_model_state_dict(wrapped, save_embedding_layers=False).keys() - held
    absent |= {fresh for fresh in parts_of(wrapped, unfilled).fresh if ".modules_to_save." not in fresh}
    if absent:
        raise ModelError(f"model '{name}': neither {ADAPTER_WEIGHTS} nor its base model '{base}' has {few(absent)}")
    own = any((folder / file).is_file() for file in PROCESSORS)
    processor = open_processor(name, folder if own else base_folder, model, HEADS[kind].reads)
    make_room(processor, wrapped)
    # An adapter around a model answers to everything that whet asks of a model.
    return Loaded(cast(PreTrainedModel, wrapped), processor, name, "folder", ())


def _base_model(adapter: Path, base: str, revision: str | None) -> tuple[str, Path]:
    """Name and folder of an adapter's base model, which may have been saved on another computer."""
    embedded = embedded_text_model()
    if Path(base).parts[-2:] == (EMBEDDED_PACKAGE, "model") and embedded is not None:
        return EMBEDDED, embedded
    try:
        name, folder, _ = locate(base, revision)
    except ModelError as error:
        raise ModelError(
            f"model '{adapter}' is an adapter and its base model is gone: {error}; put the base model back, or name "
            f"where it is now as 'base_model_name_or_path' in {adapter / ADAPTER_CONFIG}"
        ) from error
    return name, folder

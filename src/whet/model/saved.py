"""Opens a model that a run saved: in the layout of transformers, or an adapter on its base model."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from whet.core import Loaded
from whet.errors import ModelError
from whet.model.files import ADAPTER_CONFIG, model_problems
from whet.model.heads import HEADS, Kind
from whet.model.layered import open_layered, says_layered
from whet.model.load import few, read
from whet.model.locate import opening, refuse
from whet.model.processors import open_processor


def open_saved(folder: Path, *, targets: int, kind: Kind = "SequenceClassification") -> Loaded:
    """A model that a run saved: in the layout of transformers, or a peft adapter that names its base model.

    ``targets`` is the width C of its output, which an adapter does not tell; a language model's is that of its
    vocabulary. Nothing in it is random. Raises ModelError where it is damaged, has another width, or its base model is
    gone.
    """
    name = str(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        # Peft takes a second and 140 MB, with bitsandbytes beside it.
        from whet.model.adapter_folder import open_adapter  # noqa: PLC0415

        return open_adapter(folder, targets, kind)
    refuse(name, model_problems(folder, kind, saved=True))
    if says_layered(folder):
        with opening(name):
            model = open_layered(folder, kind)
        _check_width(name, model.config, targets, kind)
    else:
        with opening(name):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _check_width(name, config, targets, kind)
        model, unfilled = read(name, folder, config, kind)
        if unfilled:
            raise ModelError(f"model '{name}': its weights lack {few(unfilled)}; copy the folder anew")
    return Loaded(model, open_processor(name, folder, model, HEADS[kind].reads), name, "folder", ())


def _check_width(name: str, config: PreTrainedConfig, targets: int, kind: Kind) -> None:
    if HEADS[kind].has_labels and config.num_labels != targets:
        found = f"answers with {config.num_labels} numbers, its recipe with {targets}"
        raise ModelError(f"model '{name}' {found}; copy the whole run folder anew")

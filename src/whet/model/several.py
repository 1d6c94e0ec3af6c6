"""Several adapters on one base model: added to the one that is open, and combined into a new one.

A combination is made from the files alone. The updates of LoRA are added exactly: A is stacked on A and B beside B, so
the rank is the sum of the ranks. Vectors and bottlenecks are averaged, and so is what was saved in full.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whet.core import Processor
from whet.errors import ModelError
from whet.model.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_problems, read_adapter_config
from whet.model.locate import opening, refuse

_ALIKE = ("peft_type", "base_model_name_or_path", "target_modules", "modules_to_save", "num_virtual_tokens")
"""What adapters must have in common to be combined."""


def add_adapter(model: Any, folder: Path, name: str, processor: Processor) -> Processor:
    """Put the adapter of a folder beside that of an open model, and return what reads its input.

    Their heads may have different widths. ``processor`` is that of the open model. Raises ModelError where the adapter
    is damaged, or is of another kind or another base model.
    """
    refuse(str(folder), adapter_problems(folder))
    told = read_adapter_config(folder)
    first = model.peft_config["default"]
    if told["base_model_name_or_path"] != first.base_model_name_or_path:
        raise ModelError(
            f"model '{folder}' is an adapter for {told['base_model_name_or_path']}, the open one is for "
            f"{first.base_model_name_or_path}; open the two apart"
        )
    if told["peft_type"] != first.peft_type:
        raise ModelError(
            f"model '{folder}' is an adapter of kind {told['peft_type']}, the open one of {first.peft_type.value}; "
            "adapters on one base have to be of one kind"
        )
    with opening(str(folder)):
        model.add_adapter(name, PeftConfig.from_pretrained(str(folder)))
        _fit_heads(model, name, load_file(folder / ADAPTER_WEIGHTS))
        model.load_adapter(str(folder), name, torch_device="cpu")
        return type(processor).from_pretrained(str(folder))


def combine(folders: Sequence[Path], weights: Sequence[float], out: Path) -> None:
    """Write the weighted sum of adapters as a new one; ``refuse_strangers`` has let them pass."""
    configs = [read_adapter_config(folder) for folder in folders]
    tensors = [load_file(folder / ADAPTER_WEIGHTS) for folder in folders]
    config, lora = dict(configs[0]), configs[0]["peft_type"] == "LORA"
    scales = [_scale(told) for told in configs] if lora else [1.0] * len(configs)
    combined: dict[str, Tensor] = {}
    for name in tensors[0]:
        parts = [held[name] for held in tensors]
        if lora and ".lora_A." in name:
            combined[name] = torch.cat(parts)
        elif lora and ".lora_B." in name:
            scaled = [w * s * part for w, s, part in zip(weights, scales, parts, strict=True)]
            combined[name] = torch.cat(scaled, dim=1)
        else:
            combined[name] = torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)
    if lora:
        rank = sum(told["r"] for told in configs)
        config |= {"r": rank, "lora_alpha": rank, "use_rslora": False}
    shutil.copytree(folders[0], out)
    save_file({name: tensor.contiguous() for name, tensor in combined.items()}, out / ADAPTER_WEIGHTS)
    (out / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _scale(told: Mapping[str, Any]) -> float:
    """What an update of LoRA is multiplied by."""
    return float(told["lora_alpha"]) / (sqrt(told["r"]) if told.get("use_rslora") else float(told["r"]))


def refuse_strangers(folders: Sequence[Path]) -> None:
    """Raise ModelError where adapters differ in more than what they learned, or cannot be added."""
    for folder in folders:
        refuse(str(folder), adapter_problems(folder))
    configs = [read_adapter_config(folder) for folder in folders]
    tensors = [load_file(folder / ADAPTER_WEIGHTS) for folder in folders]
    problems = []
    for folder, told, held in zip(folders[1:], configs[1:], tensors[1:], strict=True):
        other = [key for key in _ALIKE if _plain(told.get(key)) != _plain(configs[0].get(key))]
        shapes = [
            name
            for name in held.keys() | tensors[0].keys()
            if ".lora_" not in name and _shape(held, name) != _shape(tensors[0], name)
        ]
        if other or shapes or held.keys() != tensors[0].keys():
            what = (
                f"in {', '.join(other)}"
                if other
                else f"in the shape of '{sorted(shapes)[0]}'"
                if shapes
                else "in layers"
            )
            problems.append(f"{folder} and {folders[0]} differ {what}, so they cannot be combined; predict with each")
    if any(told.get("use_dora") or told.get("rank_pattern") for told in configs):
        problems.append("adapters whose updates are decomposed or of several ranks (DoRA) cannot be added; merge them")
    if problems:
        raise ModelError(*problems)


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


def _shape(held: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(held[name].shape) if name in held else None


def _fit_heads(model: PeftModel, name: str, held: Mapping[str, Tensor]) -> None:
    """Give the copies of the head that an adapter brings the width that it has in its file."""
    for place, module in list(model.named_modules()):
        if not isinstance(module, ModulesToSaveWrapper) or name not in module.modules_to_save:
            continue
        copy = module.modules_to_save[name]
        for inner, layer in list(copy.named_modules()):
            weight = held.get(".".join(part for part in (place, inner, "weight") if part))
            if isinstance(layer, nn.Linear) and weight is not None and weight.shape != layer.weight.shape:
                wider = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None)
                if inner:
                    parent, _, child = inner.rpartition(".")
                    copy.get_submodule(parent).register_module(child, wider)
                else:
                    module.modules_to_save[name] = wider

"""Are these the files of a model that can be opened, safely? Looked at before a weight is read.

Only safetensors files are weights here: a pickled one may run code when it is opened. Everything wrong with a folder
is found at once. This module knows file names and formats, no architecture and no task.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING

from whet.core import Quantisation
from whet.errors import did_you_mean
from whet.model.heads import HEADS, Kind
from whet.model.log_mel import FRONTEND

PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
"""Holds the same beside models that were saved lately, and read and write."""
PROCESSORS = ("tokenizer_config.json", PREPROCESSOR, FRONTEND)
"""Files of which one lies beside a model that brings what reads its input."""
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
QUANTISATION = "quantization_config.json"
"""Beside an adapter: what transformers' BitsAndBytesConfig has to be told to quantise its base model likewise."""
LAYERED = "whet-layered"
"""The model type of a folder whose head has layers of its own, which transformers therefore refuses."""
LAYERED_FROM = "whet_base_type"
"""Where its config says the type that it has."""

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_LFS_POINTER = b"version https://git-lfs"
_CONVERT = (
    'python -c "from transformers import AutoModel; '
    "AutoModel.from_pretrained('{folder}', use_safetensors=False).save_pretrained('{folder}')\""
)


def model_problems(folder: Path, kind: Kind = "SequenceClassification", *, saved: bool = False) -> list[str]:
    """All reasons why a folder cannot be opened as a model of this kind with its tokenizer; empty where it can.

    What a run has ``saved`` may have a head that no class of transformers holds.
    """
    if not folder.is_dir():
        return ["it is a file; name the folder that holds it" if folder.exists() else "there is no such folder"]
    return [*_config_problems(folder, kind, saved), *_weight_problems(folder), *_processor_problems(folder, kind)]


def adapter_problems(folder: Path) -> list[str]:
    """All reasons why a folder cannot be opened as a peft adapter; empty where it can."""
    problems: list[str] = []
    config = _read_json(folder / ADAPTER_CONFIG, problems)
    if config is not None and not isinstance(config.get("base_model_name_or_path"), str):
        problems.append(f"{ADAPTER_CONFIG} does not name its base model; add 'base_model_name_or_path'")
    if (folder / QUANTISATION).exists():
        told = _read_json(folder / QUANTISATION, problems)
        if told is not None and told.get("bnb_4bit_quant_type") not in ("nf4", "fp4"):
            problems.append(f"{QUANTISATION} does not say 'bnb_4bit_quant_type' nf4 or fp4; copy the folder anew")
    weights = folder / ADAPTER_WEIGHTS
    if weights.is_file():
        problems += _damage(weights)
    else:
        problems.append(f"it has no {ADAPTER_WEIGHTS}{_pickles(folder)}")
    return problems


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The checked config of an adapter."""
    config: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return config


def read_quantisation(folder: Path) -> Quantisation | None:
    """How the base model of a checked adapter was quantised; None where it was not."""
    if not (folder / QUANTISATION).is_file():
        return None
    told: dict[str, Any] = json.loads((folder / QUANTISATION).read_text(encoding="utf-8"))
    return Quantisation(told["bnb_4bit_quant_type"], bool(told.get("bnb_4bit_use_double_quant")))


def precisions(folder: Path) -> set[str]:
    """The kinds of floating-point numbers in the weights of a checked model, as safetensors calls them."""
    found: set[str] = set()
    for file in _weight_files(folder):
        with safe_open(folder / file, framework="pt") as opened:
            found |= {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    return {kind for kind in found if "F" in kind}


def tensor_names(weights: Path) -> set[str]:
    """Names of the tensors in a checked safetensors file."""
    with safe_open(weights, framework="pt") as opened:
        return set(opened.keys())


def all_tensor_names(folder: Path) -> set[str]:
    """Names of the tensors in all weights of a checked model; no weight is read."""
    return set().union(*(tensor_names(folder / file) for file in _weight_files(folder)))


def _weight_files(folder: Path) -> set[str]:
    if (folder / WEIGHTS).is_file():
        return {WEIGHTS}
    return set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())


def _config_problems(folder: Path, kind: Kind, saved: bool) -> list[str]:
    problems: list[str] = []
    if not (folder / CONFIG).exists() and (folder / ADAPTER_CONFIG).exists():
        return ["it is an adapter, no model; name its base model, or merge the two: whet export --merge"]
    config = _read_json(folder / CONFIG, problems)
    if config is None:
        return problems
    family = config.get("model_type")
    if family == LAYERED:
        if not saved:
            return ["its head has layers of its own (surgery.head), so only its run opens it; name the model before it"]
        family = config.get(LAYERED_FROM)
    if family is None:
        return [f"{CONFIG} says no 'model_type', so nobody can tell what to build; take it from the model's source"]
    if family not in CONFIG_MAPPING:
        if "auto_map" in config:
            return [f"model type '{family}' brings its own code, which whet never runs; choose another model"]
        near = did_you_mean(str(family), CONFIG_MAPPING.keys())
        return [f"model type '{family}' in {CONFIG} is unknown to this version of transformers{near}"]
    head = HEADS[kind]
    if family not in head.families and not (kind == "CausalLM" and config.get("is_decoder")):
        return [f"a model of type '{family}' cannot {head.purpose} in transformers; {head.way_out}"]
    return []


def _read_json(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """A JSON object from a file, or None and one more problem."""
    if not path.is_file():
        problems.append(f"it has no {path.name}; fetch it from where the model came from")
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        problems.append(f"{path.name} is not UTF-8 text; fetch it anew")
        return None
    except json.JSONDecodeError as error:
        problems.append(f"{path.name} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}")
        return None
    if not isinstance(content, dict):
        problems.append(f"{path.name} holds no JSON object; fetch it anew")
        return None
    return content


def _weight_problems(folder: Path) -> list[str]:
    """Problems of one weights file, or of all that an index names."""
    if (folder / WEIGHTS).is_file():
        return _damage(folder / WEIGHTS)
    if not (folder / INDEX).is_file():
        other = [f"; {path.name} has to be called so" for path in sorted(folder.glob("*.safetensors"))]
        return [f"it has no {WEIGHTS}{other[0] if len(other) == 1 else _pickles(folder)}"]
    problems: list[str] = []
    index = _read_json(folder / INDEX, problems)
    if index is None:
        return problems
    names = index.get("weight_map")
    if not isinstance(names, dict):
        return [f"{INDEX} has no 'weight_map'; fetch it anew"]
    for shard in sorted(set(map(str, names.values()))):
        path = folder / shard
        if path.parent != folder:
            problems.append(f"{INDEX} names '{shard}', which is outside of the folder")
        else:
            problems += _damage(path) if path.is_file() else [f"{shard} is missing, {INDEX} needs it; fetch it"]
    return problems


def _damage(path: Path) -> list[str]:
    """What is wrong with a safetensors file; its header must be sound and describe every byte of the rest."""
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            return [f"{path.name} is a Git LFS pointer, not the weights; fetch them with: git lfs pull"]
    try:
        with safe_open(path, framework="pt") as opened:
            return [] if opened.keys() else [f"{path.name} holds no tensors; fetch it anew"]
    except SafetensorError as error:
        reason = str(error).rpartition(": ")[2]
        return [f"{path.name} is damaged or cut short ({path.stat().st_size:,} bytes: {reason}); fetch it anew"]


def _pickles(folder: Path) -> str:
    """The tail of a message about absent weights, naming pickled ones where there are some."""
    found = sorted({path.name for pattern in _PICKLED for path in folder.glob(pattern)})
    if not found:
        return "; fetch it, or name another model"
    return (
        f", only {', '.join(found)}: pickled files may run code when opened, so whet never opens them; if you trust "
        f"their source, convert them once: {_CONVERT.format(folder=folder)}"
    )


def _processor_problems(folder: Path, kind: Kind) -> list[str]:
    if HEADS[kind].reads != "texts":
        wanted = FRONTEND if kind == "PatchClassification" else PREPROCESSOR
        if (folder / wanted).is_file() or (kind != "PatchClassification" and (folder / PROCESSOR).is_file()):
            return []
        return [f"it has no {wanted}, which says how {HEADS[kind].reads} becomes numbers; fetch it with the model"]
    if any(True for pattern in _VOCABULARIES for _ in folder.glob(pattern)):
        return []
    return ["it has no tokenizer (tokenizer.json, or vocab.txt); fetch it from where the model came from"]

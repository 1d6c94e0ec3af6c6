"""What a run is at a step boundary, and how it survives: checkpoints.

::

    checkpoints/step-00000120/
        weights.safetensors     what trains, and running statistics
        best.safetensors        the same tensors at the best evaluation so far
        optimizer.safetensors   moments, by parameter name
        random.safetensors      states of the random generators
        state.json              counters, scores, and the size and SHA-256 of every file above

A checkpoint is written under a temporary name, flushed to the disk, renamed and read back; only then the one before
the previous is deleted. Nothing is ever unpickled. This module does not know what the numbers mean.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from whet.core import Mask, Scores
from whet.engine.schedule import PlateauState
from whet.errors import RunFolderError, SaveError

Tensors = dict[str, Tensor]

KEPT = 2
"""Checkpoints that stay on the disk: the newest, and the one before in case the newest is damaged."""


@dataclass
class Progress:
    """Where a run stands, as plain numbers."""

    step: int = 0
    """Optimiser steps done."""
    stage: int = 0
    best_step: int = 0
    best_scores: Scores = field(default_factory=dict)
    """Empty before the first evaluation."""
    stale: int = 0
    """Evaluations since the best one."""
    plateau: PlateauState = field(default_factory=PlateauState)
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run is at a step boundary."""

    progress: Progress
    weights: Tensors
    best: Tensors
    optimizer: Tensors
    random: Tensors


# --- tensors in and out of live objects -------------------------------------------------------------------------


def copy_weights(model: nn.Module, mask: Mask) -> Tensors:
    """Copies, on the CPU, of the parameters in ``mask`` and of all buffers that are part of the model's state."""
    kept = model.state_dict(keep_vars=True)
    names = {name for name, _ in model.named_buffers()}
    return {n: t.detach().cpu().clone().contiguous() for n, t in kept.items() if n in mask or n in names}


def restore_weights(model: nn.Module, weights: Tensors) -> None:
    """Copy ``weights`` back into the model, in place."""
    live = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in weights.items():
            live[name].copy_(tensor)


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> Tensors:
    """The optimiser's tensors as ``name|key``; ``names`` are those of its parameters, in group order."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{name}|{key}": value.detach().cpu().clone()
        for name, parameter in zip(names, parameters, strict=True)
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors) -> None:
    """Give the optimiser the tensors that ``optimizer_state`` took; parameters without any start anew."""
    parameters = dict(zip(names, (p for group in optimizer.param_groups for p in group["params"]), strict=True))
    for label, tensor in tensors.items():
        name, _, key = label.rpartition("|")
        if (parameter := parameters.get(name)) is not None:
            # The count of steps is a single number and stays where the optimiser made it.
            device = parameter.device if tensor.ndim or key == "step" else tensor.device
            optimizer.state[parameter][key] = tensor.to(device)


def random_state() -> Tensors:
    """States of torch's generators on the CPU and on every GPU."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random(states: Tensors) -> None:
    """Set torch's generators to what ``random_state`` took."""
    torch.set_rng_state(states["cpu"])
    for name, state in states.items():
        if name.startswith("cuda") and torch.cuda.is_available():
            torch.cuda.set_rng_state(state, int(name.removeprefix("cuda")))


# --- on the disk ------------------------------------------------------------------------------------------------


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint below ``folder`` and return its path; raises SaveError and leaves the earlier ones intact."""
    final = folder / f"step-{checkpoint.progress.step:08d}"
    if final.exists():
        return final
    temporary = folder / f".{final.name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        files = {}
        for name in ("weights", "best", "optimizer", "random"):
            path = temporary / f"{name}.safetensors"
            save_file(vars(checkpoint)[name], path)
            files[path.name] = _flush(path)
        state = temporary / "state.json"
        state.write_text(json.dumps({"progress": asdict(checkpoint.progress), "files": files}, indent=1))
        _flush(state)
        temporary.rename(final)
        _flush_folder(folder)
        read(final)
    except (OSError, SafetensorError, RunFolderError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise SaveError(
            f"checkpoint {final} could not be written: {error}; earlier checkpoints are intact. "
            "Make room or choose another folder with --out, then go on with 'whet resume'"
        ) from error
    for old in _finished(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def read(path: Path) -> Checkpoint:
    """Read one checkpoint; raises RunFolderError where a file is absent, cut short or changed."""
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text())
        for name, expected in state["files"].items():
            if _digest(path / name) != expected:
                raise RunFolderError(f"{path / name} is damaged: its content is not what was written")
        tensors = {name: load_file(path / f"{name}.safetensors") for name in ("weights", "best", "optimizer", "random")}
        progress = Progress(**{**state["progress"], "plateau": PlateauState(**state["progress"]["plateau"])})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunFolderError(f"checkpoint {path} cannot be read: {error}") from None
    return Checkpoint(progress, **tensors)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with any newer one."""
    complaints: list[str] = []
    for path in reversed(_finished(folder)):
        try:
            return read(path), complaints
        except RunFolderError as error:
            complaints += error.problems
    return None, complaints


def size(weights: Tensors, moments: int) -> int:
    """Bytes that one checkpoint will take: the weights, their best copy, and ``moments`` numbers for each."""
    return sum(tensor.nbytes for tensor in weights.values()) * (2 + moments)


def _finished(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _digest(path: Path) -> Mapping[str, object]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _flush(path: Path) -> Mapping[str, object]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return _digest(path)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

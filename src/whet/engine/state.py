"""What a run is at a step boundary, and how it survives: checkpoints.

::

    checkpoints/step-00000120/
        weights.safetensors     what trains, and running statistics
        best.safetensors        the same tensors at the best evaluation so far
        optimizer.safetensors   moments, by parameter name
        random.safetensors      states of the random generators
        average.safetensors     the mean of the last weights
        state.json              counters and scores
        SHA256SUMS              digests of all of these, as ``sha256sum --check`` reads them

A checkpoint is written under a temporary name, flushed to the disk, read back and compared with what should be there,
and renamed; only then the one before the previous is deleted. So the process can be killed at any moment: what bears
the name of a checkpoint is whole, and there is one as soon as the first was written. Nothing is ever unpickled. This
module does not know what the numbers mean.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
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

_TENSORS = ("weights", "best", "optimizer", "random", "average")
_STATE = "state.json"
_DIGESTS = "SHA256SUMS"
_LENGTH = 8
"""Bytes at the start of a safetensors file that say how long its header is."""
_PIECE = 2**24
"""Bytes of a file that are compared at a time."""
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What safetensors calls the kinds of numbers that weights, buffers, moments and random states have."""


@dataclass
class Progress:
    """Where a run stands, as plain numbers."""

    step: int = 0
    """Optimiser steps done."""
    best_step: int = 0
    best_scores: Scores = field(default_factory=dict)
    """Empty before the first evaluation."""
    stale: int = 0
    """Evaluations since the best one."""
    plateau: PlateauState = field(default_factory=PlateauState)


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run is at a step boundary."""

    progress: Progress
    weights: Tensors
    best: Tensors
    optimizer: Tensors
    """Moments of all parameters that trained so far, those of earlier stages included."""
    random: Tensors
    average: Tensors = field(default_factory=dict)
    """The mean of the last weights; empty before the first of them, and where none is taken."""


# --- tensors in and out of live objects -------------------------------------------------------------------------


def copy_weights(model: nn.Module, mask: Mask) -> Tensors:
    """Copies, on the CPU, of the parameters in ``mask`` and of all buffers that are part of the model's state."""
    return {name: _copy(tensor) for name, tensor in _live(model, mask).items()}


def live_weights(model: nn.Module, mask: Mask) -> Tensors:
    """The same tensors as they are now, for a checkpoint that is written at once: no memory is taken on a CPU."""
    return {name: _packed(tensor) for name, tensor in _live(model, mask).items()}


def restore_weights(model: nn.Module, mask: Mask, weights: Tensors) -> None:
    """Copy what ``copy_weights`` took back into the model, in place.

    Raises RunFolderError, and changes nothing, where the weights are those of another model or another mask.
    """
    live = _live(model, mask)
    unlike = [name for name in weights.keys() | live.keys() if _shape(weights, name) != _shape(live, name)]
    if unlike:
        name = min(unlike)
        raise RunFolderError(
            f"the checkpoint is not of this model and method: '{name}' is {_shape(weights, name)} there and "
            f"{_shape(live, name)} here ({len(unlike)} tensors differ). Bring recipe and model back as they were, or "
            "begin anew with 'whet train'"
        )
    with torch.no_grad():
        for name, tensor in weights.items():
            live[name].copy_(tensor)


def _live(model: nn.Module, mask: Mask) -> Tensors:
    # What a method keeps from training in part is one tensor in the model's state, and two parameters.
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in mask}
    buffers = {name for name, _ in model.named_buffers()}
    return parameters | {n: t for n, t in model.state_dict(keep_vars=True).items() if n in buffers}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _packed(tensor: Tensor) -> Tensor:
    # safetensors takes packed tensors only.
    return tensor.detach().to("cpu").contiguous()


def _shape(tensors: Tensors, name: str) -> str:
    return f"of shape {tuple(tensors[name].shape)}" if name in tensors else "absent"


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> Tensors:
    """The optimiser's tensors as ``name|key``, live on a CPU; ``names`` are those of its parameters, in group order."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{name}|{key}": _packed(value)
        for name, parameter in zip(names, parameters, strict=True)
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors) -> Tensors:
    """Give the optimiser copies of what ``optimizer_state`` took, and return the tensors of parameters that it lacks.

    Parameters without any start anew.
    """
    parameters = dict(zip(names, (p for group in optimizer.param_groups for p in group["params"]), strict=True))
    unused: Tensors = {}
    for label, tensor in tensors.items():
        name, _, key = label.rpartition("|")
        parameter = parameters.get(name)
        if parameter is None:
            unused[label] = tensor
            continue
        # Fused kernels walk through a weight and its moments side by side, so both need the same strides and device.
        shaped = parameter if tensor.shape == parameter.shape else tensor
        own = torch.empty_like(shaped, dtype=tensor.dtype, device=parameter.device, requires_grad=False)
        optimizer.state[parameter][key] = own.copy_(tensor)
    return unused


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
        # The machine that goes on may have fewer GPUs than the one that began.
        if name != "cpu" and int(name.removeprefix("cuda")) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(name.removeprefix("cuda")))


def join_random(states: Sequence[Tensors]) -> Tensors:
    """The random states of several processes as one; those of the first keep their names."""
    return {f"{rank}.{name}" if rank else name: t for rank, own in enumerate(states) for name, t in own.items()}


def random_of(states: Tensors, rank: int) -> Tensors:
    """Those of one process out of ``join_random``; empty where fewer were joined."""
    named = [(name.rpartition("."), tensor) for name, tensor in states.items()]
    return {name: tensor for (owner, _, name), tensor in named if owner == (str(rank) if rank else "")}


# --- on the disk ------------------------------------------------------------------------------------------------


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint below ``folder`` and return its path; raises SaveError and leaves the earlier ones intact.

    A checkpoint of the same step or of a later one is replaced: it is damaged, or of a course that was given up.
    """
    step = checkpoint.progress.step
    final = folder / f"step-{step:08d}"
    temporary = _hidden(final)
    try:
        # A process that was killed may have left some behind.
        _sweep(folder)
        _make(folder)
        temporary.mkdir()
        _fill(temporary, checkpoint)
        if final.is_dir():
            final.rename(_hidden(final.with_name(f"{final.name}.old")))
        temporary.rename(final)
        _flush(folder)
    except (OSError, SafetensorError, RunFolderError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise SaveError(
            f"checkpoint {final} could not be written: {error}; earlier checkpoints are intact. "
            "Make room on the disk, or make the folder writable, then go on with 'whet resume'"
        ) from error
    _prune(folder, step)
    return final


def read(path: Path) -> Checkpoint:
    """Read one checkpoint; raises RunFolderError where a file is absent, cut short or changed.

    Its tensors are mapped from the files, so they cost no memory until they are used.
    """
    try:
        lines = (path / _DIGESTS).read_text(encoding="utf-8", errors="replace").splitlines()
        expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        for name in (*(f"{name}.safetensors" for name in _TENSORS), _STATE):
            if _digest(path / name) != expected.get(name):
                raise RunFolderError(f"{path / name} is damaged: its content is not what {_DIGESTS} says")
        plain: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
        progress = Progress(**{**plain, "plateau": PlateauState(**plain["plateau"])})
        return Checkpoint(progress, **{name: load_file(path / f"{name}.safetensors") for name in _TENSORS})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunFolderError(f"checkpoint {path} cannot be read: {error}") from None


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with any newer one."""
    complaints: list[str] = []
    for _, path in reversed(_finished(folder)):
        try:
            return read(path), complaints
        except RunFolderError as error:
            complaints += error.problems
    return None, complaints


def _fill(folder: Path, checkpoint: Checkpoint) -> None:
    """Write and flush the files of a checkpoint; raises RunFolderError where they do not hold it afterwards."""
    for name in _TENSORS:
        save_file(vars(checkpoint)[name], folder / f"{name}.safetensors")
    state = json.dumps(asdict(checkpoint.progress), indent=1)
    (folder / _STATE).write_text(state, encoding="utf-8")
    digests = "".join(f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / _DIGESTS).write_text(digests, encoding="utf-8")
    for path in folder.iterdir():
        _flush(path)
    _flush(folder)
    # The digests vouch for what was on the disk when they were taken, be it right or wrong. Comparing with the memory
    # tells, and is several times faster than taking them once more.
    wrong = [f"{name}.safetensors" for name in _TENSORS if not _holds(folder, name, vars(checkpoint)[name])]
    texts = {_STATE: state, _DIGESTS: digests}
    wrong += [name for name, text in texts.items() if (folder / name).read_bytes() != text.encode()]
    if wrong:
        raise RunFolderError(f"{folder / wrong[0]} is damaged: the disk returns something else than was written")


def _holds(folder: Path, name: str, tensors: Tensors) -> bool:
    """Whether a file holds these tensors, bit for bit; reads it piece by piece, as mapping all of it takes memory."""
    with (folder / f"{name}.safetensors").open("rb") as file:
        try:
            length = int.from_bytes(file.read(_LENGTH), "little")
            entries = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            if entries.keys() != tensors.keys():
                return False
            for key, entry in entries.items():
                file.seek(_LENGTH + length + entry["data_offsets"][0])
                tensor, told = tensors[key], (entry["dtype"], entry["shape"])
                if told != (_NAMES[tensor.dtype], list(tensor.shape)) or not _same_bytes(file, tensor):
                    return False
        except (ValueError, KeyError, TypeError, MemoryError):
            return False
    return True


def _same_bytes(file: BinaryIO, tensor: Tensor) -> bool:
    mine = tensor.detach().reshape(-1).view(torch.uint8).numpy()
    pieces = (mine[start : start + _PIECE] for start in range(0, len(mine), _PIECE))
    return all(np.array_equal(np.frombuffer(file.read(len(piece)), np.uint8), piece) for piece in pieces)


def _make(folder: Path) -> None:
    """Make a folder and those above it, and flush the list of names in which each stands."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir()
        _flush(folder.parent)


def _prune(folder: Path, step: int) -> None:
    """Delete all checkpoints but the newest up to ``step``; what cannot be deleted now is left for the next time."""
    finished = _finished(folder)
    kept = [path for number, path in finished if number <= step][-KEPT:]
    for _, path in finished:
        if path not in kept:
            with contextlib.suppress(OSError):
                # Under another name first: what is half deleted must not look like a checkpoint.
                path.rename(_hidden(path))
    _sweep(folder)


def _sweep(folder: Path) -> None:
    """Delete what was to become a checkpoint, and what was one."""
    for left in folder.glob(_hidden(folder / "step-*").name):
        shutil.rmtree(left, ignore_errors=True)


def _finished(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of every checkpoint, the oldest first."""
    named = ((path.name.removeprefix("step-"), path) for path in folder.glob("step-*") if path.is_dir())
    return sorted((int(number), path) for number, path in named if number.isdecimal())


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

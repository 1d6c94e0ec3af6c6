"""Where a run computes. accelerate lives here and nowhere else."""

import resource
import sys

import torch
from accelerate import PartialState

from whet.errors import RecipeError


def choose_device() -> torch.device:
    """The accelerator of this process, or the CPU; raises RecipeError when several processes were started."""
    state = PartialState()
    if state.num_processes > 1:
        raise RecipeError(
            f"{state.num_processes} processes were started, whet trains in one; start it without torchrun or mpirun"
        )
    device: torch.device = state.device
    return device


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point so far: of the device's allocator on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

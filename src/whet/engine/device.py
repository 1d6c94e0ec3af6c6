"""Where a run computes. accelerate lives here and nowhere else."""

import ctypes
import platform
import resource
import sys

import torch
from accelerate import PartialState

from whet.errors import RecipeError

# Numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def choose_device() -> torch.device:
    """The accelerator of this process, or the CPU; raises RecipeError when several processes were started."""
    state = PartialState()
    if state.num_processes > 1:
        raise RecipeError(
            f"{state.num_processes} processes were started, whet trains in one; start it without torchrun or mpirun"
        )
    device: torch.device = state.device
    return device


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, for the next step.

    A step allocates and frees the same large tensors each time. By default the C library of Linux gives them back to
    the kernel, which hands them out again page by page, cleared: up to a third of a step. Other systems do otherwise.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 2**30)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point so far: of the device's allocator on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

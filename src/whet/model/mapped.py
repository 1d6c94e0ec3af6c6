"""Weights that are mapped from their file: they cost memory only while they are read.

Opening a safetensors file maps it. The kernel reads a page of it when it is first touched, and keeps the page until
something else needs the room; meanwhile it counts as memory of the process. This module knows no model.
"""

import ctypes
import mmap
import sys
from pathlib import Path

from torch import Tensor

# Number of Linux's mman.h.
_DONT_NEED = 4


def give_back(tensor: Tensor) -> None:
    """Give the memory of a mapped tensor back to the kernel, which reads the file again should it be needed.

    What was written to the tensor is lost. Nothing happens to a tensor that lies in no mapped file, and on systems
    other than Linux.
    """
    if sys.platform != "linux":
        return
    begin, length = tensor.data_ptr(), tensor.untyped_storage().nbytes()
    if not _in_a_file(begin, begin + length):
        return
    # Whole pages only: those at the edges hold a part of other tensors.
    first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, (begin + length) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONT_NEED)


def _in_a_file(begin: int, end: int) -> bool:
    """Whether one mapped file holds all of these addresses."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        low, high = (int(address, 16) for address in addresses.split("-"))
        if low <= begin and end <= high:
            return inode != "0"
    return False

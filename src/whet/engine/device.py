"""Where a run computes, and in how many processes.

torch.distributed lives here and nowhere else, accelerate here and in ``track``.
"""

import ctypes
import os
import platform
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from whet.errors import RecipeError, RunError, WhetError

T = TypeVar("T")

# Numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

_BUCKET = 2**24
"""Numbers that are summed at a time: 64 MiB beside the gradients."""

_PATIENCE = timedelta(days=1)
"""The others wait while one measures and saves; where one dies, its launcher ends them all."""

_CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells a process in a container how much memory it may take."""

_FAREWELL = 5.0
"""Seconds for which a process waits for the others at its end."""


@dataclass(frozen=True)
class Processes:
    """The processes that train one run together, seen from one of them. A single one never communicates.

    All of them call the same methods in the same order. Each raises RunError where the others cannot be reached.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of some rows; there may be none."""
        return rows if self.count == 1 else np.array_split(rows, self.count)[self.rank]

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over the processes."""
        bucket: list[Tensor] = []
        for number, tensor in enumerate(tensors if self.count > 1 else (), 1):
            bucket.append(tensor)
            if number < len(tensors) and sum(t.numel() for t in bucket) < _BUCKET:
                continue
            flat = torch.cat([t.reshape(-1) for t in bucket])
            with self._reached():
                dist.all_reduce(flat)
            for whole, part in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                whole.copy_(part.view(whole.shape))
            bucket = []

    def sum_sparse(self, tensor: Tensor) -> Tensor:
        """The sum of a sparse tensor on the CPU, coalesced."""
        if self.count == 1:
            return tensor
        summed = tensor.coalesce()
        with self._reached():
            dist.all_reduce(summed)
        return summed.coalesce()

    def total(self, *numbers: float) -> list[float]:
        """Sums of plain numbers."""
        if self.count == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        with self._reached():
            dist.all_reduce(sums)
        return [float(number) for number in sums]

    def highest(self, numbers: Sequence[int]) -> list[int]:
        """The highest of each whole number."""
        if self.count == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        with self._reached():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return [int(number) for number in found]

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        return bool(self.highest([int(wish)])[0])

    def gather(self, value: T) -> list[T]:
        """The value of every process, in their order."""
        if self.count == 1:
            return [value]
        values = [value] * self.count
        with self._reached():
            dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """The main process's value."""
        if self.count == 1:
            return value
        values = [value]
        with self._reached():
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` returns here; where it raises a WhetError anywhere, the first one is raised everywhere."""
        if self.count == 1:
            return work()
        result, error = _tried(work)
        for raised in self.gather(error):
            if raised is not None:
                raise raised
        return result[0]

    def on_main(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, or the WhetError that it raises, in the main process, which alone does it."""
        if self.count == 1:
            return work()
        result, error = self.broadcast(_tried(work) if self.is_main else ([], None))
        if error is not None:
            raise error
        return result[0]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # Without the place in the library's source before it, and its advice behind it.
            reason = re.sub(r"^\[[^]]*\]\s*", "", str(error)).partition("\n")[0].partition(". ")[0]
            raise RunError(
                f"process {self.rank} of {self.count} cannot reach the others any more ({reason}); one of them has "
                "ended or its network has failed. What was saved is intact: go on with 'whet resume'"
            ) from error


ALONE = Processes()


def _tried(work: Callable[[], T]) -> tuple[list[T], WhetError | None]:
    try:
        return [work()], None
    except WhetError as error:
        return [], error


@cache
def join() -> Processes:
    """All processes that torchrun started; this one alone where it was started by itself.

    Raises RecipeError where several were started by something that does not tell how they meet.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    try:
        store, rank, count = _meeting()
    except ValueError as error:
        raise RecipeError(f"WORLD_SIZE tells of several processes, but {error}; start them with torchrun") from None
    own = dist.PrefixStore("whet", store)  # type: ignore[attr-defined]
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backends, store=own, rank=rank, world_size=count, timeout=_PATIENCE)
    return Processes(rank, count)


@cache
def _meeting() -> tuple[Any, int, int]:
    """The store that all processes reach, this one's rank, and how many they are."""
    store, rank, count = next(rendezvous("env://"))
    return store, rank, count


def leave() -> None:
    """Wait a moment until all processes have come to their end, and have said what there was to say.

    A launcher ends all others once the first has failed; from here on that is not heard any more.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deadline = time.monotonic() + _FAREWELL
    # Where the launcher itself has gone there is nobody to wait for.
    with suppress(RuntimeError):
        store, _, count = _meeting()
        store.add("whet/ended", 1)
        while (ended := store.add("whet/ended", 0)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        if ended >= count and dist.is_initialized():
            dist.destroy_process_group()


def choose_device() -> torch.device:
    """The accelerator of this process, or the CPU; raises RecipeError where the processes have no device each."""
    processes = join()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes.count))
    if processes.count > 1 and torch.cuda.is_available() and here > (gpus := torch.cuda.device_count()):
        raise RecipeError(f"{here} processes were started for {gpus} GPUs; start one for each: --nproc-per-node {gpus}")
    device: torch.device = PartialState().device
    if processes.count > 1 and device.type not in ("cpu", "cuda"):
        raise RecipeError(f"{processes.count} processes cannot share '{device.type}'; start whet without torchrun")
    return device


def tokens_at_once(device: torch.device) -> int:
    """Padded tokens of a batch without gradients: on a CPU more are no faster, and take more memory."""
    return 1024 if device.type == "cpu" else 16384


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, for the next step.

    A step allocates and frees the same large tensors each time. By default the C library of Linux gives them back to
    the kernel, which hands them out again page by page, cleared: up to a third of a step. Other systems do otherwise.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 2**30)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def let_go(model: nn.Module) -> None:
    """Give back the memory of a model that nobody asks any more; its shapes stay."""
    nn.Module.to(model, "meta")
    return_freed_memory()


def return_freed_memory() -> None:
    """Give back to the kernel what ``keep_freed_memory`` has kept."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def limit_kernel_caches() -> None:
    """Let oneDNN keep few compiled kernels; call it before the first product of matrices.

    It keeps a thousand of them, and torch keeps as many by itself, one for each shape of each product: 400 MB after
    one epoch over texts of forty lengths, where these few are as fast. What the user has set holds.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")


def whole_memory(device: torch.device) -> int:
    """Bytes of the device on a GPU, of the machine on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def free_memory(device: torch.device) -> int:
    """Bytes that a run could take here: of the GPU, or of the machine within the limit of its container."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    room = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        limit, used = (int((_CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        room = min(room, limit - used)
    return room


def present_memory() -> int:
    """Bytes that this process holds in the machine's memory now."""
    return int(psutil.Process().memory_info().rss)


@contextmanager
def highest_memory() -> Iterator[Callable[[], int]]:
    """What it yields tells the most bytes that this process held meanwhile.

    Where the system keeps one highest point for the whole life of a process, it is that one.
    """
    forget, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    with suppress(OSError):
        forget.write_text("5")

    def highest() -> int:
        with suppress(OSError, StopIteration):
            line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        return peak_memory(torch.device("cpu"))

    yield highest


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point so far: of the device's allocator on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free_share(device: torch.device) -> float:
    """Share of the device's memory that is free; of the machine's on a CPU."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return float(free / total)
    memory = psutil.virtual_memory()
    return float(memory.available / memory.total)


def used_memory(device: torch.device) -> int:
    """Bytes in use now: of the device's allocator on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def forget_peak(device: torch.device) -> None:
    """Let ``peak_memory`` begin anew, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        # Linux alone knows this, and refuses it to some containers.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

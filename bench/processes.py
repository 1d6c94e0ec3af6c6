"""Runs each contender in a process of its own, measures it from outside, and keeps a journal of what was measured."""

import ctypes
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IN_OPEN = 0x20
"""The kernel's number for "somebody opened this file"."""
TAIL = 2000
"""Characters of a failed process's complaints that are shown."""


@dataclass(frozen=True)
class Ended:
    """A process that ended well."""

    output: str
    """What it wrote to its standard output."""
    seconds: float
    """From its start to its end."""
    cpu_seconds: float
    """Of the processor, all threads together; other processes of the machine hardly change it."""
    peak_bytes: int
    """Largest resident size that the kernel saw."""
    opened: float
    """When it first opened the watched file, in seconds since the epoch; 0 where none was watched."""


def run(command: list[str], scratch: Path, *, threads: int | None, watched: Path | None = None) -> Ended:
    """Run a Python command line in a fresh process and measure it.

    Its caches and its working directory lie below ``scratch``, so nothing is left from an earlier run. It sees this
    checkout's whet, no accelerator and no network. ``threads`` None leaves the number to the libraries. Raises
    SystemExit with the last of its complaints where it fails.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "output").open("w+b") as output, (scratch / "complaints").open("w+b") as complaints:
        with _Watch(watched) as watch:
            started = time.perf_counter()
            child = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
                cwd=scratch,
                env=_environment(scratch, threads),
            )
            try:
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                child.kill()
                child.wait()
                raise
            seconds = time.perf_counter() - started
        # The process is gone, so Popen must not wait for it again.
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        complaints.seek(0)
        if child.returncode != 0:
            said = complaints.read().decode(errors="replace")[-TAIL:]
            raise SystemExit(f"{' '.join(command)}\nended with {child.returncode}:\n{said}")
        cpu_seconds = usage.ru_utime + usage.ru_stime
        return Ended(output.read().decode(), seconds, cpu_seconds, usage.ru_maxrss * 1024, watch.opened)


def _environment(scratch: Path, threads: int | None) -> dict[str, str]:
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in {*counts, "PYTHONPATH"}}
    kept |= {name: str(threads) for name in counts if threads is not None}
    return kept | {
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HOME": str(scratch / "caches"),
        "XDG_CACHE_HOME": str(scratch / "caches"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false" if threads == 1 else "true",
    }


class _Watch:
    """Notes when a file is first opened by anybody (inotify, so Linux only)."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.opened = 0.0

    def __enter__(self) -> "_Watch":
        if self.path is None:
            return self
        if not sys.platform.startswith("linux"):
            raise SystemExit("the speed benchmark needs Linux: it learns from the kernel when a run begins to work")
        self._kernel = ctypes.CDLL(None, use_errno=True)
        self._queue = self._kernel.inotify_init1(os.O_CLOEXEC)
        self._number = self._kernel.inotify_add_watch(self._queue, os.fsencode(self.path), IN_OPEN)
        if self._queue < 0 or self._number < 0:
            raise OSError(ctypes.get_errno(), f"{self.path} cannot be watched")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def _listen(self) -> None:
        while True:
            event = os.read(self._queue, 4096)
            _, what = struct.unpack_from("iI", event)
            if what != IN_OPEN:
                # The watch was taken away.
                return
            self.opened = self.opened or time.time()

    def __exit__(self, *_: object) -> None:
        if self.path is not None:
            self._kernel.inotify_rm_watch(self._queue, self._number)
            self._thread.join(1.0)
            os.close(self._queue)


class Journal:
    """What was measured, a line each, so that a broken-off benchmark goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                entry = json.loads(line)
                self._known[_key(entry["of"])] = entry["found"]
            except (ValueError, KeyError):
                # The process may have died in the middle of a line.
                continue

    def once(self, of: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What was found for ``of`` before, or else what ``measure`` finds now."""
        key = _key(of)
        if key not in self._known:
            load = os.getloadavg()[0]
            found = {**measure(), "load_before": load}
            with self.path.open("a", encoding="utf-8") as file:
                # A line that was broken off must not swallow this one.
                file.write(f"{'' if self._ends_well() else chr(10)}{json.dumps({'of': of, 'found': found})}\n")
            self._known[key] = found
        return self._known[key]

    def known(self, of: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was found for ``of`` before; None where it was not measured."""
        return self._known.get(_key(of))

    def _ends_well(self) -> bool:
        text = self.path.read_bytes() if self.path.is_file() else b""
        return not text or text.endswith(b"\n")


def _key(of: Mapping[str, Any]) -> str:
    return json.dumps(of, sort_keys=True)

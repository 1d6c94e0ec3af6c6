"""Bytes that a process takes before it has a model: the interpreter, torch, transformers and the rest.

They differ from machine to machine by what is installed, so they are measured once where a plan measures, and kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from whet.planning.known import known, remember

Libraries: TypeAlias = Literal["plain", "adapter", "quantised", "gpu"]
"""Which libraries: those of every run, peft's beside them, bitsandbytes' too; or those of a run on a GPU."""

USUAL: dict[Libraries, int] = {"plain": 580 * 2**20, "adapter": 630 * 2**20, "quantised": 690 * 2**20, "gpu": 2**30}
"""Where nothing was measured: found with torch 2.13, transformers 5 and peft 0.21 on Linux."""
_FILE = "runtime.json"


def libraries(device: str, *, adapter: bool, quantised: bool) -> Libraries:
    """What a run loads."""
    if device != "cpu":
        return "gpu"
    return "quantised" if quantised else "adapter" if adapter else "plain"


def runtime(loaded: Libraries, folder: Path | None) -> int:
    """Bytes, as measured on this machine with these versions, or else as usual."""
    size = known(folder, _FILE).get(loaded)
    return size if isinstance(size, int) and size > 0 else USUAL[loaded]


def keep(loaded: Libraries, size: int, folder: Path) -> None:
    """Remember what was measured."""
    remember(folder, _FILE, loaded, size)

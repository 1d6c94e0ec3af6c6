"""Bytes that a process takes before it has a model: the interpreter, torch, transformers and the rest.

They differ from machine to machine by what is installed, so they are measured once where a plan measures, and kept.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

Load: TypeAlias = Literal["plain", "adapter", "quantised", "gpu"]
"""Which libraries: those of every run, peft's beside them, bitsandbytes' too; or those of a run on a GPU."""

USUAL: dict[Load, int] = {"plain": 580 * 2**20, "adapter": 630 * 2**20, "quantised": 690 * 2**20, "gpu": 2**30}
"""Where nothing was measured: found with torch 2.13, transformers 5 and peft 0.21 on Linux."""
_FILE = "runtime.json"
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "scikit-learn", "pyarrow", "whet")


def load_of(device: str, *, adapter: bool, quantised: bool) -> Load:
    """What a run loads."""
    if device != "cpu":
        return "gpu"
    return "quantised" if quantised else "adapter" if adapter else "plain"


def runtime(load: Load, folder: Path | None) -> int:
    """Bytes, as measured on this machine with these versions, or else as usual."""
    kept = _kept(folder).get(_here(), {})
    size = kept.get(load) if isinstance(kept, dict) else None
    return size if isinstance(size, int) and size > 0 else USUAL[load]


def keep(load: Load, size: int, folder: Path) -> None:
    """Remember what was measured; where the disk refuses, the next plan measures again."""
    kept = _kept(folder)
    mine = kept.get(_here(), {})
    kept[_here()] = {**(mine if isinstance(mine, dict) else {}), load: size}
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{_FILE}.{os.getpid()}.part"
        part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        part.replace(folder / _FILE)


def _kept(folder: Path | None) -> dict[str, object]:
    try:
        kept = json.loads((folder / _FILE).read_text(encoding="utf-8")) if folder is not None else {}
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _here() -> str:
    versions = []
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return f"{platform.node()} {platform.machine()} {', '.join(versions)}"

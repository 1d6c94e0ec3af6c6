"""What was measured of this machine with the libraries that are installed: kept in a file, found again.

Whatever differs from machine to machine is measured where something runs anyway, and the next plan knows it.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "scikit-learn", "pyarrow", "whet")


def known(folder: Path | None, file: str) -> dict[str, object]:
    """What is kept in a file below ``folder`` of this machine; empty where there is nothing, or nothing readable."""
    kept = _all(folder / file).get(_here(), {}) if folder is not None else {}
    return kept if isinstance(kept, dict) else {}


def remember(folder: Path, file: str, name: str, value: object) -> None:
    """Keep a value by its name; where the disk refuses, it is measured again."""
    kept = _all(folder / file)
    kept[_here()] = {**known(folder, file), name: value}
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{file}.{os.getpid()}.part"
        part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        part.replace(folder / file)


def _all(path: Path) -> dict[str, object]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _here() -> str:
    versions = []
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return f"{platform.node()} {platform.machine()} {', '.join(versions)}"

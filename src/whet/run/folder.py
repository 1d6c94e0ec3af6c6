"""The run folder: what a run leaves behind, and the only place that knows its file names.

::

    recipe.yaml           resolved, with the reason of every decision; runs again as it is
    environment.json      versions and machine
    data.json             fingerprints, columns, sizes of the splits
    findings.json         what looked wrong before the run
    augmented.png         a few training pictures as the model sees them, where they are changed at random
    events.jsonl          everything that happened, a line each
    checkpoints/          until the run has finished
    model/                the best weights, in the layout of transformers or peft
    metrics.json          scores, baselines, time, memory
    predictions.parquet   the test rows with their answers
    report.html           the page about all of this
    README.md             model card

A folder is never overwritten.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import yaml

from whet.core import Rows
from whet.errors import RunFolderError, SaveError
from whet.events import Event
from whet.run.lock import Lock

RECIPE = "recipe.yaml"
ENVIRONMENT = "environment.json"
DATA = "data.json"
EVENTS = "events.jsonl"
CHECKPOINTS = "checkpoints"
MODEL = "model"
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
FINDINGS = "findings.json"
REPORT = "report.html"
CARD = "README.md"

PACKAGES = ("whet", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy", "scikit-learn")


class RunFolder:
    """Paths and contents of one run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log: TextIO | None = None
        self._lock = Lock(self.checkpoints, f"the run in {path}")

    @classmethod
    def create(cls, path: Path, needed: int) -> "RunFolder":
        """A new empty run folder; raises RunFolderError where it exists, cannot be written, or ``needed`` bytes do
        not fit."""
        cls.refuse_existing(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be made: {error.strerror}; choose another with --out") from None
        if not os.access(path, os.W_OK):
            raise RunFolderError(f"{path} cannot be written; choose another with --out")
        free = shutil.disk_usage(path).free
        if free < needed:
            with contextlib.suppress(OSError):
                path.rmdir()
            raise RunFolderError(
                f"{path}: the disk has {free / 1e6:,.0f} MB free, this run needs {needed / 1e6:,.0f} MB for its "
                "checkpoints and the model; make room or choose another disk with --out"
            )
        return cls(path)

    @staticmethod
    def refuse_existing(path: Path) -> None:
        """Raise RunFolderError where something is at ``path`` already, but for what a start that was killed left."""
        if path.exists() and not _never_began(path):
            resumable = (path / RECIPE).is_file() and not (path / METRICS).is_file()
            hint = f", or go on with it: whet resume {path}" if resumable else ""
            raise RunFolderError(f"{path} exists and is never overwritten; choose another folder with --out{hint}")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run folder; raises RunFolderError where there is none."""
        if not path.is_dir():
            raise RunFolderError(f"{path} is not a folder; a run folder is what 'whet train' names at its end")
        if not (path / RECIPE).is_file():
            inner = sorted(child.name for child in path.iterdir() if (child / RECIPE).is_file())
            hint = f"; did you mean {path / inner[-1]}?" if inner else ""
            raise RunFolderError(f"{path} is not a run folder: it has no {RECIPE}{hint}")
        return cls(path)

    @property
    def model(self) -> Path:
        """Folder of the best weights."""
        return self.path / MODEL

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; the metrics are written last."""
        return (self.path / METRICS).is_file()

    def recipe(self) -> dict[str, Any]:
        """The resolved recipe as plain values."""
        try:
            values = yaml.safe_load((self.path / RECIPE).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunFolderError(f"{self.path / RECIPE} cannot be read: {error}") from None
        if not isinstance(values, dict):
            raise RunFolderError(f"{self.path / RECIPE} is damaged: it holds no recipe")
        return values

    def read(self, name: str) -> dict[str, Any]:
        """One of the JSON files."""
        try:
            values: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / name} cannot be read: {error}") from None
        return values

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Write one of the JSON files."""
        self.write_text(name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file under a temporary name and rename it, so that it is whole or absent."""
        temporary = self.path / f".{name}.part"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.path / name)
        except OSError as error:
            raise SaveError(f"{self.path / name} could not be written: {error.strerror}") from None

    def append(self, event: Event) -> None:
        """Add an event to the log; it is in the file when this returns."""
        line = {"event": type(event).__name__} | asdict(event)
        try:
            if self._log is None:
                # Line by line: a process that is killed loses none.
                self._log = (self.path / EVENTS).open("a", encoding="utf-8", buffering=1)
            self._log.write(json.dumps(line, default=str) + "\n")
        except OSError as error:
            raise SaveError(f"{self.path / EVENTS} could not be written: {error.strerror}") from None

    def close_log(self) -> None:
        """Let go of the log; the next event opens it again."""
        log, self._log = self._log, None
        if log is not None:
            # What the disk refused was told when it was written.
            with contextlib.suppress(OSError):
                log.close()

    def hold(self) -> None:
        """Keep other processes from working on this run; raises RunFolderError where one does already."""
        self._lock.hold()

    def release(self) -> None:
        """Let other processes work on this run."""
        self._lock.release()

    def rewind(self, step: int) -> None:
        """Drop what the log says about steps after ``step``: a resumed run takes them again."""
        path = self.path / EVENTS
        self.close_log()
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                # The process may have died in the middle of a line.
                continue
        self.write_text(EVENTS, "".join(f"{line}\n" for line in kept))

    def events(self) -> list[dict[str, Any]]:
        """The log as plain values; empty before the run began."""
        path = self.path / EVENTS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    def seconds(self) -> float:
        """Seconds that the steps and evaluations in the log took."""
        return float(sum(event.get("seconds", 0.0) for event in self.events()))


def flush(folder: Path) -> None:
    """Wait until all files of a folder are on the disk; raises SaveError where the disk refuses."""
    try:
        for path in (*folder.rglob("*"), folder, folder.parent):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise SaveError(f"{folder} could not be written: {error.strerror}") from None


def _never_began(path: Path) -> bool:
    """A run folder gets its recipe last: without one, and with nothing else in it, no run has begun there."""
    if not path.is_dir():
        return False
    early = {name for file in (ENVIRONMENT, DATA, FINDINGS) for name in (file, f".{file}.part")} | {f".{RECIPE}.part"}
    names = {entry.name for entry in path.iterdir()}
    return bool(names) and names <= early


def environment() -> dict[str, Any]:
    """Versions and machine, so that a run can be understood later."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "packages": versions,
    }


def fingerprint(rows: Rows) -> str:
    """SHA-256 of the content of all rows, whatever file they came from."""
    digest = hashlib.sha256()
    for name, values in sorted(rows.columns.items()):
        digest.update(json.dumps([name, values], ensure_ascii=False, default=str).encode())
    if rows.content is not None:
        digest.update(json.dumps(list(rows.content)).encode())
    return digest.hexdigest()

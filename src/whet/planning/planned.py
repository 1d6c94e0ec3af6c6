"""What a plan says: one line for each method, as plain values that a table or JSON can show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from whet.planning.fit import Fit
from whet.planning.time import Duration


@dataclass(frozen=True)
class Planned:
    """What a run with one method will need."""

    method: str
    trainable: int
    stored: int
    """Numbers in the artefact that it leaves behind."""
    total: int
    fit: Fit
    steps: int | None = None
    """None where nobody knows how many rows there are."""
    duration: Duration | None = None
    """None where nobody knows how fast the machine is, or how many rows there are."""
    disk: int = 0
    """Bytes of the run folder, checkpoints included, and of stored outputs of frozen layers."""
    cache: int = 0
    """Bytes of these outputs; 0 where none are stored."""
    measured: bool = False
    """Whether a few steps were taken; otherwise all was computed from shapes."""
    estimated: str = ""
    """Why the memory was estimated from the sizes of the layers; empty where every tensor was counted."""

    def plain(self, batch_size: int) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "method": self.method,
            "trainable": self.trainable,
            "stored": self.stored,
            "total": self.total,
            "memory": self.fit.memory.plain(),
            "fits": self.fit.fits,
            "settings": self.fit.assignments(batch_size),
            "reason": self.fit.reason,
            "steps": self.steps,
            "seconds": None if self.duration is None else asdict(self.duration),
            "disk": self.disk,
            "cache": self.cache,
            "measured": self.measured,
            "estimated": self.estimated,
        }


@dataclass(frozen=True)
class Plan:
    """What every method will need."""

    model: str
    machine: str
    """Where it is to run, in a word."""
    room: int
    """Bytes of memory that are free there."""
    batch_size: int
    longest: int
    """Tokens of the longest row; for pictures and sounds what is as much work."""
    rows: int | None
    methods: list[Planned]
    refused: dict[str, str]
    """Methods that cannot work with this model, and why."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {key: value for key, value in vars(self).items() if key != "methods"}
        return {**told, "methods": [planned.plain(self.batch_size) for planned in self.methods]}

"""What runs of a comparison are asked for, and what comes of it; as plain values between two processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from whet.core import Scores
from whet.run.comparison import Attempt

Key: TypeAlias = tuple[str, int]
"""Of a run: its candidate's name, and its seed."""


@dataclass(frozen=True)
class Turn:
    """A run's turn: to train until it is looked at, or to its end."""

    name: str
    """Its candidate's."""
    called: str
    """What to call the run."""
    recipe: dict[str, Any]
    attempt: Attempt
    """What is known of it so far."""
    rung: int | None
    """Step after which the validation rows are scored last; None is the end, where it is measured once."""
    sample: Path
    """The file in which is left what it scored."""
    baselines: dict[str, Scores] | None = None
    """Scores of what needs no fine-tuning, for the end."""

    @property
    def key(self) -> Key:
        """Whose turn it is."""
        return self.name, self.attempt.seed

    @property
    def steps(self) -> int:
        """How many it will take."""
        return (self.rung or self.attempt.steps) - self.attempt.step


@dataclass(frozen=True)
class Ended:
    """A turn is over."""

    name: str
    attempt: Attempt
    """What is known of the run now."""
    score: float | None = None
    """What it scored; None where it was stopped before, or has failed."""
    failure: str = ""
    """Why it goes no further."""
    trainable: int = 0
    total: int = 0
    """Its parameters; 0 where they are not known."""

    @property
    def key(self) -> Key:
        """Whose turn it was."""
        return self.name, self.attempt.seed


_TURN, _ENDED = TypeAdapter(Turn), TypeAdapter(Ended)


def spoken(told: Turn | Ended) -> dict[str, Any]:
    """As plain values."""
    return asdict(told) | ({"sample": str(told.sample)} if isinstance(told, Turn) else {})


def turn_of(values: Mapping[str, Any]) -> Turn:
    """A turn that was spoken."""
    return _TURN.validate_python(values)


def ended_of(values: Mapping[str, Any]) -> Ended:
    """An end that was spoken."""
    return _ENDED.validate_python(values)

"""What happens during a run: the engine yields these, and everything that watches a run reads them."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from whet.core import Scores


@dataclass(frozen=True)
class Started:
    """The first event of a run, or of its continuation."""

    steps: int
    """Optimiser steps in all."""
    step: int
    """Steps done already: 0, or where a checkpoint took up."""
    epochs: int
    rows: int
    trainable: int
    total: int


@dataclass(frozen=True)
class StageChanged:
    """Another mask holds from the next step on."""

    step: int
    stage: str
    trainable: int


@dataclass(frozen=True)
class Storing:
    """Outputs of the frozen layers are being computed once and for all; comes many times."""

    step: int
    done: int
    """Rows."""
    rows: int


@dataclass(frozen=True)
class Stored:
    """From here on the frozen layers' outputs are read instead of computed."""

    step: int
    blocks: int
    """Leading blocks that are frozen."""
    of: int
    rows: int
    reused: int
    """Rows that an earlier run or stage had computed."""
    size: int
    """Bytes that these rows take."""
    folder: Path | None
    """Where they are kept; None is in memory."""
    share: float
    """Part of a forward pass that each step saves."""
    seconds: float


@dataclass(frozen=True)
class NotStored:
    """Layers are frozen, yet each step computes them anew."""

    step: int
    reason: str


@dataclass(frozen=True)
class Step:
    """One optimiser step was taken."""

    step: int
    epoch: float
    loss: float
    """Mean loss per unit of weight over the step's rows."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    rows: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Divided:
    """The device ran out of memory; this step and all that follow are taken in smaller passes, which changes rounding
    only."""

    step: int
    rows: int
    """Of a pass from here on."""


@dataclass(frozen=True)
class Evaluated:
    """The validation rows were scored."""

    step: int
    epoch: float
    scores: Scores
    best: bool
    """True where no earlier evaluation was better."""
    seconds: float


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written and verified."""

    step: int
    path: Path


@dataclass(frozen=True)
class Stopped:
    """The run ends before its last step."""

    step: int
    reason: str
    resumable: bool
    """True where the user asked for it and the rest of the run is still worth doing."""


@dataclass(frozen=True)
class Averaged:
    """After the last step the mean of the last weights was scored on the validation rows."""

    step: int
    count: int
    """How many weights it is the mean of."""
    scores: Scores
    best: bool
    """True where no single weights were better."""
    seconds: float


@dataclass(frozen=True)
class Mixed:
    """After the last step a mix of the pre-trained and the best weights was scored on the validation rows."""

    step: int
    share: float
    """Of the trained weights."""
    scores: Scores
    best: bool
    """True where neither the trained weights nor an earlier mix was better."""
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The best weights are back in the model and were measured once more."""

    step: int
    best_step: int
    recorded: Scores
    """What the best evaluation measured during the run."""
    scores: Scores
    """What the restored weights measured now."""
    share: float = 1.0
    """Of the trained weights; less where a mix with the pre-trained ones is in the model."""


Event: TypeAlias = (
    Started
    | StageChanged
    | Storing
    | Stored
    | NotStored
    | Step
    | Divided
    | Evaluated
    | Saved
    | Stopped
    | Averaged
    | Mixed
    | Finished
)
Events: TypeAlias = Generator[Event, None, None]

"""What a run needs, with nothing left open: the engine sees values and protocols, never a recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from whet.core import Batch, Examples, Kept, Parts, Stage
from whet.data.augment.draws import draws
from whet.engine.arithmetic import Arithmetic
from whet.engine.device import ALONE, Processes
from whet.protocols import Augmentation, Task


@dataclass(frozen=True)
class Settings:
    """How a run trains."""

    learning_rate: float
    epochs: int = 3
    steps: int | None = None
    """Optimiser steps in all; None follows from the epochs."""
    batch_size: int = 16
    """Rows per optimiser step."""
    micro_batch_size: int | None = None
    """Rows per forward pass; None is the whole batch. Changes memory, never the result."""
    gradient_checkpointing: bool = False
    """Whether blocks compute their inner values twice instead of keeping them. Changes memory, never the result."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    schedule: Mapping[str, object] = field(default_factory=lambda: {"name": "constant"})
    warmup: float = 0.0
    """Share of the steps."""
    weight_decay: float = 0.01
    l2_sp: float | None = None
    """Decay towards the weights that the run began with, for all that were pre-trained; None has none."""
    average: float | None = None
    """Share of the steps, at the end, over which weights are averaged; None averages none."""
    mixes: Sequence[float] = ()
    """Shares of the trained weights in mixes with those that the run began with, which are tried at the end."""
    r_drop: float | None = None
    """Weight of how far two passes over the same rows are apart; None makes one pass."""
    layer_decay: float = 1.0
    max_gradient_norm: float | None = 1.0
    metric: str = "accuracy"
    patience: int | None = None
    """Evaluations without a better score before the run stops; None never stops early."""
    evaluate_every: int | None = None
    """Steps between evaluations; None evaluates after each epoch."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; None saves after each evaluation."""
    cache: Literal["auto", "memory", "off"] = "auto"
    """Where outputs of frozen layers are kept: on the disk or, without room there, in memory; in memory; nowhere."""
    seed: int = 0


class StopRequest:
    """A wish to stop, heard at the next step boundary: what Ctrl-C sets instead of tearing a step apart."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def make(self, reason: str) -> None:
        """Ask the run to stop after the present step."""
        self.reason = reason


@dataclass(frozen=True)
class Job:
    """One run: a model whose method is attached, its data, and how to train it."""

    model: nn.Module
    parts: Parts
    """Parts of this very model, taken after the method was attached."""
    stages: Sequence[Stage]
    task: Task
    train: Examples
    validation: Examples
    settings: Settings
    device: torch.device
    augmentation: Augmentation | None = None
    """What changes the training rows, in every epoch anew; None leaves them as they are."""
    checkpoints: Path | None = None
    """Where checkpoints go; None keeps none."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    cache_folder: Path | None = None
    """Where outputs of frozen layers are kept for later runs; None keeps them in memory."""
    cache_limit: int = 10**10
    """Bytes that the folder may hold."""
    stop: StopRequest = field(default_factory=StopRequest)
    processes: Processes = ALONE
    """Those that take each step together."""
    observe: Callable[[int, Kept], None] | None = None
    """Told at each evaluation after which step it is and what the model says about the validation rows."""

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Training rows as the model reads them in an epoch."""
        if self.augmentation is None:
            return self.task.collate(self.train, rows)
        return self.augmentation.collate(self.train, rows, draws(self.settings.seed, epoch, rows))

"""Jobs for the engine's tests: a tiny model on twelve rows, tasks that misbehave on purpose, stages of every shape."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.contracts.arena import SETTINGS, Fight, TensorTask
from tests.contracts.backbones import BACKBONES
from whet import metrics
from whet.core import Batch, Examples, Parts, Scores, Stage
from whet.engine.job import Job, Settings
from whet.engine.loop import fit
from whet.engine.state import Checkpoint
from whet.events import Evaluated, Event, NotStored, Saved, Step, Stored, Storing

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
Stages = Callable[[Parts], list[Stage]]


def job(
    settings: Settings = SETTINGS,
    checkpoints: Path | None = None,
    *,
    stages: Stages | None = None,
    task: Callable[[TensorTask], TensorTask] | None = None,
    dropout: float | None = None,
    backbone: str = "bert",
) -> Job:
    """Full fine-tuning of a tiny model, with other stages or another task where they are given."""
    made = Fight(BY_NAME[backbone], "full", {}).job(settings, checkpoints, dropout)
    assert isinstance(made.task, TensorTask)
    return replace(
        made,
        stages=stages(made.parts) if stages else made.stages,
        task=task(made.task) if task else made.task,
    )


# --- stages -----------------------------------------------------------------------------------------------------


def two_stages(parts: Parts) -> list[Stage]:
    """The head, then the last block instead of it."""
    return [
        Stage("head", 0.5, parts.under(parts.head)),
        Stage("last block", 0.5, parts.under(parts.blocks[-1]), learning_rate_scale=0.5),
    ]


def three_stages(parts: Parts) -> list[Stage]:
    """As two stages, then everything: the head rests in between and comes back."""
    first, second = two_stages(parts)
    return [
        replace(first, share=1 / 3),
        replace(second, share=1 / 3),
        Stage("all", 1 / 3, frozenset(parts.parameters)),
    ]


# --- tasks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightedTask(TensorTask):
    """Each class counts differently, so the rows of a batch do."""

    class_weights: Tensor = field(default_factory=lambda: torch.tensor([1.0, 5.0, 25.0]))

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        batch = super().collate(examples, indices)
        return replace(batch, weight=float(self.class_weights[batch.targets].sum()))

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        assert batch.targets is not None
        return nn.functional.cross_entropy(outputs["logits"], batch.targets, self.class_weights, reduction="sum")


@dataclass(frozen=True)
class PeakTask(TensorTask):
    """Every row is of class 0, and the best model is half sure of it: training goes through the best and past it."""

    @property
    def metrics(self) -> Mapping[str, bool]:
        return {"distance": False, "loss": False}

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(outputs["logits"], torch.zeros(batch.rows, dtype=torch.long)) * batch.rows

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        return {"distance": abs(float(predictions[:, 0].mean()) - 0.5)}


@dataclass(frozen=True)
class ScriptedTask(TensorTask):
    """The evaluations come out as written, accuracy and loss; the last of each stands for all that follow, too."""

    script: Sequence[float] = (0.5,)
    losses: Sequence[float] = (1.0,)
    passes: list[None] = field(default_factory=list)

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        self.passes.append(None)
        return {"accuracy": self.script[min(len(self.passes), len(self.script)) - 1]}

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        loss = super().loss(outputs, batch)
        if torch.is_grad_enabled():
            return loss
        return torch.full_like(loss, self.losses[min(len(self.passes), len(self.losses) - 1)] * batch.rows)


def not_a_number(loss: Tensor, logits: Tensor) -> Tensor:
    return loss * float("nan")


@dataclass(frozen=True)
class BreakingTask(TensorTask):
    """Calls ``breaks`` on the loss of the forward pass number ``at`` of training."""

    at: int = 1
    breaks: Callable[[Tensor, Tensor], Tensor] = not_a_number
    passes: list[None] = field(default_factory=list)

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        loss = super().loss(outputs, batch)
        if not torch.is_grad_enabled():
            return loss
        self.passes.append(None)
        return self.breaks(loss, outputs["logits"]) if len(self.passes) == self.at else loss


@dataclass(frozen=True)
class BlindTask(TensorTask):
    """Validation goes wrong: ``value`` takes the place of the first class's probability, ``added`` joins the loss."""

    value: float | None = None
    added: float = 0.0

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return super().loss(outputs, batch) + (0.0 if torch.is_grad_enabled() else self.added)

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[np.ndarray, float | None]:
        predictions, loss = super().predict(outputs, batch)
        if self.value is not None:
            predictions[:2, 0] = self.value
        return predictions, loss

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        assert isinstance(examples.targets, np.ndarray)
        return metrics.single_label(predictions, examples.targets)


def changed(kind: type[TensorTask], **options: Any) -> Callable[[TensorTask], TensorTask]:
    """A task of another kind on the same rows."""
    return lambda task: kind(task.inputs, task.targets, **options)


# --- running ----------------------------------------------------------------------------------------------------


def stopped_after(step: int, run: Job, checkpoint: Checkpoint | None = None) -> list[Event]:
    """The events of a run that is asked to stop while it takes a step."""
    events = []
    for event in fit(run, checkpoint):
        events.append(event)
        if isinstance(event, Step) and event.step == step:
            run.stop.make("the test says so")
    return events


def killed_after_saving(step: int, run: Job) -> None:
    """A run that ends right after the checkpoint of a step."""
    with closing(fit(run)) as events:
        for event in events:
            if isinstance(event, Saved) and event.step == step:
                return


def timeless(events: Sequence[Event]) -> list[Event]:
    """Events without what differs between two equal runs: the clock, the checkpoints and what was computed before."""
    return [
        replace(event, seconds=0.0) if isinstance(event, Step | Evaluated) else event
        for event in events
        if not isinstance(event, Saved | Storing | Stored | NotStored)
    ]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the operating system refuse to write files of more bytes."""
    soft, hard = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))

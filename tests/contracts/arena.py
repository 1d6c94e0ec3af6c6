"""A run in miniature for the laws: a task over tensors that are there already, and jobs for any method and backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.contracts.backbones import CLASSES, Backbone
from whet import catalog
from whet.core import (
    Batch,
    Choice,
    Columns,
    Examples,
    Loaded,
    Parts,
    Problem,
    Quantisation,
    Ragged,
    Rows,
    Scores,
)
from whet.data.batch import epoch_batches
from whet.engine import cache
from whet.engine.cut import Probe
from whet.engine.job import Job, Settings
from whet.engine.loop import fit
from whet.engine.state import Checkpoint
from whet.events import Event
from whet.model.parts import parts_of
from whet.protocols import COMPLETE, AnyModel, Method, Task, Worded

ROWS = 12


@dataclass(frozen=True)
class TensorTask(AnyModel):
    """Classes for rows that are tensors; examples only number them."""

    inputs: Mapping[str, Tensor]
    targets: Tensor
    problem: Problem | None = "single_label"
    metric: str = "accuracy"

    @property
    def metrics(self) -> Mapping[str, bool]:
        return {"accuracy": True, "loss": False}

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        raise NotImplementedError

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        raise NotImplementedError

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[Task, list[Choice]]:
        raise NotImplementedError

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        raise NotImplementedError

    def open_saved(self, folder: Path) -> Loaded:
        raise NotImplementedError

    def encode(self, rows: Rows, columns: Columns, processor: Any) -> Examples:
        raise NotImplementedError

    def examples(self) -> Examples:
        count = len(self.targets)
        return Examples(
            {"row": Ragged.of([[i] for i in range(count)])},
            self.targets.numpy(),
            np.ones(count, dtype=np.int64),
            {"row": 0},
        )

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        chosen = np.asarray(indices)
        return Batch(
            {name: value[chosen] for name, value in self.inputs.items()},
            self.targets[chosen],
            weight=len(chosen),
            rows=len(chosen),
            tokens=len(chosen),
        )

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        assert batch.targets is not None
        return nn.functional.cross_entropy(outputs["logits"].float(), batch.targets, reduction="sum")

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[np.ndarray, float | None]:
        loss = None if batch.targets is None else float(self.loss(outputs, batch))
        return outputs["logits"].float().softmax(-1).numpy(), loss

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        return {"accuracy": float((predictions.argmax(-1) == examples.targets).mean())}


@dataclass(frozen=True)
class TrimmedTask(TensorTask):
    """Texts of different lengths: a batch is as wide as its longest row."""

    def examples(self) -> Examples:
        return replace(super().examples(), lengths=self.inputs["attention_mask"].sum(1).numpy())

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        batch, lengths = super().collate(examples, indices), examples.lengths[indices]
        inputs = {name: value[:, : int(lengths.max())].contiguous() for name, value in batch.inputs.items()}
        return replace(batch, inputs=inputs, tokens=int(lengths.sum()))


@dataclass(frozen=True)
class Fight:
    """One method on one backbone."""

    backbone: Backbone
    method_name: str
    options: Mapping[str, Any]
    trimmed: bool = False
    """Whether texts are as long as they are; otherwise every batch is padded to the same width."""

    @property
    def method(self) -> Method:
        method: Method = catalog.build("method", self.method_name, dict(self.options))
        return method

    @property
    def task(self) -> TensorTask:
        targets = torch.randint(0, CLASSES, (ROWS,), generator=torch.Generator().manual_seed(1))
        inputs = self.backbone.inputs(ROWS, 0)
        return (TrimmedTask if self.trimmed and "attention_mask" in inputs else TensorTask)(inputs, targets)

    def attached(self, *, dropout: float | None = None) -> tuple[nn.Module, Parts]:
        """A fresh model with the method attached, always the same one."""
        from whet.model.dropout import set_dropout

        plain = self.backbone.build()
        if dropout is not None:
            set_dropout(plain, dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            model = self.method.attach(plain, parts_of(plain))
            if isinstance(self.method, Worded):
                self.method.word(model, lambda text: [3 + ord(sign) % 50 for sign in text])
        return model, parts_of(model)

    def job(self, settings: Settings, checkpoints: Path | None = None, dropout: float | None = None) -> Job:
        model, parts = self.attached(dropout=dropout)
        return Job(
            model=model,
            parts=parts,
            stages=self.method.stages(parts),
            task=self.task,
            train=self.task.examples(),
            validation=self.task.examples(),
            settings=settings,
            device=torch.device("cpu"),
            checkpoints=checkpoints,
        )

    def output(self, model: nn.Module, rows: int = 4) -> Tensor:
        """(rows, CLASSES) logits of the model in evaluation mode."""
        model.eval()
        with torch.no_grad():
            logits: Tensor = model(**self.backbone.inputs(rows, 3)).logits
        return logits

    def __repr__(self) -> str:
        return f"{self.method_name}-{self.backbone}"


def probe(job: Job, rows: np.ndarray) -> Probe:
    """Training rows as a batch to look for the frozen beginning with."""
    batch = job.task.collate(job.train, rows)

    def observe(outputs: Any) -> list[Tensor]:
        return [job.task.loss(outputs, batch), torch.from_numpy(job.task.predict(outputs, batch)[0])]

    return Probe(batch.inputs, job.train.lengths[rows], observe)


def store_as_read(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    """Let outputs be stored in the very batches of the first epoch: rounding depends on the batch."""
    settings = job.settings
    batches = epoch_batches(job.train.lengths, settings.batch_size, seed=settings.seed, epoch=0)
    # Rows are stored in the order of their digests.
    order = np.unique(cache.row_digests(job.train, np.arange(len(job.train))), return_index=True)[1]
    monkeypatch.setattr(cache, "sorted_batches", lambda *_: [np.argsort(order)[batch] for batch in batches])


SETTINGS = Settings(learning_rate=1e-3, epochs=2, batch_size=4, seed=3)


def run(job: Job, checkpoint: Checkpoint | None = None) -> list[Event]:
    """All events of a job."""
    return list(fit(job, checkpoint))


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def short(settings: Settings = SETTINGS, **changes: Any) -> Settings:
    """Settings with changes."""
    return replace(settings, **changes)

"""Classes, several classes, or a number for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from whet import metrics
from whet.catalog import OPTIONS
from whet.core import Answer, Batch, Choice, Columns, Examples, Loaded, Problem, Quantisation, Rows, Scores
from whet.data import labels as label_reading
from whet.data.labelled import LabelledTexts
from whet.errors import RecipeError
from whet.protocols import AnyModel

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, config=OPTIONS)
class TextClassification(LabelledTexts, AnyModel):
    """Text classification: one class, several classes, or a number for a text or a pair of texts.

    Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv 1810.04805).

    The model turns token numbers (B, T) into logits (B, C). One class: softmax and cross-entropy. Several classes
    (multi-label): sigmoid and binary cross-entropy per class. A number (regression): C = 1 and the squared error.
    Choose it for topics, intents, sentiment, tags, ratings, and whether two texts fit together.
    """

    problem: Problem | None = None
    """What is answered; inferred from the labels if not named."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Names of the classes in the order of the model's outputs; found in the training rows if not named."""
    max_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens read of a row; what is longer loses its end. The model's own limit, at most 512, if not named."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes (Szegedy et al. 2016); for a single label only."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Weight of each class in the loss; 'balanced' weighs by inverse frequency. Helps rare classes."""

    @property
    def metric(self) -> str:
        return {"single_label": "accuracy", "multi_label": "micro_f1", "regression": "spearman"}[self.problem or ""]

    @property
    def metrics(self) -> Mapping[str, bool]:
        absent = () if len(self.labels or ()) == 2 else ("f1", "roc_auc")
        known = {**metrics.KNOWN[self.problem or ""], "loss": False}
        return {name: more_is_better for name, more_is_better in known.items() if name not in absent}

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[TextClassification, list[Choice]]:
        """The task with problem, labels and class weights decided from the training rows."""
        problem, why = (self.problem, "") if self.problem else label_reading.problem_of(rows, columns.label)
        self._refuse_idle_options(problem)
        choices = [Choice("task.problem", problem, "inferred" if why else "given", why)]
        if problem == "regression":
            label_reading.check_scale(rows, columns.label)
            return dataclasses.replace(self, problem=problem), choices
        names = label_reading.classes(rows, columns.label, problem, to_split=to_split)
        if self.labels is None:
            choices.append(Choice("task.labels", names, "inferred", f"{len(names)} classes in the rows"))
        else:
            names = label_reading.given_classes(self.labels, columns.label)
        targets = label_reading.targets(rows, columns.label, problem, names)
        weights = label_reading.class_weights(self.class_weights, targets, names)
        return dataclasses.replace(self, problem=problem, labels=names, class_weights=weights), choices

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.load import load

        assert self.problem is not None
        targets = len(self.labels or [""])
        return load(name, labels=self.labels, targets=targets, problem=self.problem, quantisation=quantisation)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved

        return open_saved(folder, targets=len(self.labels or [""]))

    def encode(self, rows: Rows, columns: Columns, processor: PreTrainedTokenizerBase) -> Examples:
        from whet.data.tokens import limit, tokenise

        assert self.problem is not None
        tokens = tokenise(rows, columns.text, processor, limit(processor, self.max_length))
        targets = label_reading.targets(rows, columns.label, self.problem, self.labels) if columns.label else None
        return Examples(tokens.inputs, targets, tokens.lengths, tokens.fills, tokens.truncated)

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        import torch

        from whet.data.batch import pad

        inputs = {n: torch.from_numpy(pad(values, indices, examples.fills[n])) for n, values in examples.inputs.items()}
        lengths = examples.lengths[indices]
        inputs["attention_mask"] = torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
        targets, weight = None, float(len(indices))
        if isinstance(examples.targets, np.ndarray):
            targets = torch.from_numpy(examples.targets[indices])
            if self.problem == "single_label" and (weights := self._weights()) is not None:
                weight = float(weights[examples.targets[indices]].sum())
        return Batch(inputs, targets, weight, len(indices), int(lengths.sum()))

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        import torch
        from torch.nn import functional

        assert batch.targets is not None
        logits = outputs["logits"].float()
        weights = self._weights()
        weight = None if weights is None else torch.from_numpy(weights).to(logits)
        if self.problem == "regression":
            return functional.mse_loss(logits.squeeze(-1), batch.targets, reduction="sum")
        if self.problem == "multi_label":
            terms = functional.binary_cross_entropy_with_logits(logits, batch.targets, weight=weight, reduction="none")
            return terms.mean(dim=-1).sum()
        return functional.cross_entropy(
            logits, batch.targets, weight=weight, reduction="sum", label_smoothing=self.label_smoothing
        )

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[np.ndarray, float | None]:
        logits = outputs["logits"].float()
        loss = None if batch.targets is None else float(self.loss(outputs, batch))
        if self.problem == "single_label":
            return logits.softmax(dim=-1).cpu().numpy(), loss
        return (logits.sigmoid() if self.problem == "multi_label" else logits.squeeze(-1)).cpu().numpy(), loss

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        assert isinstance(examples.targets, np.ndarray)
        return metrics.measure(self.problem or "", predictions, examples.targets)

    def answer(self, predictions: np.ndarray) -> list[Answer]:
        return label_reading.answers(predictions, self.problem or "regression", self.labels or ())

    def _refuse_idle_options(self, problem: Problem) -> None:
        idle = ["label_smoothing"] if problem != "single_label" and self.label_smoothing else []
        if problem == "regression":
            idle += [name for name in ("labels", "class_weights") if vars(self)[name]]
        if idle:
            raise RecipeError(*(f"task.{name}: does not apply to {problem}; leave it out" for name in idle))

    def _weights(self) -> np.ndarray | None:
        given = self.class_weights
        return np.array([given[n] for n in self.labels or ()], np.float32) if isinstance(given, dict) else None

"""Classes, several classes, or a number for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from whet import metrics
from whet.catalog import OPTIONS
from whet.core import Answer, Batch, Choice, Columns, Examples, Loaded, Problem, Rows, Scores
from whet.data import labels as label_reading
from whet.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, config=OPTIONS)
class TextClassification:
    """Text classification: one class, several classes, or a number for a text or a pair of texts.

    The model turns token numbers (B, T) into logits (B, C). One class: softmax and cross-entropy. Several classes
    (multi-label): sigmoid and binary cross-entropy per class. A number (regression): C = 1 and the squared error.
    """

    problem: Problem | None = None
    """What is answered; inferred from the labels if not named."""
    labels: list[str] | None = None
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
        return {**metrics.KNOWN[self.problem or ""], "loss": False}

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[TextClassification, list[Choice]]:
        """The task with problem, labels and class weights decided from the training rows."""
        problem, why_problem = (
            label_reading.problem_of(rows, columns.label) if self.problem is None else (self.problem, "")
        )
        if problem != "single_label" and self.label_smoothing:
            raise RecipeError(f"task.label_smoothing: applies to one label per row, not to {problem}; leave it out")
        choices = [Choice("task.problem", problem, "given" if self.problem else "inferred", why_problem)]
        if problem == "regression":
            if self.labels or self.class_weights:
                raise RecipeError("task.labels and task.class_weights: regression has no classes; leave them out")
            label_reading.numbers(rows, columns.label)
            return dataclasses.replace(self, problem=problem), choices
        found = label_reading.classes(rows, columns.label, problem, to_split=to_split)
        names = self.labels or found
        label_reading.targets(rows, columns.label, problem, names)
        if self.labels is None:
            choices.append(Choice("task.labels", names, "inferred", f"{len(names)} classes in the rows"))
        weights = self.class_weights
        if weights == "balanced":
            weights = label_reading.balanced_weights(rows, columns.label, problem, names)
            choices.append(
                Choice("task.class_weights", weights, "inferred", "'balanced': inverse frequency in the rows")
            )
        elif weights is not None and set(weights) != set(names):
            raise RecipeError(f"task.class_weights: names {sorted(weights)}, the classes are {names}; name each once")
        return dataclasses.replace(self, problem=problem, labels=names, class_weights=weights), choices

    def open_model(self, name: str | None) -> Loaded:
        from whet.model.load import load

        assert self.problem is not None
        return load(name, labels=self.labels, targets=len(self.labels or [""]), problem=self.problem)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.load import open_saved

        return open_saved(folder, targets=len(self.labels or [""]))

    def encode(self, rows: Rows, columns: Columns, processor: PreTrainedTokenizerBase) -> Examples:
        from whet.data.tokens import limit, tokenise

        assert self.problem is not None
        texts = [[str(value) for value in rows.columns[name]] for name in columns.text]
        tokens = tokenise(texts, processor, limit(processor, self.max_length))
        targets = label_reading.targets(rows, columns.label, self.problem, self.labels) if columns.label else None
        return Examples(tokens.inputs, targets, tokens.inputs["input_ids"].lengths, tokens.fills, tokens.truncated)

    def collate(self, examples: Examples, indices: Sequence[int]) -> Batch:
        import torch

        from whet.data.batch import pad

        rows = np.asarray(indices)
        inputs = {n: torch.from_numpy(pad(values, rows, examples.fills[n])) for n, values in examples.inputs.items()}
        lengths = examples.lengths[rows]
        inputs["attention_mask"] = torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
        targets, weight = None, float(len(rows))
        if examples.targets is not None:
            targets = torch.from_numpy(examples.targets[rows])
            if self.problem == "single_label" and (weights := self._weights()) is not None:
                weight = float(weights[examples.targets[rows]].sum())
        return Batch(inputs, targets, weight, len(rows), int(lengths.sum()))

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

    def predict(self, outputs: Mapping[str, Tensor]) -> np.ndarray:
        logits = outputs["logits"].float()
        if self.problem == "regression":
            return logits.squeeze(-1).cpu().numpy()
        probabilities = logits.sigmoid() if self.problem == "multi_label" else logits.softmax(dim=-1)
        return probabilities.cpu().numpy()

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        assert examples.targets is not None
        return metrics.measure(self.problem or "", predictions, examples.targets)

    def answer(self, predictions: np.ndarray) -> list[Answer]:
        if self.problem == "regression":
            return [Answer(float(value), {}) for value in predictions]
        assert self.labels is not None
        answers = []
        for row in predictions:
            scores = {label: float(value) for label, value in zip(self.labels, row, strict=True)}
            best: str | list[str] = max(scores, key=scores.__getitem__)
            if self.problem == "multi_label":
                best = [label for label, value in scores.items() if value >= 0.5]
            answers.append(Answer(best, scores))
        return answers

    def _weights(self) -> np.ndarray | None:
        if not isinstance(self.class_weights, dict) or self.labels is None:
            return None
        return np.array([self.class_weights[label] for label in self.labels], dtype=np.float32)

"""What all tasks share that answer with classes, several classes, or a number, whatever they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from whet import metrics
from whet.core import Answer, Choice, Columns, Examples, Problem, Rows, Scores
from whet.data import labels as label_reading
from whet.errors import RecipeError
from whet.protocols import AnyModel

if TYPE_CHECKING:
    from torch import Tensor

    from whet.core import Batch


class Distributing:
    """What tasks share that answer with distributions over classes, each of which may have a weight of its own."""

    if TYPE_CHECKING:

        @property
        def problem(self) -> Problem | None: ...
        @property
        def labels(self) -> list[str] | None: ...
        @property
        def class_weights(self) -> Literal["balanced"] | dict[str, float] | None: ...

    @property
    def distributes(self) -> bool:
        """Whether the classes exclude each other, so that their probabilities add up to 1."""
        return self.problem in ("single_label", "tagging")

    def apart(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """(KL(p, q) + KL(q, p)) / 2 of what two outputs say, summed over all that is learned of a batch.

        Written as (p - q) (log p - log q) / 2, summed over the classes: no term of a class can be lost in another.
        """
        import torch

        assert batch.targets is not None
        p, q = (outputs["logits"].float().flatten(0, -2).log_softmax(dim=-1) for outputs in (one, other))
        apart = ((p.exp() - q.exp()) * (p - q)).sum(dim=-1) / 2
        shares = batch.targets.is_floating_point()
        targets = batch.targets if shares else batch.targets.flatten()
        if (given := self._weights()) is not None:
            weights = torch.from_numpy(given).to(apart)
            apart = apart * (targets @ weights if shares else weights[targets.clamp(min=0)])
        return apart.sum() if shares else apart[targets >= 0].sum()

    def _weights(self) -> np.ndarray | None:
        given = self.class_weights
        return np.array([given[n] for n in self.labels or ()], np.float32) if isinstance(given, dict) else None


class Classification(Distributing, AnyModel):
    """From labels to targets, from outputs to losses, scores and answers.

    One class: softmax and cross-entropy. Several classes (multi-label): sigmoid and binary cross-entropy per class. A
    number (regression): the squared error. Targets of a single class are class numbers (B,) or shares (B, C).
    """

    if TYPE_CHECKING:

        @property
        def label_smoothing(self) -> float: ...

    @property
    def metric(self) -> str:
        """Accuracy, micro F1 or rank correlation."""
        return {"single_label": "accuracy", "multi_label": "micro_f1", "regression": "spearman"}[self.problem or ""]

    @property
    def metrics(self) -> Mapping[str, bool]:
        """What ``score`` returns, and the loss."""
        absent = () if len(self.labels or ()) == 2 else ("f1", "roc_auc")
        known = {**metrics.KNOWN[self.problem or ""], "loss": False}
        return {name: more_is_better for name, more_is_better in known.items() if name not in absent}

    def decided(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[dict[str, Any], list[Choice]]:
        """Problem, labels and class weights as the training rows have them, and why."""
        problem, why = (self.problem, "") if self.problem else label_reading.problem_of(rows, columns.label)
        self._refuse_idle_options(problem)
        choices = [Choice("task.problem", problem, "inferred" if why else "given", why)]
        if problem == "regression":
            label_reading.check_scale(rows, columns.label)
            return {"problem": problem}, choices
        names = label_reading.classes(rows, columns.label, problem, to_split=to_split)
        if self.labels is None:
            choices.append(Choice("task.labels", names, "inferred", f"{len(names)} classes in the rows"))
        else:
            names = label_reading.given_classes(self.labels, columns.label)
        targets = label_reading.targets(rows, columns.label, problem, names)
        weights = label_reading.class_weights(self.class_weights, targets, names)
        return {"problem": problem, "labels": names, "class_weights": weights}, choices

    @property
    def width(self) -> int:
        """How many numbers C the model answers with."""
        return len(self.labels or [""])

    def targets(self, rows: Rows, columns: Columns) -> np.ndarray | None:
        """What the rows say; None where they have no labels."""
        assert self.problem is not None
        return label_reading.targets(rows, columns.label, self.problem, self.labels) if columns.label else None

    def targets_of(self, examples: Examples, indices: np.ndarray) -> tuple[Tensor | None, float]:
        """Targets of a batch, and what it counts for in a mean."""
        import torch

        if not isinstance(examples.targets, np.ndarray):
            return None, float(len(indices))
        targets = torch.from_numpy(examples.targets[indices])
        return targets, self.weight_of(targets)

    def weight_of(self, targets: Tensor) -> float:
        """What targets count for in a mean: their number, or the sum of their classes' weights."""
        import torch

        weights = self._weights()
        if self.problem != "single_label" or weights is None:
            return float(len(targets))
        by_class = torch.from_numpy(weights)
        return float((targets @ by_class if targets.is_floating_point() else by_class[targets]).sum())

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Sum of the losses of a batch."""
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
        """(B, C) probabilities or (B,) numbers, and the loss of a labelled batch."""
        logits = outputs["logits"].float()
        loss = None if batch.targets is None else float(self.loss(outputs, batch))
        if self.problem == "single_label":
            return logits.softmax(dim=-1).cpu().numpy(), loss
        return (logits.sigmoid() if self.problem == "multi_label" else logits.squeeze(-1)).cpu().numpy(), loss

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        """All metrics of the predictions."""
        assert isinstance(examples.targets, np.ndarray)
        return metrics.measure(self.problem or "", predictions, examples.targets)

    def answer(self, predictions: np.ndarray) -> list[Answer]:
        """Predictions in the words of the labels."""
        return label_reading.answers(predictions, self.problem or "regression", self.labels or ())

    def _refuse_idle_options(self, problem: Problem) -> None:
        idle = ["label_smoothing"] if problem != "single_label" and self.label_smoothing else []
        if problem == "regression":
            idle += [name for name in ("labels", "class_weights") if vars(self)[name]]
        if idle:
            raise RecipeError(*(f"task.{name}: does not apply to {problem}; leave it out" for name in idle))

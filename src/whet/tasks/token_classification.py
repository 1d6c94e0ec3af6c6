"""A tag for each word of a text: named entities, parts of speech, and whatever else is marked in texts."""

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
from whet.classification import Distributing
from whet.core import Answer, Batch, Choice, Columns, Examples, Kept, Loaded, Quantisation, Ragged, Rows, Scores
from whet.data import labels as label_reading
from whet.data import tag_schemes, tagged_columns
from whet.data.tagged_columns import FORMS, TaggedTexts
from whet.protocols import AnyModel

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from whet.data.tagged import Tagger


@dataclass(frozen=True, config=OPTIONS)
class TokenClassification(TaggedTexts, Distributing, AnyModel):
    """Token classification: a tag for each word, such as named entities and parts of speech.

    Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv 1810.04805); entities are read
    and scored as by conlleval (Tjong Kim Sang and De Meulder 2003, arXiv cs/0306050).

    The model turns token numbers (B, T) into logits (B, T, C). Of each word the first token is learned, by softmax and
    cross-entropy; the loss is the mean over these. Tags with B- and I- mark entities, each right where label, begin and
    end are. Choose it for names, places, dates, parts of speech, and for finding whatever can be marked in a text.
    """

    form: Literal["words", "pieces", "spans"] | None = None
    """What a row holds: words with tags; pieces of a text (characters, say) with tags; or a text with spans of what is
    marked, each with start, end and label; seen in the rows if not named."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Names of the tags in the order of the model's outputs; found in the training rows if not named."""
    learn: Literal["first", "all"] = "first"
    """Which of a word's tokens are learned: the first, or all of them, the others as what goes on."""
    max_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens read of a row; what is longer loses its end, which is answered as outside. The model's own limit, at most
    512, if not named."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all tags (Szegedy et al. 2016)."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Weight of each tag in the loss; 'balanced' weighs by inverse frequency, which finds more and errs more often."""

    @property
    def metric(self) -> str:
        return "f1" if tag_schemes.is_scheme(self.labels or ()) else "token_accuracy"

    @property
    def metrics(self) -> Mapping[str, bool]:
        known = metrics.PARTS if tag_schemes.is_scheme(self.labels or ()) else metrics.TAGS
        return {**known, "loss": False}

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[TokenClassification, list[Choice]]:
        """The task with form, tags and their weights decided from the training rows."""
        form, choices = self.form or tagged_columns.form_of(rows, columns), []
        if self.form is None:
            choices.append(Choice("task.form", form, "inferred", FORMS[form]))
        listed = tagged_columns.tags_of(rows, columns.label[0], form)
        names = tagged_columns.tag_names(listed, rows, columns.label[0], form)
        if self.labels is None:
            kind = "tags that mark parts" if tag_schemes.is_scheme(names) else "tags that mark no parts (no B- and I-)"
            choices.append(Choice("task.labels", names, "inferred", f"{len(names)} {kind}"))
        else:
            names = label_reading.given_classes(self.labels, columns.label)
        position = {name: number for number, name in enumerate(names)}
        counted = np.array([position[tag] for tags in listed for tag in tags if tag in position], dtype=np.int64)
        weights = label_reading.class_weights(self.class_weights, counted, names)
        return dataclasses.replace(self, form=form, labels=names, class_weights=weights), choices

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.load import load

        assert self.labels is not None
        labels, quantised = self.labels, quantisation
        return load(
            name,
            labels=labels,
            targets=len(labels),
            problem="tagging",
            kind="TokenClassification",
            quantisation=quantised,
        )

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved

        return open_saved(folder, targets=len(self.labels or ()), kind="TokenClassification")

    def encode(self, rows: Rows, columns: Columns, processor: PreTrainedTokenizerBase) -> Examples:
        from whet.data.tokens import limit

        label = columns.label[0] if columns.label else None
        return self._tagger.encode(rows, columns.text[0], label, processor, limit(processor, self.max_length))

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        from whet.data.next_tokens import collate

        batch = collate(examples, indices)
        if (weights := self._weights()) is None or batch.targets is None:
            return batch
        learned = batch.targets[batch.targets >= 0].numpy()
        return dataclasses.replace(batch, weight=float(weights[learned].sum()))

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        import torch
        from torch.nn import functional

        assert batch.targets is not None
        logits = outputs["logits"].float().flatten(0, 1)
        weights = self._weights()
        weight = None if weights is None else torch.from_numpy(weights).to(logits)
        return functional.cross_entropy(
            logits, batch.targets.flatten(), weight=weight, reduction="sum", label_smoothing=self.label_smoothing
        )

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[Kept, float | None]:
        """Probabilities (C,) of all tags for each token that is no padding."""
        loss = None if batch.targets is None else float(self.loss(outputs, batch))
        read = batch.inputs["attention_mask"].bool()
        values = outputs["logits"][read].float().softmax(dim=-1).cpu().numpy()
        return Ragged(values, np.concatenate([[0], read.sum(dim=1).cumsum(0).cpu().numpy()])), loss

    def score(self, predictions: Kept, examples: Examples) -> Scores:
        return self._tagger.score(predictions, examples)

    def mark(self, predictions: Kept, examples: Examples, rows: Rows, columns: Columns) -> list[Answer]:
        return self._tagger.answer(predictions, examples, rows, columns.text[0])

    @property
    def _tagger(self) -> Tagger:
        from whet.data.tagged import Tagger

        assert self.form is not None
        return Tagger(self.form, self.labels or (), every=self.learn == "all")

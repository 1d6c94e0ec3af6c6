"""Classes, several classes, or a number for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.classification import Classification
from whet.core import Batch, Choice, Columns, Examples, Loaded, Problem, Quantisation, Rows
from whet.data.labelled import LabelledTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from whet.data.augment.texts import TextAugmentation


@dataclass(frozen=True, config=OPTIONS)
class TextClassification(LabelledTexts, Classification):
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

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[TextClassification, list[Choice]]:
        """The task with problem, labels and class weights decided from the training rows."""
        found, choices = self.decided(rows, columns, to_split=to_split)
        return dataclasses.replace(self, **found), choices

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.load import load

        assert self.problem is not None
        return load(name, labels=self.labels, targets=self.width, problem=self.problem, quantisation=quantisation)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved

        return open_saved(folder, targets=self.width)

    def encode(self, rows: Rows, columns: Columns, processor: PreTrainedTokenizerBase) -> Examples:
        from whet.data.tokens import limit, tokenise

        tokens = tokenise(rows, columns.text, processor, limit(processor, self.max_length))
        targets = self.targets(rows, columns)
        return Examples(tokens.inputs, targets, tokens.lengths, tokens.fills, tokens.truncated)

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        import torch

        from whet.data.batch import pad

        inputs = {n: torch.from_numpy(pad(values, indices, examples.fills[n])) for n, values in examples.inputs.items()}
        lengths = examples.lengths[indices]
        inputs["attention_mask"] = torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
        targets, weight = self.targets_of(examples, indices)
        return Batch(inputs, targets, weight, len(indices), int(lengths.sum()))

    @property
    def changes(self) -> Collection[str]:
        return ("synonyms", "word_list", "swap", "delete", "insert", "typos", "shuffle", "protect")

    def augmentation(
        self, options: Mapping[str, Any], rows: Rows, columns: Columns, loaded: Loaded
    ) -> TextAugmentation:
        from whet.data.augment.texts import TextAugmentation
        from whet.data.augment.words import synonyms

        unlabelled = Columns(columns.text, ())

        def join(changed: Examples, examples: Examples, indices: np.ndarray) -> Batch:
            assert isinstance(examples.targets, np.ndarray)
            joined = dataclasses.replace(changed, targets=examples.targets[indices])
            return self.collate(joined, np.arange(len(indices)))

        told = {name: value for name, value in options.items() if name not in ("word_list", "protect")}
        return TextAugmentation(
            **told,
            protect=frozenset(word.casefold() for word in options.get("protect", ())),
            near=synonyms(options, rows, columns, loaded),
            rows=rows,
            columns=columns,
            encode=lambda some: self.encode(some, unlabelled, loaded.processor),
            join=join,
        )

"""Classes, or several classes, or a number for a sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.classification import Classification
from whet.core import Batch, Choice, Columns, Examples, Loaded, Problem, Quantisation, Rows
from whet.data.labelled import LabelledFiles
from whet.hears import Hears

if TYPE_CHECKING:
    from torch import Tensor, nn

    from whet.data.augment.sounds import SoundAugmentation
    from whet.data.clips import Clips
    from whet.model.hearing import Hearing


@dataclass(frozen=True, config=OPTIONS)
class AudioClassification(Hears, LabelledFiles, Classification):
    """Audio classification: one class, several classes, or a number for a sound.

    Baevski et al. 2020, "wav2vec 2.0" (arXiv 2006.11477), for models that read waves; Gong et al. 2021, "AST" (arXiv
    2104.01778), for those that read spectrograms.

    A clip of S samples at the model's rate becomes x, (B, S) samples or (B, T, bins) of a spectrogram, and x becomes
    logits (B, C). A model for pictures reads P patches of each clip, three at least, (B P, 1, T, bins), and the clip's
    logits are the mean over its patches. One class: softmax and cross-entropy. Several classes (multi-label): sigmoid
    and binary cross-entropy per class. A number (regression): C = 1 and the squared error. Choose it for spoken
    commands, speakers, languages, music, and the sounds of machines and of nature. Rows are a folder for each class, a
    table with the paths of files, or a Parquet file that holds them.
    """

    problem: Problem | None = None
    """What is answered; inferred from the labels if not named."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Names of the classes in the order of the model's outputs; found in the training rows if not named."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds read of a clip; what is longer loses its end. A quarter more than the longest training clip has, at most
    30, if not named."""
    covered_seconds: Annotated[float, Field(gt=0)] | None = None
    """For a model of patches: seconds that those of a clip, spread evenly over it, have together. What nine of ten
    training clips have if not named; other models have no such thing."""
    feature_encoder: Literal["frozen", "trained"] = "frozen"
    """Whether the convolutions that read the wave first train too; in the paper they stay as they were pre-trained."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes (Szegedy et al. 2016); for a single label only."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Weight of each class in the loss; 'balanced' weighs by inverse frequency. Helps rare classes."""

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[AudioClassification, list[Choice]]:
        """The task with problem, labels, class weights and length decided from the training rows."""
        from whet.data.clips import seconds_for, usual_seconds

        found, choices = self.decided(rows, columns, to_split=to_split)
        if self.max_seconds is None:
            found["max_seconds"], why = seconds_for(rows, columns.text[0])
            choices.append(Choice("task.max_seconds", found["max_seconds"], "inferred", why))
        if self.covered_seconds is None:
            found["covered_seconds"] = usual_seconds(rows, columns.text[0])
        return dataclasses.replace(self, **found), choices

    def suited(self, model: nn.Module) -> tuple[AudioClassification, list[Choice]]:
        """The task without patches, where the model reads none."""
        from whet.model.hearing import reads_patches

        if not reads_patches(model):
            return dataclasses.replace(self, covered_seconds=None), []
        why = "patches for as much sound as nine of ten clips have"
        return self, [Choice("task.covered_seconds", self.covered_seconds, "inferred", why)]

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.hearing import sound_kind
        from whet.model.load import load

        assert self.problem is not None
        kind = sound_kind(name)
        return load(
            name, labels=self.labels, targets=self.width, problem=self.problem, kind=kind, quantisation=quantisation
        )

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.hearing import sound_kind
        from whet.model.saved import open_saved

        return open_saved(folder, targets=self.width, kind=sound_kind(str(folder)))

    def encode(self, rows: Rows, columns: Columns, processor: Hearing) -> Examples:
        from whet.data.clips import read

        assert self.max_seconds is not None
        clips = read(rows, columns.text[0], processor, self.max_seconds, self.covered_seconds)
        return dataclasses.replace(clips, targets=self.targets(rows, columns))

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        from whet.data.clips import batch_of

        targets, weight = self.targets_of(examples, indices)
        return Batch(batch_of(examples, indices), targets, weight, len(indices), 0)

    def augmentation(
        self, options: Mapping[str, Any], rows: Rows, columns: Columns, loaded: Loaded
    ) -> SoundAugmentation:
        from whet.data.augment.sounds import sound_augmentation

        def join(changed: Clips, examples: Examples, indices: np.ndarray) -> Batch:
            assert isinstance(examples.targets, np.ndarray)
            return self.collate(
                dataclasses.replace(changed, targets=examples.targets[indices]), np.arange(len(indices))
            )

        assert self.max_seconds is not None
        hearing, seconds = loaded.processor, self.max_seconds
        return sound_augmentation(options, rows, columns.text[0], hearing, seconds, self.covered_seconds, join)

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The sum over the clips."""
        return super().loss(_by_clip(outputs, batch), batch)

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[np.ndarray, float | None]:
        """(B, C) probabilities or (B,) numbers of the clips."""
        return super().predict(_by_clip(outputs, batch), batch)


def _by_clip(outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Logits (B, C): the mean over the patches of each clip, where there are several."""
    logits = outputs["logits"].float()
    return {"logits": logits if len(logits) == batch.rows else logits.view(batch.rows, -1, logits.shape[1]).mean(1)}

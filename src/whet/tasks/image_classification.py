"""Classes, several classes, or a number for a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.classification import Classification
from whet.core import Batch, Choice, Columns, Examples, Loaded, Medium, Problem, Processor, Quantisation, Rows
from whet.data.labelled import LabelledFiles

if TYPE_CHECKING:
    import numpy as np

    from whet.data.augment.pictures import PictureAugmentation


@dataclass(frozen=True, config=OPTIONS)
class ImageClassification(LabelledFiles, Classification):
    """Image classification: one class, several classes, or a number for a picture.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words" (arXiv 2010.11929); He et al. 2016, "Deep Residual Learning
    for Image Recognition" (arXiv 1512.03385).

    The model turns pixels (B, 3, H, W) into logits (B, C). One class: softmax and cross-entropy. Several classes
    (multi-label): sigmoid and binary cross-entropy per class. A number (regression): C = 1 and the squared error.
    Choose it to tell things, scenes, defects, species or documents apart. Rows are a folder for each class, a table
    with the paths of files, or a Parquet file that holds them. ``augment`` changes training pictures at random.
    """

    medium: ClassVar[Medium] = "picture"
    changes: ClassVar[tuple[str, ...]] = ("flip", "rotate", "crop", "colour", "erase", "mixup", "cutmix")

    problem: Problem | None = None
    """What is answered; inferred from the labels if not named."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Names of the classes in the order of the model's outputs; found in the training rows if not named."""
    size: Annotated[int, Field(ge=8, le=2048)] | None = None
    """Pixels a side of the squares that the model reads; the model's own if not named. Half of it takes a quarter
    of the time; convolutional models read any size, most transformers their own only."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes (Szegedy et al. 2016); for a single label only."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Weight of each class in the loss; 'balanced' weighs by inverse frequency. Helps rare classes."""

    def examine(self, rows: Rows, column: str) -> tuple[list[str], dict[int, str]]:
        from whet.data.pictures import examine

        return examine(rows, column)

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[ImageClassification, list[Choice]]:
        """The task with problem, labels and class weights decided from the training rows."""
        found, choices = self.decided(rows, columns, to_split=to_split)
        return dataclasses.replace(self, **found), choices

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.data.sight import with_size
        from whet.model.load import load

        assert self.problem is not None
        loaded = load(
            name,
            labels=self.labels,
            targets=self.width,
            problem=self.problem,
            kind="ImageClassification",
            quantisation=quantisation,
        )
        return with_size(loaded, self.size)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved

        return open_saved(folder, targets=self.width, kind="ImageClassification")

    def encode(self, rows: Rows, columns: Columns, processor: Processor) -> Examples:
        from whet.data.pictures import read_pictures

        return read_pictures(rows, columns.text[0], processor, self.targets(rows, columns))

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        from whet.data.pictures import PIXELS, Pictures

        assert isinstance(examples, Pictures)
        pixels = examples.normalised(examples.pixels(indices))
        targets, weight = self.targets_of(examples, indices)
        return Batch({PIXELS: pixels}, targets, weight, len(indices), 0)

    def augmentation(
        self, options: Mapping[str, Any], rows: Rows, columns: Columns, loaded: Loaded
    ) -> PictureAugmentation:
        from whet.data.augment.pictures import PictureAugmentation

        classes = self.width if self.problem == "single_label" else None
        return PictureAugmentation(**options, classes=classes, weight_of=self.weight_of)

"""What variants fulfil: the two protocols of methods and tasks, and what some of them can do besides.

Shape letters are those of ``whet.core``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from whet.core import (
    Answer,
    Batch,
    Choice,
    Columns,
    Cost,
    Defaults,
    Examples,
    Kept,
    Loaded,
    Mask,
    Medium,
    Parts,
    Problem,
    Processor,
    Quantisation,
    Rows,
    Scores,
    Stage,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


COMPLETE = "fill them in, or leave these rows out with --set data.incomplete=drop"
"""The way out for rows of a training file that lack something."""


class Method(Protocol):
    """A way to fine-tune: a frozen dataclass in ``methods/<name>.py`` whose fields are its options."""

    defaults: ClassVar[Defaults]
    keeps_base: ClassVar[bool]
    """True where the artefact is an adapter that needs its base model."""

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """Insert what the method inserts and return the model to train; raises ModelError where it cannot work."""
        ...

    def stages(self, parts: Parts) -> list[Stage]:
        """What trains when, for the parts of the model that ``attach`` returned."""
        ...

    def merge(self, model: nn.Module) -> nn.Module:
        """Back to a plain model; raises ModelError where that cannot be."""
        ...

    def cost(self, parts: Parts) -> Cost:
        """Counts for a model with these parts, taken before ``attach``."""
        ...


@runtime_checkable
class Quantising(Protocol):
    """A method whose base is kept in 4 bits: it is quantised while it is read, so it is never whole in memory."""

    @property
    def quantisation(self) -> Quantisation:
        """How the base is kept."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """A method with options of its own that are worth searching."""

    searched: ClassVar[Mapping[str, str]]
    """Option to the values that a search tries, as one writes them behind ``--space method.OPTION=``."""


@runtime_checkable
class Worded(Protocol):
    """A method that can start from words."""

    def word(self, model: nn.Module, read: Callable[[str], list[int]] | None) -> None:
        """Let what ``attach`` inserted start from the words that the options name, if they do.

        ``read`` makes token numbers of a text; None where the model reads none. Raises ModelError.
        """
        ...


class Task(Protocol):
    """A kind of problem: a frozen dataclass in ``tasks/<name>.py`` whose fields are its options."""

    @property
    def problem(self) -> Problem | None:
        """What is answered; scores and baselines depend on it. None before ``fit_to``."""
        ...

    @property
    def metric(self) -> str:
        """The metric that picks the best weights unless the recipe names one."""
        ...

    @property
    def metrics(self) -> Mapping[str, bool]:
        """Every metric that ``score`` returns, and whether more is better."""
        ...

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        """Which columns play which part, and why; those that are named are only checked. Raises DataError."""
        ...

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        """The rows that have all that is needed, and how many others there were.

        Raises DataError that names these with their places and the way out, unless ``drop``. Rows that are not
        ``labelled`` are to be answered.
        """
        ...

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[Task, list[Choice]]:
        """This task with everything that it left open decided from the training rows, and each decision's reason.

        ``to_split`` says that these rows are still to be split. Raises DataError for labels that cannot work.
        """
        ...

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        """The pre-trained model with a head for this task, its blocks quantised if so asked; raises ModelError."""
        ...

    def open_saved(self, folder: Path) -> Loaded:
        """A fine-tuned model from a run's model folder; raises ModelError."""
        ...

    def suited(self, model: nn.Module) -> tuple[Task, list[Choice]]:
        """This task as the model with its method attached can do it, and what that changes."""
        ...

    def encode(self, rows: Rows, columns: Columns, processor: Processor) -> Examples:
        """Rows as the model reads them; raises DataError naming rows that cannot be used."""
        ...

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        """The examples at ``indices``, padded to the longest of them."""
        ...

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The *sum* of the losses of the batch; the engine divides by the weight of the whole step."""
        ...

    def computing(self, model: nn.Module) -> AbstractContextManager[object]:
        """Holds wherever the engine computes the model's outputs and reads them; a chance to compute less."""
        ...

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[Kept, float | None]:
        """What ``score`` and ``answer`` need to keep of a batch's B rows, and the loss of a labelled one."""
        ...

    def score(self, predictions: Kept, examples: Examples) -> Scores:
        """All metrics of the predictions for N rows against the targets."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A task that has something to say of the rows as the model reads them."""

    def told(self, examples: Mapping[str, Examples]) -> list[Choice]:
        """What happened to the rows of each split, as decisions with their reasons."""
        ...


@runtime_checkable
class Sparing(Protocol):
    """A task that leaves a part of a pre-trained model as it is, whatever the method trains."""

    def spared(self, parts: Parts) -> Mask:
        """Parameters that do not train, of a model with its method attached."""
        ...


class AnyModel:
    """What a task need not say that takes every model and all of its outputs."""

    def suited(self, model: nn.Module) -> tuple[Self, list[Choice]]:
        """The very task."""
        return self, []

    def computing(self, model: nn.Module) -> AbstractContextManager[object]:
        """Nothing is left out."""
        return nullcontext()


@runtime_checkable
class Answering(Protocol):
    """A task whose answers can be read from what ``predict`` keeps."""

    def answer(self, predictions: np.ndarray) -> list[Answer]:
        """(N, ...) predictions in the words of the data."""
        ...


@runtime_checkable
class Marking(Protocol):
    """A task whose answers are parts of the rows."""

    def mark(self, predictions: Kept, examples: Examples, rows: Rows, columns: Columns) -> list[Answer]:
        """Predictions in the words of the data: what of each row is what."""
        ...


@runtime_checkable
class Agreeing(Protocol):
    """A task that may answer with a distribution over classes, so that two answers to the same rows can be compared."""

    @property
    def distributes(self) -> bool:
        """Whether it does, as it is decided now."""
        ...

    def apart(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The *sum* over the batch of (KL(p, q) + KL(q, p)) / 2, where p and q are what two outputs say; weighted as
        the loss is."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """A task that leaves open what only a model and its tokenizer can tell of the rows."""

    def measured(self, rows: Rows, columns: Columns, loaded: Loaded) -> tuple[Task, list[Choice]]:
        """This task with the rest decided from the training rows, and each decision's reason."""
        ...


@runtime_checkable
class Transcribing(Protocol):
    """A task that writes down what is said, whichever way."""

    def references(self, rows: Rows, columns: Columns) -> list[str]:
        """What rows hold, as transcripts are compared with it."""
        ...


@runtime_checkable
class Generating(Protocol):
    """A task whose answers are texts that the model writes, token after token."""

    @property
    def samples(self) -> int:
        """How many rows of a finished run are answered and compared; each takes many passes through the model."""
        ...

    def write(self, model: nn.Module, processor: Processor, rows: Rows, columns: Columns) -> list[Answer]:
        """A text for every row; its labels are not read."""
        ...

    def openings(self, rows: Rows, columns: Columns) -> Rows:
        """Rows as one would ask with them: of what is to be gone on with, the beginning."""
        ...

    def compare(self, answers: Sequence[Answer], rows: Rows, columns: Columns) -> Scores:
        """Metrics of texts against those that the rows hold; none where they hold none."""
        ...

    def illustrate(self, examples: Examples, processor: Processor) -> list[tuple[str, bool]]:
        """The first example as the model reads it, in pieces that are learned and pieces that are not."""
        ...


@runtime_checkable
class ReadingFiles(Protocol):
    """A task whose rows are files, or name them."""

    @property
    def medium(self) -> Medium:
        """What the files hold."""
        ...


Draws: TypeAlias = Sequence[np.random.Generator]
"""(B,) the random numbers of some rows. They follow from the seed, the epoch and the row alone: micro-batches, more
processes, and taking up a run again change nothing."""


class Augmentation(Protocol):
    """Random changes of training rows, with everything decided."""

    def collate(self, examples: Examples, indices: np.ndarray, draws: Draws) -> Batch:
        """As a task's ``collate``; what becomes of each row is drawn from its own random numbers."""
        ...

    def illustrate(self, examples: Examples, draws: Callable[[int, np.ndarray], Draws], folder: Path) -> str:
        """Show a few rows as the model will see them, in a file of ``folder`` or in words; returns what to tell.

        ``draws`` takes an epoch and row numbers.
        """
        ...


@runtime_checkable
class Augmenting(Protocol):
    """A task that can change its training rows at random."""

    @property
    def changes(self) -> Collection[str]:
        """The options of a recipe's section ``augment`` that it knows."""
        ...

    def augmentation(self, options: Mapping[str, Any], rows: Rows, columns: Columns, loaded: Loaded) -> Augmentation:
        """What changes these training rows; ``options`` are those that the recipe sets. Raises RecipeError."""
        ...

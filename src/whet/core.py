"""The nouns that every part of whet shares.

Nothing here imports torch, so a recipe can be checked in a blink. This module knows no file format, no
architecture, no method and no task.

Shape letters, the same in every docstring of the project:
``N`` rows of a data set, ``B`` rows of a batch, ``T`` tokens of its longest row, ``C`` classes or targets,
``L`` blocks of a model, ``D`` its width, ``r`` rank.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

Block: TypeAlias = tuple[str, ...]
"""Names of the modules that make up one block, in execution order; mostly a single name."""

Mask: TypeAlias = frozenset[str]
"""Names of the parameters that train; everything else is frozen."""

Scores: TypeAlias = dict[str, float]
"""Metric name to value."""

Problem: TypeAlias = Literal[
    "single_label", "multi_label", "regression", "next_token", "tagging", "target_text", "transcript"
]

Medium: TypeAlias = Literal["picture", "sound"]
"""What the files hold that rows name."""

Processor: TypeAlias = Any
"""What turns rows into a model's input: a tokenizer, an image processor or a feature extractor of transformers, which
have ``save_pretrained`` in common and nothing else."""

Kept: TypeAlias = Any
"""What a task keeps of a model's outputs: an array of (N, ...) numbers, or a ``Ragged`` of N rows with numbers for each
token."""

Origin: TypeAlias = Literal["given", "default", "inferred"]


# --- decisions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One value of a recipe, who chose it, and why."""

    path: str
    """Dotted path in the recipe, such as ``data.label``."""
    value: object
    origin: Origin
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that a check noticed, with what shows it and what to do."""

    id: str
    """Of the check, such as ``R001``."""
    severity: Literal["error", "warning", "note"]
    what: str
    """One sentence that names the value."""
    evidence: str
    """The numbers that it rests on."""
    fix: str
    """The way out, as one would type it where that is possible."""


# --- data -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """A table of N rows, by column, that remembers where each row came from."""

    columns: dict[str, list[object]]
    source: str
    """What to call it in a message: a file name, mostly."""
    places: Sequence[int]
    """Line or record number of every row in its source, counted from 1 as an editor shows it."""
    folder: Path | None = None
    """Where paths in its cells start; None is the current folder."""
    content: Sequence[str] | None = None
    """What the files of each row hold, in a digest; None where its cells say all."""

    def __len__(self) -> int:
        return len(self.places)

    def take(self, indices: Iterable[int]) -> Rows:
        """The rows at ``indices``, in that order."""
        chosen = list(indices)
        columns = {name: [values[i] for i in chosen] for name, values in self.columns.items()}
        content = None if self.content is None else [self.content[i] for i in chosen]
        return replace(self, columns=columns, places=[self.places[i] for i in chosen], content=content)


@dataclass(frozen=True)
class Columns:
    """Which column plays which part."""

    text: tuple[str, ...]
    """What the model reads: one column, or two for a pair of texts, or for an instruction and its input."""
    label: tuple[str, ...]
    """What it answers: one column; several 0/1 columns for multi-label data; none where the text itself is learned,
    and where there are no labels."""
    group: str | None = None
    """Rows with the same value here never stand on two sides of a split."""


@dataclass(frozen=True)
class Ragged:
    """N rows of different lengths in one flat array, mostly of integers: no padding is stored."""

    values: np.ndarray
    """(T, ...) with T as long as all rows together."""
    starts: np.ndarray
    """N + 1 offsets: row i is ``values[starts[i]:starts[i + 1]]``."""

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]], dtype: type[np.integer] = np.int32) -> Ragged:
        """The rows in one array; raises OverflowError for a number that ``dtype`` cannot hold."""
        listed = list(rows)
        starts = np.zeros(len(listed) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in listed], out=starts[1:])
        # Number by number: an array for each row takes far more room than the numbers in it.
        return cls(np.fromiter(itertools.chain.from_iterable(listed), dtype, count=int(starts[-1])), starts)

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The rows of all parts, one part after the other."""
        if not parts:
            return cls.of([])
        lengths = np.concatenate([part.lengths for part in parts])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return cls(np.concatenate([part.values for part in parts]), starts)

    def take(self, indices: np.ndarray) -> Ragged:
        """The rows at ``indices``, in that order."""
        lengths = self.lengths[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.repeat(self.starts[indices] - starts[:-1], lengths) + np.arange(starts[-1])
        return Ragged(self.values[positions], starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.starts[index] : self.starts[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


@dataclass(frozen=True)
class Examples:
    """Rows as a model reads them: tokenised once, kept compact, not yet padded."""

    inputs: dict[str, Ragged]
    """Name of the model's argument to its values."""
    targets: np.ndarray | Ragged | None
    """(N,) class numbers or values, (N, C) zeros and ones for multi-label data, or N rows with a target for each
    token; None where unlabelled."""
    lengths: np.ndarray
    """(N,) how much work a row is: its tokens."""
    fills: dict[str, int]
    """Name of the model's argument to the value that pads it."""
    truncated: int = 0
    """Rows that were longer than the limit and lost their end."""
    reading: str = ""
    """How the values become the model's input, where a batch is not just the values: stored outputs depend on it."""
    beside: Mapping[str, Ragged] = field(default_factory=dict)
    """What scores and answers need of the rows and the model does not read, by names of the task's own."""

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True)
class Batch:
    """B examples, padded to the longest of them, as tensors."""

    inputs: dict[str, Tensor]
    targets: Tensor | None
    weight: float
    """What the batch counts for in a mean: its rows, its tokens, or the sum of its class weights."""
    rows: int
    tokens: int
    """Tokens without padding; 0 where rows are pictures or sounds."""

    def to(self, device: torch.device) -> Batch:
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(inputs, targets, self.weight, self.rows, self.tokens)


@dataclass(frozen=True)
class Entity:
    """A part of a text and what it is."""

    text: str
    label: str
    start: int
    """Where it begins, in characters."""
    end: int
    """Where the next part would begin."""
    probability: float


@dataclass(frozen=True)
class Answer:
    """What the model says about one row."""

    label: str | float | list[str] | list[Entity]
    """A class, a number, all classes that apply, a text that the model wrote, the tag of each word, or the parts of a
    text."""
    scores: Scores
    """Probability of every class; empty for a number, for a text and for parts of one."""


# --- models ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """A model as whet sees it: what comes before the blocks, the blocks in execution order, what comes after.

    Names are those of ``model.named_modules()`` and ``model.named_parameters()`` of the very model the parts were
    taken from; after a method has wrapped the model, take them anew.
    """

    family: str
    """``config.model_type``: bert, gpt2, t5, ..."""
    stem: tuple[str, ...]
    """Modules before the first block: embeddings, patch or feature extractors; both sides of an encoder-decoder."""
    blocks: tuple[Block, ...]
    final_norm: tuple[str, ...]
    """Modules of the pre-trained body after the last block."""
    head: tuple[str, ...]
    """Modules that turn the body's output into an answer: pooler, projector, classifier, language-model head."""
    parameters: Mapping[str, tuple[int, ...]]
    """Shape of every parameter by name; a tied one is listed once, a quantised one as what it stands for."""
    linear: Mapping[str, tuple[int, int]]
    """Width in and width out of every linear layer by module name, wherever it stands."""
    grouped: tuple[str, ...] = ()
    """Convolutions of which an output reads only a group of the inputs, by module name."""
    tokens: tuple[str, ...] = ()
    """Tables of token vectors by module name; none where a model reads pictures or sound."""
    attention: Mapping[str, int] = field(default_factory=dict)
    """Width of the keys, all heads together, by module name of each block's self-attention; blocks without attention,
    and with one that nobody can add keys to, are left out."""
    fresh: tuple[str, ...] = ()
    """Parameters that no pre-trained weight filled: they start random, so every method trains and saves them."""
    settled: tuple[str, ...] = ()
    """Batch norms whose running statistics are pre-trained: they normalise by these in training too."""
    speaks: bool = False
    """Whether the head is one for the whole vocabulary, which was pre-trained with the body."""

    @property
    def always(self) -> Mask:
        """What every method trains: a head for the answers of a task, and whatever starts random."""
        return frozenset(self.fresh) if self.speaks else self.answers

    @property
    def answers(self) -> Mask:
        """The whole head, and whatever starts random."""
        return self.under(self.head) | frozenset(self.fresh)

    def under(self, modules: Iterable[str]) -> Mask:
        """The parameters of ``modules`` and of all that is below them."""
        prefixes = tuple(f"{name}." for name in modules)
        exact = {prefix[:-1] for prefix in prefixes}
        return frozenset(name for name in self.parameters if name.startswith(prefixes) or name in exact)

    def count(self, mask: Mask) -> int:
        """How many numbers the parameters of ``mask`` hold."""
        return sum(int(np.prod(self.parameters[name])) for name in mask)

    def depth(self, parameter: str) -> int:
        """Where a parameter stands: 0 in the stem, i + 1 in block i, L + 1 in the final norm and the head."""
        for position, block in enumerate(self.blocks):
            if any(parameter.startswith(f"{name}.") for name in block):
                return position + 1
        if any(parameter.startswith(f"{name}.") or parameter == name for name in self.stem):
            return 0
        return len(self.blocks) + 1


@dataclass(frozen=True)
class Loaded:
    """A pre-trained model and what turns rows into its input."""

    model: PreTrainedModel
    processor: Processor
    name: str
    """What to call it, and what loads it again."""
    source: Literal["embedded", "folder", "hub"]
    fresh: tuple[str, ...]
    """Parameters that no weight filled."""


@dataclass(frozen=True)
class Quantisation:
    """How the weights of a frozen base are kept in 4 bits a number."""

    kind: Literal["nf4", "fp4"] = "nf4"
    """The 16 values that a number can have, times the scale of its block."""
    double: bool = True
    """Whether the scales of the blocks are quantised too."""


@dataclass(frozen=True)
class Stage:
    """A stretch of a run during which one mask holds."""

    name: str
    share: float
    """Share of the run's steps, in (0, 1]; the shares of a method's stages add up to 1."""
    mask: Mask
    learning_rate_scale: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    """Parameters of the mask that learn faster or slower than the rest, by name, and how many times."""
    undecayed: Mask = frozenset()
    """Parameters without weight decay beside biases and norms: vectors in the shape of a matrix."""
    standardised: bool = False
    """Whether a linear layer that is all that trains reads numbers of mean 0 and deviation 1 meanwhile; afterwards its
    weights take that over. For a method of one stage."""


@dataclass(frozen=True)
class Cost:
    """Exact counts of numbers (not bytes; one in 4 bits is one) that a method needs, from a model's shapes alone."""

    trainable: int
    stored: int
    """Numbers in the artefact that the method leaves behind, beside the base model where it needs one."""
    total: int
    """Numbers in the whole model while it trains."""


@dataclass(frozen=True)
class Defaults:
    """What a method trains with unless the recipe says otherwise, found by measuring on real data."""

    learning_rate: float
    schedule: str
    warmup: float
    """Share of the steps."""
    settled_steps: int = 1
    """Steps of a run from which the learning rate is right; a shorter one learns faster (``rate_for``)."""
    epochs: int = 3
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    """Factor on the learning rate for each block further from the head."""
    dropout: float | None = None
    """Dropout probability for the whole model; None keeps the model's own."""

    def rate_for(self, steps: int) -> float:
        """The learning rate for a run of so many steps: a short run has to go as far in fewer steps.

        ``learning_rate * sqrt(settled_steps / steps)``, to two digits, at most twice the learning rate.
        """
        faster = min(2.0, max(1.0, (self.settled_steps / steps) ** 0.5))
        return float(f"{self.learning_rate * faster:.2g}")

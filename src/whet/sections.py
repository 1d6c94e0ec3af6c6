"""What a recipe can say: its sections, every option with its type, its bounds and its help.

The options of methods and tasks are not here: they live in the file of the method or task.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from whet.errors import did_you_mean


class Section(BaseModel):
    """A part of a recipe: frozen, and nothing in it is ignored."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )


# --- schedules ------------------------------------------------------------------------------------------------


class Constant(Section):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class Linear(Section):
    """Down to ``final`` in a straight line."""

    name: Literal["linear"] = "linear"
    final: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""


class Cosine(Section):
    """Down to ``final`` along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    name: Literal["cosine"] = "cosine"
    final: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""


class StepDecay(Section):
    """Multiplied by ``factor`` after each ``every`` of the run."""

    name: Literal["step"] = "step"
    every: float = Field(1 / 3, gt=0, lt=1)
    """Share of the run between two drops."""
    factor: float = Field(0.1, gt=0, lt=1)
    """What a drop multiplies the learning rate by."""


class Cyclic(Section):
    """Up and down in triangles (Smith 2017, arXiv 1506.01186)."""

    name: Literal["cyclic"] = "cyclic"
    cycles: int = Field(3, ge=1)
    """Triangles in the run."""
    lowest: float = Field(0.1, ge=0, lt=1)
    """Learning rate at the foot of a triangle, as a share of the peak."""


class OneCycle(Section):
    """Up once, down once, momentum the other way round (Smith and Topin 2018, arXiv 1708.07120)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(0.3, gt=0, lt=1)
    """Share of the run in which the learning rate rises."""
    start: float = Field(0.04, ge=0, lt=1)
    """Learning rate at the first step, as a share of the peak."""
    final: float = Field(0.0001, ge=0, lt=1)
    """Learning rate at the end, as a share of the peak."""
    lowest_momentum: float = Field(0.85, ge=0, lt=1)
    """Momentum (AdamW: the first beta) at the peak of the learning rate."""
    highest_momentum: float = Field(0.95, ge=0, lt=1)
    """Momentum at both ends."""


class SlantedTriangular(Section):
    """A short rise and a long fall (Howard and Ruder 2018, arXiv 1801.06146)."""

    name: Literal["slanted_triangular"] = "slanted_triangular"
    cut: float = Field(0.1, gt=0, lt=1)
    """Share of the run in which the learning rate rises."""
    ratio: float = Field(32.0, gt=1)
    """How much smaller the lowest learning rate is than the peak."""


class Plateau(Section):
    """Multiplied by ``factor`` whenever the validation score has stopped to improve."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.5, gt=0, lt=1)
    """What a drop multiplies the learning rate by."""
    patience: int = Field(1, ge=0)
    """Evaluations without a better score before a drop."""


SCHEDULES: dict[str, type[Section]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "step": StepDecay,
    "cyclic": Cyclic,
    "one_cycle": OneCycle,
    "slanted_triangular": SlantedTriangular,
    "plateau": Plateau,
}
RISING = ("one_cycle", "slanted_triangular")
"""Schedules that begin with a rise of their own, so that a warm-up before them makes no sense."""


def _schedule_by_name(value: object) -> object:
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, Mapping) and "name" not in value:
        raise ValueError(f"has no name; known are: {', '.join(SCHEDULES)}")
    if isinstance(value, Mapping) and (name := str(value["name"])) not in SCHEDULES:
        raise ValueError(f"is not a schedule{did_you_mean(name, SCHEDULES)}")
    return value


_WithOptions: TypeAlias = Annotated[
    Constant | Linear | Cosine | StepDecay | Cyclic | OneCycle | SlantedTriangular | Plateau,
    Field(discriminator="name"),
]
ScheduleName: TypeAlias = Literal[
    "constant", "linear", "cosine", "step", "cyclic", "one_cycle", "slanted_triangular", "plateau"
]
Schedule: TypeAlias = Annotated[
    _WithOptions, BeforeValidator(_schedule_by_name, json_schema_input_type=ScheduleName | _WithOptions)
]


def _off(value: object) -> object:
    # YAML takes a bare off for a truth value.
    return "off" if str(value) == "false" else value


_Cache: TypeAlias = Literal["auto", "memory", "off"]
Cache: TypeAlias = Annotated[_Cache, BeforeValidator(_off, json_schema_input_type=_Cache)]


# --- columns --------------------------------------------------------------------------------------------------


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _column(value: object) -> object:
    """A header may call a column by a number."""
    return str(value) if isinstance(value, int) else value


def _columns(value: object) -> object:
    names = [_column(name) for name in _listed(value)]
    if value is None:
        return None
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("should be the name of a column, or a list of names")
    if len(set(names)) < len(names):
        raise ValueError("names a column twice")
    return names if isinstance(value, list) else names[0]


def _texts(value: object) -> object:
    if len(_listed(value)) > 2:
        raise ValueError("names more than two columns; a row has one text, or two for pairs")
    return _columns(value)


def _delimiter(value: object) -> object:
    value = "\t" if value in ("tab", "\\t") else value
    if isinstance(value, str) and len(value) != 1:
        raise ValueError("should be a single character, or tab")
    return value


Names: TypeAlias = str | list[str] | None


# --- heads ----------------------------------------------------------------------------------------------------

BENDING = ("relu", "gelu", "silu", "tanh")


def _head(value: object) -> object:
    if value is None:
        return None
    layers = _listed(value)
    known = f"widths, {', '.join(BENDING)} and dropout with a share, such as [256, gelu, dropout 0.2]"
    if not layers:
        raise ValueError(f"should be a list of layers: {known}")
    if strange := [layer for layer in layers if not _is_layer(layer)]:
        raise ValueError(f"should hold layers, and {strange[0]!r} is none; known are {known}")
    return layers


def _is_layer(layer: object) -> bool:
    if isinstance(layer, str):
        return layer in BENDING or re.fullmatch(r"dropout 0?\.\d*[1-9]\d*", layer) is not None
    return isinstance(layer, int) and layer > 0


# --- sections -------------------------------------------------------------------------------------------------


class Surgery(Section):
    """What is changed in the pre-trained model before anything trains."""

    drop_blocks: int = Field(0, ge=0)
    """How many of the last blocks are removed: a smaller and faster model, for some loss of quality."""
    insert: int = Field(0, ge=0)
    """How many blocks are added, spread evenly, each a copy of the one below it that adds nothing at first, so that the
    model answers as before (block expansion, Wu et al. 2024, arXiv 2401.02415). Every method trains them; ``head``
    trains nothing else of the body, as in the paper. For models with a norm before each layer: Llama, GPT-2, ViT."""
    reinitialise: int = Field(0, ge=0)
    """How many of the last blocks that are left start from random weights: helps where they are too specialised."""
    head: Annotated[list[int | str] | None, BeforeValidator(_head)] = None
    """Layers in front of a new last one, such as [256, gelu, dropout 0.2]: numbers are widths. Helps where one linear
    layer over the features is too little; whoever loads the model needs whet."""


class Data(Section):
    """Which rows, and which column is what."""

    train: str
    """A file (csv, tsv, json, jsonl, parquet), a folder, or hub:owner/name."""
    validation: str | None = None
    """A file of rows that choose the best weights; without it they are split from train."""
    test: str | None = None
    """A file of rows that are measured once, at the end; without it they are split from train."""
    text: Annotated[Names, BeforeValidator(_texts, json_schema_input_type=Names)] = None
    """Column of the text, or two columns for pairs of texts."""
    label: Annotated[Names, BeforeValidator(_columns, json_schema_input_type=Names)] = None
    """Column of the answer, or several columns of zeros and ones for multi-label data."""
    group: Annotated[str | None, BeforeValidator(_column, json_schema_input_type=str | None)] = None
    """Rows with the same value in this column stay on one side of a split."""
    split: Annotated[str | None, BeforeValidator(_column, json_schema_input_type=str | None)] = None
    """Column that says of every row whether it trains, validates or tests; found by its name and its values if not
    named. With 'random' the sides are drawn, whatever the rows say."""
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of the rows that is split off for validation where no file is named."""
    test_share: float = Field(0.1, ge=0, lt=1)
    """Share of the rows that is split off for the test where no file is named; 0 makes none."""
    encoding: str | None = None
    """Encoding of csv and tsv files, such as cp949; utf-8 if not named."""
    delimiter: Annotated[str | None, BeforeValidator(_delimiter, json_schema_input_type=str | None)] = None
    """Character between the cells of csv files, or 'tab'; found in the header if not named."""
    split_seed: int | None = Field(None, ge=0, lt=2**32)
    """Seed by which rows are split off, so that runs with other seeds keep the same rows; `seed` if not named."""
    incomplete: Literal["refuse", "drop"] = "refuse"
    """What to do with rows without a text or a label."""


def _range(value: object) -> object:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value):
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("should be two shares, the smaller one first, above 0 and up to 1, such as [0.6, 1.0]")
    elif value is not None:
        raise ValueError("should be a list of two shares, such as [0.6, 1.0]")
    return value


class Augment(Section):
    """Random changes of training rows, drawn anew in every epoch; without a word of them there are none."""

    synonyms: float = Field(0.0, ge=0, le=1)
    """Texts: probability that a word is replaced by one of like meaning: one of ``word_list``, or one whose vector is
    near in the model's own table of tokens, which may be an opposite, so look at the examples."""
    word_list: str | None = None
    """Texts: a csv file in which each line holds words that can replace each other, instead of the model's table."""
    swap: float = Field(0.0, ge=0, le=1)
    """Texts: probability that a word changes places with another."""
    delete: float = Field(0.0, ge=0, lt=1)
    """Texts: probability that a word is left out."""
    insert: float = Field(0.0, ge=0, le=1)
    """Texts: probability that a word is said twice, the second time by a synonym where one is known."""
    typos: float = Field(0.0, ge=0, le=1)
    """Texts: probability that a word is misspelt: two letters exchanged, one left out, or one twice."""
    shuffle: float = Field(0.0, ge=0, le=1)
    """Texts: probability that the sentences of a text come in another order."""
    protect: list[str] = []
    """Texts: words that nothing happens to; words of negation and numbers are protected already."""

    flip: float = Field(0.0, ge=0, le=1)
    """Pictures: probability of being mirrored, left to right."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Pictures: most degrees of a turn, to either side."""
    crop: Annotated[list[float] | None, BeforeValidator(_range)] = None
    """Pictures: least and largest share of the area that is cut out and stretched to the whole, such as [0.6, 1.0]."""
    colour: float = Field(0.0, ge=0, lt=1)
    """Pictures: how far brightness, contrast and saturation go, up or down, such as 0.3."""
    erase: float = Field(0.0, ge=0, le=1)
    """Pictures: probability that a rectangle becomes noise (Zhong et al. 2020, arXiv 1708.04896)."""
    mixup: float = Field(0.0, ge=0, le=10)
    """Pictures: alpha of the Beta distribution by which two rows and their labels are blended, such as 0.2 (Zhang et
    al. 2018, arXiv 1710.09412)."""
    cutmix: float = Field(0.0, ge=0, le=10)
    """Pictures: alpha of the Beta distribution of the part that is replaced by a piece of another row, with the same
    part of its label, such as 1.0 (Yun et al. 2019, arXiv 1905.04899); beside mixup each row has one of the two."""

    gain: float = Field(0.0, ge=0, le=40)
    """Sounds: most decibels by which one becomes louder or quieter, such as 6."""
    noise: float | None = Field(None, ge=0, le=60)
    """Sounds: decibels by which white noise is quieter than the sound at least, such as 15; at most 20 more."""
    shift: float = Field(0.0, ge=0, lt=1)
    """Sounds: largest share of its length by which one is moved in time, to either side."""
    speed: float = Field(0.0, ge=0, le=0.5)
    """Sounds: most by which one is played faster or slower, and higher or lower with it, such as 0.1."""
    mask_time: float = Field(0.0, ge=0, le=0.5)
    """Sounds: longest share of a clip that is blanked out, twice (Park et al. 2019, arXiv 1904.08779)."""
    mask_bands: float = Field(0.0, ge=0, le=0.5)
    """Sounds: widest share of the frequencies of a spectrogram that is blanked out, twice; nothing for waves."""


def _truth(value: object) -> object:
    """A truth value, which comes in a cover (``catalog.Truth``) so that no number takes it for 1."""
    return {"true": True, "false": False}.get(repr(value), value)


class Training(Section):
    """How to train; what is left out comes from the method's own defaults."""

    epochs: int | None = Field(None, ge=1)
    """Passes over the training rows."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps in all, instead of epochs."""
    batch_size: int = Field(16, ge=1)
    """Rows per optimiser step."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rows per forward pass: less memory, the same result; the whole batch if not named."""
    gradient_checkpointing: Annotated[bool, BeforeValidator(_truth, json_schema_input_type=bool)] = False
    """Whether blocks compute their inner values a second time when gradients are due instead of keeping them: much less
    memory, about a third more time, the same result."""
    learning_rate: float | None = Field(None, gt=0, lt=10)
    """Peak learning rate of the head; lower layers follow by layer_decay."""
    schedule: Schedule | None = None
    """Course of the learning rate: a name, or a name with options."""
    warmup: float | None = Field(None, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with momentum."""
    momentum: float | None = Field(None, ge=0, lt=1)
    """Momentum of sgd."""
    weight_decay: float | None = Field(None, ge=0, lt=1)
    """Decoupled weight decay; biases and norms have none."""
    l2_sp: float | None = Field(None, gt=0)
    """Decay towards the pre-trained weights instead of towards zero (L2-SP, Li et al. 2018), such as 1; what starts
    random keeps its weight decay. Helps on few rows."""
    average: float | None = Field(None, gt=0, le=1)
    """Share of the run, at its end, over which weights are averaged, such as 0.5 (stochastic weight averaging, Izmailov
    et al. 2018). The mean is tried on the validation rows after the last step and stays where it is better."""
    mixes: list[Annotated[float, Field(gt=0, lt=1)]] = []
    """Shares of the trained weights, such as [0.5, 0.75], in mixes with the pre-trained ones that are tried on the
    validation rows after the last step (WiSE-FT, Wortsman et al. 2022). The best stays, mix or not."""
    r_drop: float | None = Field(None, gt=0)
    """Weight of how far two passes over the same rows, each with its own dropout, are apart (R-Drop, Liang et al. 2021,
    arXiv 2106.14448), such as 1. For few rows, and answers that are classes; a step takes twice the time and memory."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Factor on the learning rate for each block further from the head; 1 is the same rate everywhere."""
    max_gradient_norm: float | None = Field(1.0, gt=0)
    """Gradients are scaled down to this norm; null never scales."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout probability for the whole model; the model's own if not named."""
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of matrix products; what was measured to be fast on this machine if not named."""
    cache: Cache = "auto"
    """Where outputs of frozen layers are kept: on the disk, and in memory where it has no room; in memory; nowhere."""
    metric: str | None = None
    """Metric on the validation rows that picks the best weights; the task's own if not named."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without a better score before the run stops early; null never stops early."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between two evaluations; once per epoch if not named."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between two checkpoints; after each evaluation if not named."""
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = []
    """Who else is told of steps and scores: tensorboard (kept in the run folder), mlflow, wandb; each has to be
    installed."""

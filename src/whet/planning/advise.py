"""Which method to use: facts in, advice out, by a table of rules of which the first that holds decides.

Each rule says what it rests on: papers, or whet's own measurements (docs/explanation/advice.md, where the advice stands
beside the best of all methods on parts of public data sets). Pure: it reads no data and no model, and loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from whet import catalog
from whet.core import Defaults

SMALL = 130_000_000
"""Up to so many parameters a model is fully fine-tuned on a CPU."""
SMALL_ON_GPU = 1_000_000_000
"""The same on a GPU."""
FULL_BYTES, FROZEN_BYTES = 16, 4
"""Bytes for each parameter that trains (weight, gradient, two moments of AdamW, all in fp32), and for each that only
computes."""
ROOM = 0.7
"""Share of the memory that these may take; the rest is for what a batch leaves behind, and for everybody else."""

BATCH = 16
"""Rows of a step, for which the learning rates of the methods were found."""
FEWEST_STEPS = 200
"""Steps below which a run ends before it has learned what its rows can teach."""
FEWEST_SEEN = 200
"""Rows of each class, counted again in every pass, that a run has to see: of many classes few are in a step."""
MOST_EPOCHS = 20
"""More passes than this over the same few rows teach nothing new."""
SHORTEST = 30
"""Steps below which a run is not worth its start."""
SPARE = 0.9
"""Share of a time budget that is planned for."""

NEAR, NEAR_TEXTS = 0.85, 0.6
"""Gain of a linear probe from which pictures and sounds, or texts, are near to what the model was pre-trained on."""
FEW = 2000
"""Training rows that are few enough to bend a body out of its shape."""
FEW_EACH = 16
"""Rows of a class that are few."""

Device: TypeAlias = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Probe:
    """How well a linear model does over what the frozen body returns."""

    score: float
    """Accuracy (or R squared for numbers) on the validation rows."""
    majority: float
    """The same for always the most frequent answer."""
    rows: int
    """Validation rows."""

    @property
    def gain(self) -> float:
        """What it gains of all that there is to gain over the most frequent answer: 1 is every row right."""
        return (self.score - self.majority) / max(1e-9, 1.0 - self.majority)


@dataclass(frozen=True)
class Facts:
    """What the advice depends on."""

    task: str
    problem: str
    rows: int
    """That train."""
    parameters: int
    """Of the model."""
    classes: int | None = None
    """Of a task with one class for each row."""
    rarest: int | None = None
    """Training rows of its rarest class."""
    device: Device = "cpu"
    batch: int = BATCH
    """Rows of a step."""
    memory: int = 16 * 2**30
    """Bytes of this machine, or of its GPU where there is one: not what is free just now, or the same command would
    give other advice each time."""
    probe: Probe | None = None
    """How near the data is to what the model was pre-trained on; None where nobody has tried."""

    @property
    def each(self) -> float | None:
        """Training rows for each class."""
        return self.rows / self.classes if self.classes else None

    @property
    def writes(self) -> bool:
        """Whether answers are texts."""
        return self.problem in ("next_token", "target_text")

    @property
    def reads_files(self) -> bool:
        """Whether rows are pictures or sounds."""
        return self.task in ("image_classification", "audio_classification", "speech_recognition")

    @property
    def near(self) -> bool:
        """Whether a probe says that the body tells the answers apart already."""
        return self.probe is not None and self.probe.gain >= (NEAR if self.reads_files else NEAR_TEXTS)

    def fits(self, bytes_each: float) -> bool:
        """Whether a model of so many bytes for each parameter leaves room for the rest."""
        return bytes_each * self.parameters <= ROOM * self.memory


@dataclass(frozen=True)
class Pick:
    """A method with what it is set to."""

    method: str
    options: Mapping[str, object] = field(default_factory=dict)
    epochs: int | None = None
    """None is the method's own number."""
    steps: int | None = None
    """Where time does not last for an epoch."""

    @property
    def recipe(self) -> dict[str, dict[str, object]]:
        """The values of a recipe that say the same."""
        length = {"epochs": self.epochs, "steps": self.steps}
        training: dict[str, object] = {name: value for name, value in length.items() if value is not None}
        return {"method": {"name": self.method, **self.options}, **({"training": training} if training else {})}

    def __str__(self) -> str:
        told = [f"{name} {value}" for name, value in self.options.items()]
        if self.steps is not None:
            told.append(f"{self.steps} steps")
        elif self.epochs is not None:
            told.append(f"{self.epochs} epochs")
        return ", ".join([self.method, *told])


@dataclass(frozen=True)
class Rule:
    """A row of the table."""

    when: str
    """In words."""
    holds: Callable[[Facts], bool]
    first: str
    second: str
    """Methods, the better one first."""
    why: str
    source: str
    """What it rests on."""


@dataclass(frozen=True)
class Advice:
    """What to do, and why."""

    rule: str
    """When the rule holds, in words."""
    first: Pick
    second: Pick
    why: str
    source: str
    notes: tuple[str, ...] = ()
    """About the length of the run."""


MEASURED = "measured: docs/explanation/advice.md"

TABLE: tuple[Rule, ...] = (
    Rule(
        "the weights alone, in fp32, take more than 70 % of the memory",
        lambda facts: not facts.fits(FROZEN_BYTES),
        *("qlora", "lora"),
        why="the weights do not fit into the memory in fp32; in 4 bits they take an eighth",
        source="Dettmers et al. 2023 (arXiv 2305.14314)",
    ),
    Rule(
        "texts are written, by more than 130 M parameters (1 B on a GPU)",
        lambda facts: facts.writes and not _trains_in_full(facts),
        *("lora", "last_blocks"),
        why="LoRA on all linear layers learns as much as full fine-tuning from sets of this kind, forgets less, and "
        "takes a third of the memory",
        source="Schulman et al. 2025, LoRA Without Regret; Biderman et al. 2024 (arXiv 2405.09673)",
    ),
    Rule(
        "more than 130 M parameters (1 B on a GPU), or 16 bytes for each take more than 70 % of the memory",
        lambda facts: not _trains_in_full(facts),
        *("lora", "last_blocks"),
        why="the model is too large to train all of it here; LoRA comes as near to full fine-tuning as anything, once "
        "each has its own learning rate",
        source="Hu et al. 2021 (arXiv 2106.09685); arXiv 2602.04998",
    ),
    Rule(
        "texts are written, by a smaller model",
        lambda facts: facts.writes,
        *("full", "lora"),
        why="the model is small enough to train all of it, which fits new texts closest",
        source="Biderman et al. 2024 (arXiv 2405.09673)",
    ),
    Rule(
        "a probe gains 85 % or more, on pictures",
        lambda facts: facts.task == "image_classification" and facts.near,
        *("last_blocks", "head"),
        why="what the frozen body returns tells the classes apart already; its top learns what is left, and the rest "
        "keeps what it knows",
        source="Lee et al. 2022, Surgical Fine-Tuning (arXiv 2210.11466); " + MEASURED,
    ),
    Rule(
        "a probe gains 85 % or more, on sounds",
        lambda facts: facts.reads_files and facts.near,
        *("head", "last_blocks"),
        why="what the frozen body returns tells the classes apart already; training it too would bend what it knows",
        source="Kumar et al. 2022 (arXiv 2202.10054); " + MEASURED,
    ),
    Rule(
        "pictures or sounds",
        lambda facts: facts.reads_files,
        *("full", "last_blocks"),
        why="the body has to learn what these pictures or sounds differ in, and it is small enough to train whole",
        source="Kornblith et al. 2019 (arXiv 1805.08974); " + MEASURED,
    ),
    Rule(
        "words are tagged",
        lambda facts: facts.problem == "tagging",
        *("full", "lora"),
        why="tags depend on every word around, which the whole body has to learn; the model is small enough for it",
        source="Devlin et al. 2019 (arXiv 1810.04805); " + MEASURED,
    ),
    Rule(
        "a probe gains 60 % or more, on fewer than 2,000 texts",
        lambda facts: facts.near and facts.rows < FEW,
        *("lora", "last_blocks"),
        why="the frozen body tells the answers apart already; what moves it in few directions, or at its top only, "
        "keeps what it knows",
        source="Kumar et al. 2022 (arXiv 2202.10054); " + MEASURED,
    ),
    Rule(
        "texts, fewer than 16 rows for each class",
        lambda facts: facts.each is not None and facts.each < FEW_EACH,
        *("lora", "full"),
        why="so few rows of each class move a body best in few directions",
        source="Frontiers in Big Data 2025 (10.3389/fdata.2025.1677331)",
    ),
    Rule(
        "texts",
        lambda _: True,
        *("full", "lora"),
        why="the model is small enough to train all of it, which fits the data closest",
        source="Devlin et al. 2019 (arXiv 1810.04805); " + MEASURED,
    ),
)


def advise(facts: Facts) -> Advice:
    """The first rule that holds, with as many epochs as so few rows need."""
    rule = next(rule for rule in TABLE if rule.holds(facts))
    first, second = (_pick(method, facts) for method in (rule.first, rule.second))
    notes = () if first.epochs is None else (_of_few_rows(facts, first),)
    return Advice(rule.when, first, second, rule.why, rule.source, notes)


def epochs_for(method: str, rows: int, batch: int = BATCH, classes: int | None = None) -> int:
    """Passes over the training rows: the method's own number, or as many as 200 steps take, at most 20.

    Runs of few rows end too early rather than too late: 20 epochs in place of 3 are what steadies fine-tuning on small
    sets (Mosbach et al. 2021, arXiv 2006.04884; Zhang et al. 2021, arXiv 2006.05987). Where there are ``classes``, 200
    rows of each are seen, too, as 200 steps hold few of each of many (docs/explanation/advice.md).
    """
    usual = _defaults(method).epochs
    fewest = FEWEST_STEPS / steps_of(1, rows, batch)
    return max(usual, min(MOST_EPOCHS, math.ceil(max(fewest, FEWEST_SEEN * (classes or 0) / rows))))


def steps_of(epochs: int, rows: int, batch: int = BATCH) -> int:
    """Optimiser steps of some passes."""
    return epochs * math.ceil(rows / batch)


def _trains_in_full(facts: Facts) -> bool:
    small = SMALL if facts.device == "cpu" else SMALL_ON_GPU
    return facts.parameters <= small and facts.fits(FULL_BYTES)


def _pick(method: str, facts: Facts) -> Pick:
    if facts.writes or facts.problem == "transcript":
        # What is known of longer runs is about classes and tags; a model that writes learns few rows by heart.
        return Pick(method)
    epochs = epochs_for(method, facts.rows, facts.batch, facts.classes)
    return Pick(method, epochs=None if epochs == _defaults(method).epochs else epochs)


def _of_few_rows(facts: Facts, pick: Pick) -> str:
    usual, epochs = _defaults(pick.method).epochs, pick.epochs or 0
    short, long = (steps_of(count, facts.rows, facts.batch) for count in (usual, epochs))
    if facts.classes and epochs > epochs_for(pick.method, facts.rows, facts.batch):
        few, more = (count * facts.rows // facts.classes for count in (usual, epochs))
        return (
            f"{facts.classes:,} classes are many for {facts.rows:,} rows: {usual} epochs would see {few:,} of each, "
            f"{epochs} see {more:,}"
        )
    return (
        f"{facts.rows:,} rows are few: {usual} epochs would be {short} steps, {epochs} are {long} "
        "(Mosbach et al. 2021, arXiv 2006.04884)"
    )


def _defaults(method: str) -> Defaults:
    defaults: Defaults = catalog.load("method", method).defaults
    return defaults


# --- within a time --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How fast a method is here, measured."""

    step: float
    """Seconds of an optimiser step."""
    epoch: float
    """Seconds of the evaluation after each epoch."""
    once: float
    """Seconds before the first step, such as for what frozen layers return, and after the last."""


def length_of(pick: Pick, facts: Facts) -> int:
    """Optimiser steps of a run."""
    if pick.steps is not None:
        return pick.steps
    return steps_of(pick.epochs or _defaults(pick.method).epochs, facts.rows, facts.batch)


def takes(pick: Pick, pace: Pace, facts: Facts) -> float:
    """Seconds of a run."""
    steps = length_of(pick, facts)
    return pace.once + steps * pace.step + math.ceil(steps / steps_of(1, facts.rows, facts.batch)) * pace.epoch


def within(pick: Pick, pace: Pace, facts: Facts, budget: float) -> Pick | None:
    """The pick with as many epochs as ``budget`` seconds last for, at most its own; None where it is not worth it.

    Where time does not last for one epoch there are steps instead.
    """
    left = SPARE * budget - pace.once
    wanted = pick.epochs or _defaults(pick.method).epochs
    affordable = int(left // (steps_of(1, facts.rows, facts.batch) * pace.step + pace.epoch))
    if affordable >= wanted:
        return pick
    if affordable >= 1:
        return replace(pick, epochs=affordable)
    steps = int((left - pace.epoch) // pace.step)
    return replace(pick, epochs=None, steps=steps) if steps >= SHORTEST else None


def enough(pick: Pick, shortened: Pick, facts: Facts) -> bool:
    """Whether a run that was shortened still learns: half of its steps, or 200."""
    return length_of(shortened, facts) >= min(length_of(pick, facts) / 2, FEWEST_STEPS)


def candidates(advice: Advice, facts: Facts) -> list[Pick]:
    """What to try within a time, in this order: both picks, then what computes less."""
    methods = dict.fromkeys((advice.first.method, advice.second.method, *CHEAPER))
    known = {pick.method: pick for pick in (advice.first, advice.second)}
    return [known.get(method) or _pick(method, facts) for method in methods]


CHEAPER = ("last_blocks", "head")
"""Methods whose frozen layers are computed once and for all."""

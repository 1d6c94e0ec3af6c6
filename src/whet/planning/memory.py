"""Memory of a run at its highest moment, term by term. Pure arithmetic: it knows no model and no machine.

With P numbers of which p train, a micro-batch of b rows and T tokens, blocks L of width D, in bytes:

    weights        4 P, half a byte for each number in 4 bits; 2 more for frozen ones that bf16 products read
    gradients      4 p as far as they exist when the highest moment comes
    optimiser      8 p for the two moments of AdamW, 4 p for SGD's momentum
    best weights   4 p, from the first evaluation on
    activations    what the backward pass reads again, and what is in the making: grows with b T L D
    logits         b T V numbers of a vocabulary, some at a time
    cache          what frozen blocks returned, as far as it was read
    data           rows as the model reads them
    runtime        the interpreter and its libraries

Activations, gradients and logits are counted tensor by tensor (``trace``), as they are there at one and the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from whet.planning.trace import Traced

NUMBER = 4
"""Bytes of a number in fp32."""
MOMENTS = {"adamw": 2, "sgd": 1}
"""Numbers that the optimiser keeps for each one that trains."""

Moment: TypeAlias = Literal["step", "evaluation", "best"]
"""When a run needs most: while it takes a step, while it reads validation rows, or when it copies the best weights."""


@dataclass(frozen=True)
class Held:
    """What is there throughout a run, whatever it does."""

    weights: int
    """Bytes of all parameters and buffers."""
    trained: int
    """Numbers that train in any part of the run."""
    moments: int
    """Numbers of the optimiser for each of them."""
    by_row: int = 0
    """Bytes of gradients of large tables, of which only rows that were read exist."""
    copies: int = 0
    """Further copies of what trains: of the weights that the run began with, of an average."""
    cache: int = 0
    data: int = 0
    runtime: int = 0
    best_here: bool = True
    """Whether the best weights are copied to where the run computes; those of a GPU go to the other memory."""
    several_evaluations: bool = True
    """Whether steps follow the first evaluation."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the highest moment; the terms add up to it."""

    moment: Moment
    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    best: int = 0
    activations: int = 0
    logits: int = 0
    cache: int = 0
    data: int = 0
    runtime: int = 0

    @property
    def terms(self) -> dict[str, int]:
        """Bytes by what they are for."""
        return {field.name: vars(self)[field.name] for field in fields(self) if field.name != "moment"}

    @property
    def total(self) -> int:
        """All terms."""
        return sum(self.terms.values())

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        return {"total": self.total, **asdict(self)}


def highest(held: Held, step: Traced, reading: Traced | None = None) -> Memory:
    """The highest of all moments of a run, whose steps and whose readings of validation rows were traced."""
    trained = NUMBER * held.trained
    always = Memory(
        "step",
        weights=held.weights + held.copies * trained + step.peak["copies"],
        optimizer=held.moments * trained,
        cache=held.cache,
        data=held.data,
        runtime=held.runtime,
    )
    copied = trained if held.best_here else 0
    best = copied if held.several_evaluations else 0
    moments = [
        replace(
            always,
            best=best,
            gradients=step.peak["gradients"] + held.by_row,
            activations=step.peak["activations"] + step.peak["working"],
            logits=step.peak["logits"],
        ),
        replace(always, moment="best", best=copied),
    ]
    if reading is not None:
        moments.append(replace(always, moment="evaluation", best=best, activations=reading.bytes))
    return max(moments, key=lambda memory: memory.total)


def rule_of_thumb(trained: int, frozen: int) -> int:
    """What is said of fp32 and AdamW where nobody looks: 16 bytes for a number that trains, 4 for a frozen one."""
    return 16 * trained + NUMBER * frozen


def as_measured(computed: Memory, points: Sequence[tuple[int, int]], runtime: int, ending: int = 0) -> Memory:
    """The memory of some settings by what others were measured to need.

    ``points`` are bytes that were measured with what is computed for the same settings, the smallest first; ``runtime``
    was measured too, and so was what a run takes at its ``ending``. What cannot be told apart further counts as
    activations.
    """
    peak, reference = points[-1]
    slope = 1.0
    if len(points) > 1 and reference > points[0][1]:
        slope = min(2.0, max(0.5, (peak - points[0][0]) / (reference - points[0][1])))
    total = max(ending, peak + round(slope * (computed.total - reference)))
    others = sum(computed.terms.values()) - computed.runtime - computed.activations
    activations = total - others - runtime
    # Frozen weights that no step reads are never in memory.
    weights = computed.weights + min(0, activations)
    return replace(computed, runtime=runtime, activations=max(0, activations), weights=weights)

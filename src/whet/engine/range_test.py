"""The learning-rate range test: a short run at ever higher rates, which leaves no trace (Smith 2017, arXiv 1506.01186).

The rate grows by the same factor at every step, from where nothing is learned to where the loss explodes. The loss in
between tells which rates are worth trying: it falls fastest at a good one, and stops to fall before it explodes. A run
is a stage of a job without evaluations and checkpoints, so every method is tested as it trains.
"""

import math
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from whet.core import Mask
from whet.engine import state
from whet.engine.job import Job
from whet.engine.loop import fit
from whet.errors import DivergedError
from whet.events import NotStored, Step, Stored, Storing

LOWEST, HIGHEST = 1e-3, 1e3
"""The first and the last rate, as shares of the one that the method has by default."""
KEEP = 0.85
"""What the mean loss keeps of itself at a step; the rest is the loss of the step."""
EXPLODED = 3.0
"""How many times the lowest mean loss, from where the test is broken off."""
MARGIN = 10.0
"""How much lower than that of the lowest loss a rate has to be: there the loss is about to rise."""
FALL = 0.02
"""Share by which the mean loss has to fall for the test to tell anything."""


@dataclass(frozen=True)
class RangeTest:
    """What a range test found."""

    rates: list[float]
    losses: list[float]
    """Of each step."""
    means: list[float]
    """The same without most of the noise: exponential means, right from the first step on."""
    steepest: float | None
    """The rate at which the mean loss falls fastest; None where it does not fall."""
    lowest: float | None
    """The rate at which the mean loss is lowest; None where it does not fall."""
    diverges: float | None
    """The rate at which the loss explodes; None where it does not up to the last one."""

    @property
    def suggestion(self) -> float | None:
        """A rate to train with: the steepest one, and a tenth of that of the lowest loss at most."""
        if self.steepest is None or self.lowest is None:
            return None
        return float(f"{min(self.steepest, self.lowest / MARGIN):.2g}")


def range_test(
    job: Job, *, lowest: float, highest: float, steps: int
) -> Generator[Step | Storing | Stored | NotStored, None, None]:
    """Train with rates from ``lowest`` to ``highest``; yields the steps, and what is stored of the frozen layers.

    It ends early where the loss explodes. Afterwards the model has the weights, statistics and modes that it had, and
    torch's random generators are where they were.
    """
    mask: Mask = frozenset().union(*(stage.mask for stage in job.stages))
    weights, random = state.copy_weights(job.model, mask), state.random_state()
    modes = [(module, module.training) for module in job.model.modules()]
    trains = [(parameter, parameter.requires_grad) for parameter in job.model.parameters()]
    means = _Means()
    try:
        # A run that diverges has come to the end of the test.
        with suppress(DivergedError), closing(fit(_tested(job, lowest, highest, steps))) as events:
            for event in events:
                if isinstance(event, Storing | Stored | NotStored):
                    yield event
                elif isinstance(event, Step):
                    yield event
                    if means.add(event.loss) > EXPLODED * means.least or event.step == steps:
                        break
    finally:
        state.restore_weights(job.model, mask, weights)
        for parameter, trained in trains:
            parameter.requires_grad_(trained)
            parameter.grad = None
        for module, training in modes:
            module.training = training
        state.restore_random(random)


def _tested(job: Job, lowest: float, highest: float, steps: int) -> Job:
    settings = replace(
        job.settings,
        learning_rate=highest,
        schedule={"name": "exponential", "lowest": lowest / highest},
        warmup=0.0,
        # One more than are taken: the last one would be followed by an evaluation.
        steps=steps + 1,
        evaluate_every=steps + 1,
        patience=None,
        average=None,
        mixes=(),
    )
    # What a method trains last it trains longest, and with the most parameters.
    stage = replace(job.stages[-1], share=1.0, learning_rate_scale=1.0)
    return replace(job, settings=settings, stages=[stage], checkpoints=None)


def read(rates: list[float], losses: list[float], *, diverged: bool) -> RangeTest:
    """What the losses at growing rates say; ``diverged`` where the test ended with a loss that is not finite."""
    means = _Means()
    smooth = [means.add(loss) for loss in losses]
    exploded = next((i for i in range(1, len(smooth)) if smooth[i] > EXPLODED * min(smooth[: i + 1])), None)
    end = rates[-1] if diverged and rates else None
    diverges = end if exploded is None else rates[exploded]
    falling = smooth[:exploded]
    steepest = lowest = None
    # The first steps differ by their rows alone.
    settled = min(5, len(falling) // 4)
    if len(falling) > 4:
        bottom = min(range(len(falling)), key=falling.__getitem__)
        if falling[bottom] < (1 - FALL) * max(falling[: bottom + 1]) and bottom > settled:
            slopes = _slopes(falling)
            steepest = rates[min(range(settled, bottom + 1), key=slopes.__getitem__)]
            lowest = rates[bottom]
    return RangeTest(rates, losses, smooth, steepest, lowest, diverges)


def _slopes(values: list[float]) -> list[float]:
    """How much values rise from step to step, over a few steps around each."""
    last = len(values) - 1
    around = [(max(0, i - 2), min(last, i + 2)) for i in range(len(values))]
    return [(values[b] - values[a]) / max(1, b - a) for a, b in around]


class _Means:
    """Exponential means of losses, without a bias towards the first one, and the least of them."""

    def __init__(self) -> None:
        self.total, self.weight, self.least = 0.0, 0.0, math.inf

    def add(self, loss: float) -> float:
        """Take a loss; returns the mean, and is the least one that it has been."""
        self.total = KEEP * self.total + (1 - KEEP) * loss
        self.weight = KEEP * self.weight + (1 - KEEP)
        mean = self.total / self.weight
        self.least = min(self.least, mean)
        return mean

"""What a run that is ready to start will need: told before it starts, and beside what it took at its end."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from whet.build import Prepared
from whet.core import Choice
from whet.engine.arithmetic import Arithmetic
from whet.engine.cache import cache_folder
from whet.engine.device import free_memory, tokens_at_once
from whet.events import Evaluated, Event, StageChanged, Started, Step, Stored
from whet.model.parts import parts_of
from whet.planning.fit import Fit, settle
from whet.planning.pace import Effort, Took, learn
from whet.planning.shapes import writes_tokens
from whet.planning.time import Duration
from whet.planning.work import of_examples
from whet.report.writing import duration, size
from whet.verbs.foreseeing.look import Asked, Look, Machine, arithmetic_key, pace_here

FIRST = 0.05
"""Share of the steps after which the time is told anew."""
LEARNT = 20
"""Steps from which on a run tells how fast this machine is."""
FEWEST = 15
"""Steps that it takes at least to tell it: the first ones take longer than others, and lengths differ."""


@dataclass(frozen=True)
class Forecast:
    """What is expected of a run."""

    fit: Fit
    duration: Duration | None
    """None where nobody knows how fast the device is."""
    room: int
    """Bytes that were free."""
    step: Effort | None = None
    """What a step has to do, where all of them have the same to do, on a CPU."""

    def choices(self) -> list[Choice]:
        """The same beside the decisions that were taken."""
        terms = sorted(self.fit.memory.terms.items(), key=lambda term: -term[1])[:3]
        told = ", ".join(f"{name} {size(count)}" for name, count in terms if count)
        free = f"{size(self.room)} are free" if self.fit.fits else f"but only {size(self.room)} are free"
        choices = [Choice("memory", size(self.fit.memory.total), "inferred", f"predicted: {told}; {free}")]
        if self.duration is not None:
            step, epoch = duration(self.duration.step), duration(self.duration.epoch)
            each = f"predicted, roughly: {step} a step, an epoch takes {epoch}"
            choices.append(Choice("time", duration(self.duration.total), "inferred", each))
        return choices

    def plain(self) -> dict[str, Any]:
        """As the metrics have it."""
        seconds = None if self.duration is None else round(self.duration.total, 2)
        return {"peak_memory_bytes": self.fit.memory.total, "seconds": seconds, "memory": self.fit.memory.plain()}


def foresee(prepared: Prepared) -> Forecast | None:
    """What a prepared run will need; None where its model does not let itself be looked at."""
    try:
        with torch.random.fork_rng(devices=[]):
            return _foreseen(prepared)
    except Exception:  # noqa: BLE001  # a run must not fail for what is said about it
        return None


def _foreseen(prepared: Prepared) -> Forecast:
    loaded, task, settings = prepared.loaded, prepared.task, prepared.settings
    with torch.device("meta"):
        plain = type(loaded.model)(copy.deepcopy(loaded.model.config))
    parts = parts_of(plain, loaded.fresh)
    training = prepared.values["training"]
    writes = writes_tokens(task.problem, parts.family)
    at_once = tokens_at_once(prepared.device)
    work = of_examples(task, prepared.examples, settings.batch_size, settings.seed, at_once, writes)
    pace = pace_here(prepared.arithmetic) if prepared.device.type == "cpu" else None
    machine = Machine("here", free_memory(prepared.device), prepared.device, prepared.arithmetic, pace)
    asked = Asked(
        name=loaded.name,
        model=plain,
        parts=parts,
        work=work,
        writes=writes,
        training=lambda _: training,
        seed=settings.seed,
        changes=prepared.augmentation is not None,
        options={},
        raw={},
        computing=task.computing,
    )
    look = Look(prepared.method, asked, machine, training)
    # The process and the model are there already.
    room = machine.room + look.least
    wanted = (training.get("micro_batch_size"), bool(training.get("gradient_checkpointing")))
    fit = settle(look.memory, room, work.batch_size, asked=wanted, least=look.least)
    # A run of several stages would teach what none of them takes.
    step = look.step(fit) if pace is not None and len(prepared.stages) == 1 else None
    return Forecast(fit, look.duration(fit), machine.room, step)


class Clock:
    """How long a run will take, by what its first steps took."""

    def __init__(self, forecast: Forecast | None) -> None:
        self._forecast = forecast
        self._steps = 0
        self._stage = -1
        self._done: list[float] = []
        self._once = 0.0
        self._evaluations: list[float] = []
        self.refined: float | None = None
        """Seconds of the whole run, from the first steps on."""

    def take(self, event: Event) -> None:
        """Hear of an event."""
        match event:
            case Started():
                self._steps = event.steps - event.step
            case StageChanged():
                self._stage += 1
            case Stored():
                self._once += event.seconds
            case Evaluated():
                self._evaluations.append(event.seconds)
            case Step():
                self._done.append(event.seconds)
                if self.refined is None and len(self._done) >= max(FEWEST, FIRST * self._steps):
                    self.refined = self._total()
            case _:
                pass

    def learn(self, arithmetic: Arithmetic) -> None:
        """Remember what steps took, for the next run that is foreseen."""
        step = None if self._forecast is None else self._forecast.step
        if step is not None and len(self._done) >= LEARNT:
            took = Took(step.operations, step.moved, step.flops, _usual(self._done[1:]))
            learn(cache_folder(), arithmetic_key(arithmetic), took)

    def _total(self) -> float:
        first, *others = self._done
        step, evaluations = _usual(others), self._rest()
        stages = () if self._forecast is None or self._forecast.duration is None else self._forecast.duration.stages
        if len(stages) < 2:
            return self._once + first + step * (self._steps - 1) + evaluations
        # What the steps of other stages take, these do not tell.
        share, foreseen = stages[self._stage]
        others_take = sum(seconds for _, seconds in stages) - foreseen
        return self._once + first + step * (share * self._steps - 1) + others_take + evaluations

    def _rest(self) -> float:
        """Evaluations, as far as they are known or were foreseen."""
        lasts = None if self._forecast is None else self._forecast.duration
        return sum(self._evaluations) if lasts is None else lasts.evaluations


def _usual(seconds: Sequence[float]) -> float:
    return statistics.fmean(seconds)

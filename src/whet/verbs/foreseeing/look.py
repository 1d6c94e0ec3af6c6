"""One method on one model, looked at from all sides before anything is trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from whet import recipe as recipes
from whet.core import Parts
from whet.engine.arithmetic import Arithmetic, measured
from whet.engine.cache import OFTEN, WORTHWHILE, cache_folder, cache_limit
from whet.engine.job import Settings
from whet.engine.kernels import Kernels, round_frozen
from whet.engine.optim import tables
from whet.engine.store import RESIDENT
from whet.errors import ModelError
from whet.model.late_head import HEAD, loss_of_all
from whet.model.parts import adapted, longest_input, parts_of
from whet.model.quantise import quantisation_of
from whet.model.recompute import recomputing
from whet.planning.fit import Fit
from whet.planning.memory import MOMENTS, NUMBER, Held, Memory, as_measured, highest
from whet.planning.pace import Effort, Pace, fitted, taken
from whet.planning.runtime import Libraries, keep, libraries, runtime
from whet.planning.shapes import Attached, attach, estimated, packed_room, shorter, unread_bytes, weight_bytes
from whet.planning.time import Duration, Line, Load, by_stage, duration
from whet.planning.trace import Step, Traced, along, trace, trace_reading
from whet.planning.work import Work, cut, targets_of
from whet.protocols import Method
from whet.verbs.foreseeing.measuring import Seen, measure


@dataclass(frozen=True)
class Machine:
    """Where the run is to be."""

    name: str
    room: int
    """Bytes that are free."""
    device: torch.device
    arithmetic: Arithmetic
    pace: Pace | None
    """None where nobody knows how fast it is."""


@dataclass(frozen=True)
class Asked:
    """A model and rows, whatever they came from."""

    name: str
    model: PreTrainedModel
    """Without weights."""
    parts: Parts
    work: Work
    writes: bool
    """Whether it answers with tokens of a vocabulary."""
    training: Callable[[Method], dict[str, Any]]
    """The training section for a method."""
    seed: int
    changes: bool
    """Whether training rows are changed at random."""
    options: Mapping[str, Mapping[str, object]]
    """Of a method that the recipe names, by its name."""
    raw: Mapping[str, Any]
    """The recipe as plain values; empty where there is none."""
    computing: Callable[[nn.Module], Any]
    """The context in which the model computes."""


EFFICIENCY = 0.45
"""Speed of a model's products, with the casts around them, beside that of large ones alone."""


def pace_here(arithmetic: Arithmetic) -> Pace:
    """How fast this CPU is in this arithmetic."""
    folder = cache_folder()
    speeds = measured(folder)
    usual = Pace(EFFICIENCY * (speeds.bf16 if arithmetic.precision == "bf16" else speeds.fp32_speed))
    return fitted(usual, taken(folder, arithmetic_key(arithmetic)))


def arithmetic_key(arithmetic: Arithmetic) -> str:
    """What decides how long something takes on a CPU."""
    return f"{arithmetic.key} {torch.get_num_threads() if arithmetic.threads is None else arithmetic.threads}"


LEAST_LEFT = 0.05
"""Share of a pass that is left at least where the outputs of frozen layers are read: somebody has to read them."""

TRIES = 70
"""Passes over next to nothing that it takes to find, by trying, where the frozen beginning ends, and to prove it."""

DEPTHS = (4, 6)
"""Blocks of the models that are looked at in place of a deeper one."""


class Look:
    """One method on one model, looked at as often as there are settings to try."""

    def __init__(self, method: Method, asked: Asked, machine: Machine, values: Mapping[str, Any]) -> None:
        """Raises ModelError where the method cannot work with the model."""
        self._attach = partial(attach, method, dropout=values.get("dropout"))
        self.attached = self._attach(asked.model, asked.parts)
        self.asked = asked
        self.machine = machine
        self.values = values
        self.estimated = ""
        self.trained = self.attached.parts.count(self.attached.every)
        self.cache = 0
        self.seen: Seen | None = None
        self._recomputed = False
        self._rounded: dict[int, Tensor] = {}
        self._stores = False
        self._models = self._short() or [self.attached]
        self._traced = cache(self._trace)
        self._reading = cache(self._trace_reading)
        self._store()

    def _short(self) -> list[Attached]:
        """The method on two shorter models where the blocks are many and alike; none where they are not."""
        if len(self.asked.parts.blocks) <= max(DEPTHS) + 2:
            return []
        try:
            models = [shorter(self.asked.model, depth) for depth in DEPTHS]
            return [self._attach(one, parts_of(one, self.asked.parts.fresh)) for one in models if one is not None]
        except ModelError:
            return []

    @property
    def steps(self) -> int | None:
        """Optimiser steps of the run."""
        batches = len(self.asked.work.batches)
        return self.values.get("steps") or (self.values["epochs"] * batches if batches else None)

    @property
    def least(self) -> int:
        """Bytes that no setting changes."""
        held = self._held()
        return held.weights + NUMBER * held.trained * (held.moments + held.copies) + held.runtime

    def memory(self, rows: int, recompute: bool) -> Memory:
        """At the highest moment of a run in passes of so many rows."""
        computed = self._computed(rows, recompute)
        if self.seen is None:
            return computed
        points = [(point.peak, self._computed(point.rows, self._recomputed).total) for point in self.seen.points]
        return as_measured(computed, points, self.seen.runtime, self.seen.ending)

    def _computed(self, rows: int, recompute: bool) -> Memory:
        return highest(self._held(), self._traced(rows, recompute), self._reading())

    def measure(self, name: str, fit: Fit) -> None:
        """Take a few steps with these settings; all further answers rest on them."""
        raw = copy.deepcopy(dict(self.asked.raw))
        raw["method"] = {"name": name, **self.asked.options.get(name, {})}
        for assignment, value in fit.settings(self.asked.work.batch_size).items():
            recipes.put(raw, assignment.split("."), value)
        micro = fit.micro_batch_size
        self._recomputed = fit.gradient_checkpointing
        self.seen = measure(raw, sorted({max(1, micro // 2), micro}))
        keep(self._libraries, self.seen.runtime, cache_folder())

    @property
    def _libraries(self) -> Libraries:
        """Those that the run needs."""
        model = self.attached.model
        quantised = quantisation_of(model) is not None
        return libraries(self.machine.device.type, adapter=adapted(model), quantised=quantised)

    def _held(self) -> Held:
        values, work, model = self.values, self.asked.work, self.attached.model
        steps, epoch = self.steps, len(work.batches)
        every = values.get("evaluate_every") or epoch
        copies = sum(bool(values.get(name)) for name in ("average",)) + bool(values.get("l2_sp") or values.get("mixes"))
        moments = MOMENTS[values["optimizer"]] if values["optimizer"] != "sgd" or values.get("momentum") else 0
        size = 2 if self.machine.arithmetic.precision == "bf16" else NUMBER
        return Held(
            weights=weight_bytes(model) + size * packed_room(model) - self._unread(),
            trained=self.trained,
            moments=moments,
            copies=copies,
            cache=self.cache,
            data=work.bytes,
            runtime=runtime(self._libraries, cache_folder()),
            best_here=self.machine.device.type == "cpu",
            several_evaluations=steps is None or every < steps,
        )

    def _unread(self) -> int:
        """Bytes of weights that are mapped on a CPU and never read."""
        # What is stored is found by a digest of all frozen weights.
        if self.cache or self.machine.device.type != "cpu" or quantisation_of(self.attached.model) is not None:
            return 0
        return unread_bytes(self.attached.parts, self.attached.every, self.asked.work.stored or self.asked.work.longest)

    def _trace(self, rows: int, recompute: bool) -> Traced:
        """A step in passes of so many rows."""
        try:
            return self._along(partial(self._trace_of, rows=rows, recompute=recompute))
        except Exception as error:  # noqa: BLE001  # whatever torch says to a model that asks for numbers
            self.estimated = (str(error).strip().splitlines() or [type(error).__name__])[0]
            each = self.asked.work.batch(rows).tokens // rows
            return estimated(self.attached.parts, self.attached.stage.mask, rows, each, casts=self._casts)

    def _trace_reading(self) -> Traced:
        """A pass over validation rows."""
        try:
            return self._along(self._trace_reading_of)
        except Exception:  # noqa: BLE001  # as above
            return Traced()

    def _along(self, look: Callable[[Attached], Traced]) -> Traced:
        """What a look at the model gives, or at two shorter ones in its place."""
        if len(self._models) == 1:
            return look(self.attached)
        first, second = ((len(one.parts.blocks), look(one)) for one in self._models)
        return along(first, second, len(self.attached.parts.blocks))

    def _trace_of(self, attached: Attached, *, rows: int, recompute: bool) -> Traced:
        read = self.asked.work.batch(rows)
        hidden = attached.hidden if self._stores else ()
        step = Step(
            inputs=cut(read, longest_input(attached.model)),
            loss=partial(_loss, learned=read.learned),
            casts=self._casts,
            around=partial(self._around, hidden),
            tables=self._tables,
            hidden=hidden,
            micro_batches=-(-self.asked.work.batch_size // rows),
            recompute=partial(self._recompute, attached.parts, hidden) if recompute else lambda _: ExitStack(),
        )
        with self._computing(attached.model):
            return trace(attached.model, step)

    def _trace_reading_of(self, attached: Attached) -> Traced:
        model, read = attached.model, self.asked.work.reading
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            with self._computing(model):
                # At the end of a run rows are read in fp32.
                return trace_reading(model, cut(read, longest_input(model)), casts=False)
        finally:
            for module, training in modes.items():
                module.training = training

    def _store(self) -> None:
        """Decide whether outputs of frozen layers are stored, and how many bytes of them."""
        if not self.attached.hidden or self.values["cache"] == "off" or self.asked.changes:
            return
        batches, steps = len(self.asked.work.batches), self.steps
        once = batches and steps and steps < OFTEN * batches
        if self.values["cache"] == "auto" and once and not self.attached.whole:
            return
        self._stores = True
        traced = self._trace(1, False)
        share = traced.frozen_flops / max(1.0, traced.frozen_flops + traced.flops / 3)
        needed = self._stored_bytes(traced)
        if share < WORTHWHILE or needed > max(cache_limit(), self.machine.room // 4):
            self._stores = False
            return
        # Of files only a part stays in the process.
        self.cache = min(needed, RESIDENT) if needed <= cache_limit() else needed

    def _stored_bytes(self, traced: Traced) -> int:
        """Of all rows: one position of each where nothing else is read, or all."""
        work, read = self.asked.work, self.asked.work.batch(1)
        for shape, size in traced.stored:
            inner = math.prod(shape[1:]) * size
            if len(shape) < 3 or len(shape) > 3:
                return work.stored_rows * inner
            if self.attached.whole and not self.asked.writes and shape[1] > 1:
                return work.stored_rows * shape[2] * size
            by_token = shape[1] == read.tokens
            return work.stored * shape[2] * size if by_token else work.stored_rows * inner
        return 0

    @property
    def _casts(self) -> bool:
        return self.machine.arithmetic.precision == "bf16"

    @contextmanager
    def _computing(self, model: nn.Module) -> Iterator[None]:
        with self.machine.arithmetic.attending(model), self.asked.computing(model):
            yield

    def _around(self, hidden: Sequence[str], model: nn.Module) -> Any:
        """What the engine does on a CPU to compute the same in less time."""
        self._rounded = round_frozen(model, hidden) if self._casts and self.machine.device.type == "cpu" else {}
        return self._kernels()

    def _kernels(self) -> Any:
        return Kernels(frozenset(), None, self._rounded) if self.machine.device.type == "cpu" else ExitStack()

    def _tables(self, model: nn.Module) -> frozenset[int]:
        names = {"optimizer", "schedule", "l2_sp", "learning_rate"}
        settings = Settings(**{name: value for name, value in self.values.items() if name in names})
        return tables(model, settings, self.machine.device)

    def _recompute(self, parts: Parts, hidden: Sequence[str], model: nn.Module) -> Any:
        blocks = [b for b in parts.blocks if not any(h == n or h.startswith(f"{n}.") for n in b for h in hidden)]
        return recomputing(model, blocks, self._kernels, random=False)

    def step(self, fit: Fit) -> Effort:
        """What a step over a batch of usual length has to do, in the stage that trains most."""
        batches = self.asked.work.batches
        return self._load_of_steps(fit).over(sum(batches) / max(1, len(batches)))

    def _load_of_steps(self, fit: Fit) -> Load:
        work, rows = self.asked.work, fit.micro_batch_size
        traced = self._traced(rows, fit.gradient_checkpointing)
        return Load.of(traced, work.batch(rows).tokens, -(-work.batch_size // rows), self.trained)

    def duration(self, fit: Fit) -> Duration | None:
        """Seconds of the run."""
        pace, work, steps = self.machine.pace, self.asked.work, self.steps
        if pace is None or not work.batches or steps is None:
            return None
        line = self._load_of_steps(fit).line(pace)
        seen, read = self.seen, work.reading.tokens
        if seen is not None:
            line = Line.through(*((point.tokens, point.seconds) for point in (seen.points[0], seen.points[-1])))
        stages = self.attached.stages
        stored = self._stored_in(steps / len(work.batches))
        kept = [(share, frozen) for (share, frozen), here in zip(stages, stored, strict=True) if here]
        every = self.values.get("evaluate_every") or len(work.batches)
        reading = self._reading()
        # A pass over all of the model, in batches like those of an evaluation.
        passing = Load.of(replace(reading, flops=reading.flops + reading.frozen_flops), read).line(pace)
        every_row = passing.of(read) * work.stored / read
        once = sum(every_row * frozen + TRIES * passing.fixed for _, frozen in kept)
        left = max(LEAST_LEFT, 1 - sum(share * frozen for share, frozen in kept) / sum(share for share, _ in stages))
        evaluation = passing.of(read) * work.validation / read * left
        if seen is not None:
            once, evaluation = seen.once * work.stored, seen.evaluation * work.validation
        evaluations = -(-steps // every)
        return duration(work.batches, steps, line, once, evaluation, evaluations, by_stage(stages, stored))

    def _stored_in(self, epochs: float) -> list[bool]:
        """For each stage of a run, whether it stores what its frozen layers return."""
        stages = self.attached.stages
        if len(stages) == 1:
            return [bool(self.cache)]
        if self.values["cache"] == "off" or self.asked.changes:
            return [False for _ in stages]
        asked, whole = self.values["cache"] != "auto", sum(share for share, _ in stages)
        return [frozen > 0 and (asked or frozen == 1 or share / whole * epochs >= OFTEN) for share, frozen in stages]


def _loss(outputs: Any, learned: int) -> Tensor:
    """A number that depends on all that the model answers."""
    if learned or HEAD in outputs:
        return loss_of_all(outputs, targets_of(learned))
    loss: Tensor = outputs["logits"].float().sum()
    return loss

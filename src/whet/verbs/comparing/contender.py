"""One run of a candidate, led from rung to rung: it trains, waits while others train, and goes on.

While it waits it stays in memory, which costs no time; where memory is short it leaves a checkpoint and is opened
again. Either way the steps are those of a run in one piece, bit for bit: the random numbers are put back, and the
schedule is that of the whole run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from whet import recipe as recipes
from whet.build import predictor
from whet.core import Kept, Scores
from whet.engine import state
from whet.engine.device import choose_device, forget_peak, free_share, peak_memory, used_memory
from whet.engine.job import StopRequest
from whet.engine.predict import predict
from whet.errors import WhetError
from whet.evaluate.compare import Sample
from whet.events import Evaluated, Event, Events, Step
from whet.intake import Shared
from whet.recipe import Recipe
from whet.run.comparison import Attempt
from whet.run.folder import METRICS, RECIPE, RunFolder
from whet.verbs.comparing.judging import sample_of, write_sample
from whet.verbs.comparing.turns import Ended, Turn
from whet.verbs.session import Session

SPARE = 0.25
"""Share of the memory that stays free: with less, a run that waits leaves its memory."""

FAILURES = (WhetError, MemoryError, RuntimeError)
"""What ends a candidate and not the comparison: torch tells of memory that is used up by a RuntimeError."""


class Contender:
    """A run of a candidate with one seed."""

    def __init__(
        self, recipe: Recipe, attempt: Attempt, root: Path, shared: Shared, stop: StopRequest, idle: int = 0
    ) -> None:
        """``idle`` bytes are in use before anybody trains."""
        self.attempt = attempt
        self.session: Session | None = None
        """The run, while it is in memory."""
        self._idle = idle
        self._held = 0
        self._recipe = recipe
        self._folder = root / attempt.folder
        self._shared = shared
        self._stop = stop
        self._events: Events | None = None
        self._random: state.Tensors = {}
        self._said: Kept = None
        self._scores: Scores = {}

    def take(self, turn: Turn, show: Callable[[Event], None]) -> Ended:
        """Take a turn; a failure is its end, and no error."""
        self.attempt = replace(turn.attempt, state="running")
        try:
            if not self.advance(turn.rung, show):
                return self._ended(turn)
            sample = self.sample() if turn.rung is not None else self.finish(turn.baselines)
            write_sample(turn.sample, sample)
        except FAILURES as error:
            failed = self._ended(turn, failure=_reason(error))
            self.forget()
            return failed
        if turn.rung is not None:
            ended = self._ended(turn, sample.score)
            self.wait()
            return ended
        self.attempt = replace(self.attempt, state="finished")
        ended = self._ended(turn, sample.score)
        self.forget()
        return ended

    def _ended(self, turn: Turn, score: float | None = None, failure: str = "") -> Ended:
        trainable = total = 0
        if self.session is not None:
            parts, stages = self.session.prepared.parts, self.session.prepared.stages
            trainable = parts.count(frozenset().union(*(stage.mask for stage in stages)))
            total = parts.count(frozenset(parts.parameters))
        return Ended(turn.name, self.attempt, score, failure, trainable, total)

    def open(self) -> Session:
        """The run, begun or taken up; raises a WhetError where it cannot be."""
        if self.session is None:
            if (self._folder / RECIPE).is_file():
                self.session, _ = Session.resume(self._folder, self._shared)
            else:
                self.session = Session.start(self._recipe, self._folder, self._shared)
            self._events = self.session.events(self._observe)
        return self.session

    def advance(self, rung: int | None, show: Callable[[Event], None]) -> bool:
        """Train until the validation rows were scored after step ``rung``, or to the end; False where it was stopped.

        Raises a WhetError where the run fails.
        """
        device = choose_device()
        before, started = used_memory(device), time.perf_counter()
        forget_peak(device)
        session = self.open()
        assert self._events is not None
        if self._random:
            state.restore_random(self._random)
        try:
            for event in self._events:
                show(event)
                if self._stop.reason is not None:
                    session.stop.make(self._stop.reason)
                if isinstance(event, Step):
                    self.attempt = replace(self.attempt, step=event.step)
                if isinstance(event, Evaluated):
                    self._scores = event.scores
                    if event.best or self.attempt.validation is None:
                        self.attempt = replace(self.attempt, validation=event.scores)
                    if rung is not None and event.step >= rung:
                        self._random = state.random_state()
                        return True
        finally:
            # What the others hold meanwhile is not its own.
            peak = self._idle + self._held + peak_memory(device) - before
            self._held += used_memory(device) - before
            self.attempt = replace(
                self.attempt,
                seconds=self.attempt.seconds + time.perf_counter() - started,
                peak_memory_bytes=max(self.attempt.peak_memory_bytes, peak),
            )
        return session.interrupted is None

    def sample(self) -> Sample:
        """How it did on the validation rows when they were scored last."""
        assert self.session is not None
        prepared = self.session.prepared
        return sample_of(prepared.task, self.session.metric, self._said, prepared.examples["validation"], self._scores)

    def wait(self) -> None:
        """Let others train; leaves the memory where it is short."""
        if self.session is not None and free_share(self.session.prepared.device) < SPARE:
            self.store("others train")

    def store(self, reason: str) -> None:
        """Leave a checkpoint of the present step, and the memory."""
        if self.session is None or self._events is None:
            return
        if self._random:
            state.restore_random(self._random)
        self.session.stop.make(reason)
        for _ in self._events:
            pass
        self.forget()

    def leave(self, reason: str) -> None:
        """End where it is: the weights are kept as they are. One that is not in memory keeps its checkpoint."""
        if self.session is None or self._events is None:
            return
        self._events.close()
        self.session.leave(self._scores, self.attempt.step, reason)
        self.forget()

    def finish(self, known: Mapping[str, Scores] | None) -> Sample:
        """Measure the measured rows, once; ``known`` are the scores of the baselines on them."""
        if (self._folder / METRICS).is_file():
            return self._finished_before()
        session = self.open()
        started = time.perf_counter()
        results = session.finish(known)
        prepared = session.prepared
        examples = prepared.examples[measured(prepared.splits)]
        told = dict(results.test or results.validation)
        sample = sample_of(prepared.task, session.metric, session.said, examples, told)
        seconds = self.attempt.seconds + time.perf_counter() - started
        test = dict(results.test) or None
        self.attempt = replace(self.attempt, validation=dict(results.validation), test=test, seconds=seconds)
        return sample

    def forget(self) -> None:
        """Leave the memory."""
        if self._events is not None:
            self._events.close()
        self.session, self._events, self._random, self._said, self._held = None, None, {}, None, 0

    def _observe(self, step: int, said: Kept) -> None:
        del step
        self._said = said

    def _finished_before(self) -> Sample:
        """As ``finish``, of a run whose end was the last thing before a kill: its saved model is asked."""
        folder = RunFolder.open(self._folder)
        metrics, values = folder.read(METRICS), folder.recipe()
        splits, columns, *_ = self._shared.intake(recipes.parse(values))
        saved = predictor(values, folder.model)
        examples = saved.task.encode(splits[measured(splits)], columns, saved.processor)
        said = predict(saved.model, saved.task, examples, saved.device).values
        self.attempt = replace(self.attempt, validation=metrics["validation"], test=metrics["test"] or None)
        return sample_of(
            saved.task, values["training"]["metric"], said, examples, metrics["test"] or metrics["validation"]
        )


def _reason(error: BaseException) -> str:
    problems = error.problems if isinstance(error, WhetError) else ()
    reason = problems[0] if problems else f"{type(error).__name__}: {error}"
    return reason.partition("\n")[0]


def measured(splits: Mapping[str, object]) -> Literal["test", "validation"]:
    """The side that finished runs are measured on."""
    return "test" if "test" in splits else "validation"

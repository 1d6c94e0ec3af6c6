"""The training loop: a generator of events.

::

    Started
    for each step:
        StageChanged                  where another mask begins to hold
        Storing, Stored, NotStored    there, where outputs of frozen layers are computed once and for all
        Step                          forward, backward, clip, update
        Divided                       memory ran out, and steps go on in smaller passes
        Evaluated                     after each epoch, or every evaluate_every steps
        Saved                         after each evaluation, or every checkpoint_every steps
        Stopped                       a stop was requested, or the patience is used up
    Averaged                          the mean of the last weights was scored
    Mixed                             the best weights, mixed with the pre-trained ones, were scored
    Finished                          the best weights are back and were measured again

Progress bars, logs and reports are plain ``for`` loops around ``fit``; there are no callbacks. Which rows a step sees,
its learning rate and its stage are functions of the step's number, so a run resumed from a checkpoint takes the very
steps that it would have taken. The loop knows no method, no task and no architecture.
"""

import copy
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whet.core import Batch, Kept, Mask, Scores
from whet.engine import state
from whet.engine.anchor import Anchor
from whet.engine.average import Average
from whet.engine.cache import Cached, Side, open_cache
from whet.engine.course import Course
from whet.engine.device import keep_freed_memory, return_freed_memory
from whet.engine.divergence import diverged
from whet.engine.finale import try_average, try_mixes
from whet.engine.job import Job
from whet.engine.kernels import Kernels, round_frozen
from whet.engine.optim import build_optimizer, clip, parameter_groups, set_pace, tables
from whet.engine.passes import Passes
from whet.engine.predict import predict, scores_of
from whet.engine.rows import RowAdamW
from whet.engine.schedule import pace
from whet.engine.shares import SharedGradients, seed_of
from whet.engine.standard import standardise
from whet.engine.state import Checkpoint, Progress
from whet.errors import DivergedError, RecipeError
from whet.events import (
    Evaluated,
    Events,
    Finished,
    NotStored,
    Saved,
    StageChanged,
    Started,
    Step,
    Stopped,
    Stored,
    Storing,
)
from whet.model.freeze import apply, keep_modes, training_modes


def fit(job: Job, checkpoint: Checkpoint | None = None) -> Events:
    """Train; yields what happens. With a ``checkpoint`` the run goes on where that was taken.

    At the end the job's model holds the best weights. Raises DivergedError when the loss, the gradient or the answers
    for the validation rows are no longer finite, SaveError when the disk refuses a checkpoint, RunFolderError when the
    checkpoint is of another job, RecipeError when the validation rows do not define the metric.
    """
    if job.device.type == "cpu":
        keep_freed_memory()
    with job.arithmetic.attending(job.model), job.task.computing(job.model):
        run = _Run(job, checkpoint)
        try:
            yield from _fit(job, run, checkpoint)
        finally:
            # Whoever ends a run early keeps the model as it is.
            run.end_coordinates()


def _fit(job: Job, run: "_Run", checkpoint: Checkpoint | None) -> Events:
    progress = run.progress
    trainable, total = (job.parts.count(mask) for mask in (run.every_mask, frozenset(job.parts.parameters)))
    yield Started(run.course.steps, progress.step, run.course.epochs, len(job.train), trainable, total)
    if checkpoint is not None:
        run.restore(checkpoint)
        if run.course.stage_at(progress.step) == run.stage:
            yield from run.open_cache()
    while progress.step < run.course.steps:
        # Asked before a step, not after it: a checkpoint may have been taken when the patience was used up already.
        if job.settings.patience is not None and progress.stale >= job.settings.patience:
            reason = f"{job.settings.metric} has not become better in {progress.stale} evaluations"
            yield Stopped(progress.step, reason, resumable=False)
            break
        stage = run.course.stage_at(progress.step)
        if stage != run.stage:
            run.enter_stage(stage)
            yield StageChanged(progress.step, job.stages[stage].name, job.parts.count(job.stages[stage].mask))
            yield from run.open_cache()
        if run.wish_to_stop() is None:
            yield run.take_step()
            yield from run.passes.told(progress.step)
            yield from run.after_step()
        wish = run.wish_to_stop()
        if wish is not None and progress.step < run.course.steps:
            if job.checkpoints and run.saved_step != progress.step:
                yield run.save()
            yield Stopped(progress.step, wish, resumable=job.checkpoints is not None)
            return
    run.take_best()
    yield from try_average(run)
    share = yield from try_mixes(run)
    run.end_coordinates()
    yield Finished(progress.step, progress.best_step, progress.best_scores, run.measure(), share)


class _Run:
    """The mutable half of a run: what ``fit`` moves forward."""

    def __init__(self, job: Job, checkpoint: Checkpoint | None) -> None:
        self.job = job
        settings = job.settings
        self.course = Course(job)
        self.progress = Progress() if checkpoint is None else copy.deepcopy(checkpoint.progress)
        self.stage = -1
        self.saved_step = 0
        self.every_mask: Mask = frozenset().union(*(stage.mask for stage in job.stages))
        self.best: state.Tensors = {}
        self.optimizer: torch.optim.Optimizer | None = None
        self.gradients: SharedGradients | None = None
        self.names: list[str] = []
        self.resting: state.Tensors = {}
        self.rate = 0.0
        self.modes: list[tuple[nn.Module, bool]] = []
        self.cached: Cached | None = None
        self.tables: frozenset[int] = frozenset()
        self.said: Kept = None
        self.rounded: dict[int, Tensor] = {}
        self.passes = Passes(job, partial(self._forward, "train"), self._kernels)
        self.fold: Callable[[], None] = lambda: None
        job.model.to(job.device)
        held = self.every_mask - frozenset(job.parts.fresh)
        self.anchor = Anchor(job.model, held) if settings.l2_sp is not None or settings.mixes else None
        self.average = Average(self.every_mask, settings.average, self.course.steps) if settings.average else None
        # A step that was broken off, in a run before this one, may have left gradients.
        job.model.zero_grad(set_to_none=True)
        if checkpoint is None:
            torch.manual_seed(seed_of(settings.seed, job.processes.rank))

    # stages

    def enter_stage(self, number: int) -> None:
        """Let another mask hold; parameters that trained before keep their moments."""
        self._settle()
        job, stage = self.job, self.job.stages[number]
        self.stage = number
        apply(job.model, job.parts, stage.mask)
        modes = training_modes(job.model, job.parts, stage.mask)
        self.modes = [(module, modes[name]) for name, module in job.model.named_modules()]
        self.passes.enter_stage(stage.mask)
        groups = parameter_groups(job.model, job.parts, stage, job.settings)
        names = [name for group in groups for name in group["names"]]
        moments = self._moments()
        self.optimizer, self.names = build_optimizer(groups, job.settings), names
        self.resting = state.restore_optimizer(self.optimizer, self.names, moments)
        self.tables = tables(job.model, job.settings, job.device)
        self.gradients = SharedGradients(job.processes, self.optimizer, self.tables)

    def _moments(self) -> state.Tensors:
        """Those of the parameters that train now, and of those that trained in an earlier stage and rest."""
        now = state.optimizer_state(self.optimizer, self.names) if self.optimizer else {}
        return {**self.resting, **now}

    def wish_to_stop(self) -> str | None:
        """Why the run is to stop at this boundary; one process's wish is that of all."""
        wish, processes = self.job.stop.reason, self.job.processes
        if processes.count == 1 or not processes.agree(wish is not None):
            return wish
        return next(reason for reason in processes.gather(wish) if reason is not None)

    def open_cache(self) -> Generator[Storing | Stored | NotStored, None, None]:
        """Compute what the stage's frozen layers return, where that is not stored yet."""
        mask = self.job.stages[self.stage].mask
        keep_modes(self.modes)
        used: dict[Side, np.ndarray] = {
            "train": self.course.rows_of_stage(self.stage),
            "validation": np.arange(len(self.job.validation) if self.course.evaluates(self.stage) else 0),
        }
        passes = self.course.passes(self.stage)
        self.cached = yield from open_cache(self.job, mask, used, self.progress.step, passes)
        left_out = self.cached.prefix.modules if self.cached else ()
        self.passes.leave_out(left_out)
        self.rounded = round_frozen(self.job.model, left_out) if self.job.arithmetic.precision == "bf16" else {}
        if self.job.stages[self.stage].standardised and self.anchor is None:
            forward, begun = partial(self._forward, "train"), self.progress.step > 0
            self.fold = standardise(self.job, mask, used["train"], forward, begun=begun)

    def end_coordinates(self) -> None:
        """A layer that learned in other coordinates is a plain one again."""
        fold, self.fold = self.fold, lambda: None
        fold()

    def _forward(self, side: Side, batch: Batch, indices: np.ndarray) -> Any:
        if self.cached is None:
            return self.job.model(**batch.inputs)
        examples = self.job.train if side == "train" else self.job.validation
        return self.cached.forward(side, batch, examples.lengths[indices], indices)

    # steps

    def take_step(self) -> Step:
        """One optimiser step over one batch, in as many forward passes as micro-batches."""
        started = time.perf_counter()
        job, settings, progress = self.job, self.job.settings, self.progress
        assert self.optimizer is not None
        assert self.gradients is not None
        scale = job.stages[self.stage].learning_rate_scale * progress.plateau.factor
        self.rate = set_pace(
            self.optimizer, settings, scale, pace(settings.schedule, settings.warmup, progress.step, self.course.steps)
        )
        keep_modes(self.modes)
        indices = self.course.rows(progress.step)
        own = job.processes.share(indices)
        epoch = self.course.epoch(progress.step)
        pieces = self.passes.pieces(own, epoch)
        batches = [batch for _, batch in pieces]
        weight, tokens = job.processes.total(sum(b.weight for b in batches), sum(b.tokens for b in batches))
        # Rows that count for nothing, such as texts without a labelled token, give a loss of 0, not of 0 / 0.
        with job.arithmetic.active(job.device):
            loss = self.passes.gradients(pieces, epoch, weight or 1.0)
        (loss,) = job.processes.total(loss)
        self.gradients.sum_()
        norm = clip(self.gradients.parameters, settings.max_gradient_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
            raise self._diverged(progress.step + 1, what)
        self.optimizer.step()
        if self.anchor is not None and settings.l2_sp is not None:
            self.anchor.pull(self.optimizer, settings.l2_sp)
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        if self.average is not None and self.average.due(progress.step):
            self._settle()
            self.average.take(job.model, progress.step)
        return Step(
            step=progress.step,
            epoch=progress.step / self.course.steps_per_epoch,
            loss=loss,
            learning_rate=self.rate,
            gradient_norm=norm,
            rows=len(indices),
            tokens=int(tokens),
            seconds=time.perf_counter() - started,
        )

    def _kernels(self) -> AbstractContextManager[object]:
        """Faster ways to compute the same, where the run is on a CPU."""
        if self.job.device.type != "cpu":
            return nullcontext()
        assert self.gradients is not None
        return Kernels(self.tables, self.gradients.about_to_read, self.rounded)

    def _settle(self) -> None:
        """Make the weights what they are: updates of rows that no step has read were put off."""
        if isinstance(self.optimizer, RowAdamW):
            self.optimizer.settle()

    def _diverged(self, step: int, what: str) -> DivergedError:
        return diverged(step, self.progress.step > 0, what, self.rate, self.job.settings.learning_rate)

    # evaluation and checkpoints

    def after_step(self) -> Iterator[Evaluated | Saved]:
        """What is due at this step boundary."""
        evaluate, save = self.course.due(self.progress.step)
        if evaluate:
            yield self.evaluate()
        if self.job.checkpoints and save:
            yield self.save()

    def evaluate(self) -> Evaluated:
        """Score the validation rows and keep the weights where they are the best so far."""
        started = time.perf_counter()
        progress = self.progress
        scores = self.measure()
        best = self.better(scores)
        if best:
            progress.best_step, progress.best_scores, progress.stale = progress.step, scores, 0
            self.best = state.copy_weights(self.job.model, self.every_mask)
        else:
            progress.stale += 1
        progress.plateau.observe(best, self.job.settings.schedule)
        if self.job.observe is not None:
            self.job.observe(progress.step, self.said)
        seconds = time.perf_counter() - started
        return Evaluated(progress.step, progress.step / self.course.steps_per_epoch, scores, best, seconds)

    def measure(self) -> Scores:
        """Scores of the validation rows; the metric that picks the best weights is there, and finite."""
        job, metric = self.job, self.job.settings.metric
        self._settle()
        try:
            with job.arithmetic.active(job.device):
                forward = partial(self._forward, "validation")
                found = predict(job.model, job.task, job.validation, job.device, forward, job.processes)
            scores = scores_of(found, job.task, job.validation)
            self.said = found.values if job.observe else None
        except FloatingPointError as error:
            raise self._diverged(self.progress.step, f"model has diverged ({error})") from error
        if metric not in scores:
            raise RecipeError(
                f"training.metric: '{metric}' is not defined on these validation rows (do they hold one class only?); "
                f"choose one of {', '.join(scores)}, or other rows with data.validation"
            )
        for name in {metric, "loss"} & scores.keys():
            if not math.isfinite(scores[name]):
                raise self._diverged(self.progress.step, f"{name} on the validation rows is {scores[name]}")
        return scores

    def take_best(self) -> None:
        """Bring the best weights back; there is nothing left to update."""
        self.optimizer = self.gradients = None
        # They may be of an earlier stage, which trained what was frozen since.
        if self.every_mask != self.job.stages[self.stage].mask:
            self.cached = None
        state.restore_weights(self.job.model, self.every_mask, self.best)
        self.best, self.rounded = {}, {}
        return_freed_memory()

    def better(self, scores: Scores) -> bool:
        """Whether these scores are better than the best so far; of equal ones those with the lower loss are."""
        metric, best = self.job.settings.metric, self.progress.best_scores
        if not best:
            return True
        if scores[metric] == best[metric]:
            # Few validation rows are soon all right, long before the weights are as good as they get.
            return "loss" in scores.keys() & best.keys() and scores["loss"] < best["loss"]
        more_is_better = self.job.task.metrics[metric]
        return scores[metric] > best[metric] if more_is_better else scores[metric] < best[metric]

    def save(self) -> Saved:
        """Write a checkpoint of this step."""
        random = state.join_random(self.job.processes.gather(state.random_state()))
        path = self.job.processes.on_main(lambda: self._write(random))
        self.saved_step = self.progress.step
        return Saved(self.progress.step, path)

    def _write(self, random: state.Tensors) -> Path:
        assert self.job.checkpoints is not None
        weights = state.live_weights(self.job.model, self.every_mask)
        mean = {} if self.average is None else self.average.mean
        taken = Checkpoint(self.progress, weights, self.best, self._moments(), random, mean)
        return state.write(self.job.checkpoints, taken)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint, in the stage of the last step before it."""
        state.restore_weights(self.job.model, self.every_mask, checkpoint.weights)
        self.saved_step = checkpoint.progress.step
        self.enter_stage(self.course.stage_at(checkpoint.progress.step - 1))
        assert self.optimizer is not None
        resting = state.restore_optimizer(self.optimizer, self.names, checkpoint.optimizer)
        rank = self.job.processes.rank
        if random := state.random_of(checkpoint.random, rank):
            state.restore_random(random)
        else:
            # The run was begun in fewer processes.
            torch.manual_seed(seed_of(self.job.settings.seed, rank, self.saved_step))
        # Copies: what was read is mapped from files that are deleted while the run goes on.
        self.resting = {name: tensor.clone() for name, tensor in resting.items()}
        self.best = {name: tensor.clone() for name, tensor in checkpoint.best.items()}
        if self.average is not None:
            self.average.mean = {name: tensor.clone() for name, tensor in checkpoint.average.items()}

"""The course of a run: how many steps it takes, which rows a step sees, which stage holds, what is due after it.

All of it follows from the number of a step, so a run that is taken up anywhere goes on as if it had never stopped.
"""

import bisect
import math

import numpy as np

from whet.data.batch import epoch_batches
from whet.engine.job import Job
from whet.engine.schedule import stage_ends


class Course:
    """Of one job."""

    def __init__(self, job: Job) -> None:
        self._settings, self._lengths = job.settings, job.train.lengths
        self.steps_per_epoch = math.ceil(len(job.train) / job.settings.batch_size)
        self.steps: int = job.settings.steps or job.settings.epochs * self.steps_per_epoch
        self.epochs = math.ceil(self.steps / self.steps_per_epoch)
        self._ends = stage_ends([stage.share for stage in job.stages], self.steps)
        self._batches: tuple[int, list[np.ndarray]] = (-1, [])

    def epoch(self, step: int) -> int:
        """The epoch of the step that comes after ``step`` of them."""
        return step // self.steps_per_epoch

    def stage_at(self, step: int) -> int:
        """Number of the stage that holds at a step."""
        return min(bisect.bisect_right(self._ends, step), len(self._ends) - 1)

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of the step that comes after ``step`` of them."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._batches[0] != epoch:
            settings = self._settings
            batches = epoch_batches(self._lengths, settings.batch_size, seed=settings.seed, epoch=epoch)
            self._batches = (epoch, batches)
        return self._batches[1][position]

    def rows_of_stage(self, stage: int) -> np.ndarray:
        """The training rows that a stage sees, which are few where it is shorter than an epoch."""
        if len(steps := self._steps_of(stage)) >= self.steps_per_epoch:
            return np.arange(len(self._lengths))
        return np.unique(np.concatenate([self.rows(step) for step in steps]))

    def passes(self, stage: int) -> float:
        """How often a stage sees each of its training rows, on the average."""
        rows = len(self._steps_of(stage)) * self._settings.batch_size
        return rows / max(1, min(rows, len(self._lengths)))

    def evaluates(self, stage: int) -> bool:
        """Whether the validation rows are scored while a stage holds."""
        every, steps = self._settings.evaluate_every or self.steps_per_epoch, self._steps_of(stage)
        return steps.stop == self.steps or steps.stop // every > steps.start // every

    def due(self, step: int) -> tuple[bool, bool]:
        """Whether an evaluation, and whether a checkpoint, is due after so many steps."""
        evaluated = self._due(step, self._settings.evaluate_every or self.steps_per_epoch)
        every = self._settings.checkpoint_every
        return evaluated, self._due(step, every) if every else evaluated

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.steps

    def _steps_of(self, stage: int) -> range:
        return range(self._ends[stage - 1] if stage else 0, self._ends[stage])

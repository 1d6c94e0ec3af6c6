"""What a step makes smaller: the task's loss, and with R-Drop how far two passes over the same rows are apart.

R-Drop (Liang et al. 2021, arXiv 2106.14448) computes the outputs p and q of the same rows twice, each time with other
dropout, and trains (L(p) + L(q)) / 2 + alpha (KL(p, q) + KL(q, p)) / 2. So the loss is as large as without it, and the
learning rate stays right.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from whet.core import Batch, Mask, Parts
from whet.engine.job import Job
from whet.errors import RecipeError
from whet.model.dropout import drops
from whet.model.freeze import training_modes
from whet.protocols import Agreeing, Task


def objective(job: Job, batch: Batch, outputs: Callable[[], Any]) -> Tensor:
    """The sum of the losses of a batch, of which each call of ``outputs`` makes a pass of its own."""
    alpha = job.settings.r_drop
    first = outputs()
    if alpha is None:
        return job.task.loss(first, batch)
    assert isinstance(job.task, Agreeing)
    second = outputs()
    plain = (job.task.loss(first, batch) + job.task.loss(second, batch)) / 2
    return plain + alpha * job.task.apart(first, second, batch)


def refuse_idle_passes(r_drop: float | None, task: Task, model: nn.Module, parts: Parts, masks: Sequence[Mask]) -> None:
    """Raise RecipeError where two passes over the same rows could not be compared, or would be the same."""
    if r_drop is None:
        return
    if not (isinstance(task, Agreeing) and task.distributes):
        raise RecipeError(
            f"training.r_drop: two passes are compared by their probabilities of classes that exclude each other, and "
            f"problem '{task.problem}' has none; leave it out"
        )
    if not any(drops(model, training_modes(model, parts, mask)) for mask in masks):
        raise RecipeError(
            "training.r_drop: nothing that trains has a dropout, so two passes would be the same; set "
            "training.dropout=0.1, or leave r_drop out"
        )

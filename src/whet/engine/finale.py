"""What is tried once the steps are done: the mean of the last weights, and mixes with the pre-trained ones.

All are scored on the validation rows, and the best stays; where metric and loss are equal, the weights of the best
evaluation.
"""

import time
from collections.abc import Generator
from typing import Protocol

from whet.core import Mask, Scores
from whet.engine import state
from whet.engine.anchor import Anchor
from whet.engine.average import Average
from whet.engine.job import Job
from whet.engine.state import Progress
from whet.events import Averaged, Mixed


class Ended(Protocol):
    """A run after its last step, with its best weights in the model."""

    job: Job
    progress: Progress
    every_mask: Mask
    anchor: Anchor | None
    average: Average | None

    def measure(self) -> Scores:
        """Scores of the validation rows."""
        ...

    def better(self, scores: Scores) -> bool:
        """Whether these are better than the best so far."""
        ...


def try_average(run: Ended) -> Generator[Averaged, None, None]:
    """Score the mean of the last weights; it stays where it is better."""
    step, average = run.progress.step, run.average
    if average is None or average.count(step) < 2:
        return
    started = time.perf_counter()
    model = run.job.model
    before = state.copy_weights(model, run.every_mask)
    average.put(model)
    scores = run.measure()
    best = run.better(scores)
    if best:
        run.progress.best_scores, run.progress.best_step = scores, step
    else:
        state.restore_weights(model, run.every_mask, before)
    yield Averaged(step, average.count(step), scores, best, time.perf_counter() - started)


def try_mixes(run: Ended) -> Generator[Mixed, None, float]:
    """Score mixes with the pre-trained weights; the best stays, mix or not. Returns its trained share."""
    if run.anchor is None or not run.job.settings.mixes:
        return 1.0
    model, progress = run.job.model, run.progress
    trained, chosen = run.anchor.trained(model), 1.0
    for share in sorted(run.job.settings.mixes, reverse=True):
        started = time.perf_counter()
        run.anchor.mix(model, trained, share)
        scores = run.measure()
        best = run.better(scores)
        if best:
            progress.best_scores, chosen = scores, share
        yield Mixed(progress.step, share, scores, best, time.perf_counter() - started)
    run.anchor.mix(model, trained, chosen)
    return chosen

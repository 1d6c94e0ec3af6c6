"""How fast a run goes on this machine, tried over a few steps, so that all candidates can get the same time."""

from contextlib import closing
from dataclasses import dataclass, replace

from whet.build import Prepared
from whet.engine.device import let_go
from whet.engine.job import StopRequest
from whet.engine.loop import fit
from whet.engine.schedule import stage_ends
from whet.events import Evaluated, Step, Stored

TRIED = 6
"""Steps of each stage."""
COLD = 2
"""The first of them, which are slow and do not count."""


@dataclass(frozen=True)
class Pace:
    """What a run takes."""

    step: float
    """Seconds of a step, mean over the stages of a whole run."""
    once: float
    """Seconds that do not grow with the steps: what is computed once, and the evaluations."""

    def steps(self, seconds: float) -> int:
        """How many steps fit."""
        return max(0, int((seconds - self.once) / self.step))


def pace(prepared: Prepared, evaluations: int) -> Pace:
    """Try a run that will be evaluated so often; its model is spent afterwards."""
    stages = prepared.stages
    steps = max(round(TRIED / min(stage.share for stage in stages)), TRIED * len(stages))
    settings = replace(
        prepared.settings, steps=steps, evaluate_every=None, checkpoint_every=None, mixes=(), average=None
    )
    ends = stage_ends([stage.share for stage in stages], steps)
    begins = [0, *ends[:-1]]
    taken: dict[int, float] = {}
    once, evaluation = 0.0, 0.0
    rows = len(prepared.examples["train"]) + len(prepared.examples["validation"])
    job = replace(prepared.job(None, StopRequest()), settings=settings)
    with closing(fit(job)) as events:
        for event in events:
            match event:
                case Step():
                    taken[event.step - 1] = event.seconds
                case Stored():
                    once += event.seconds * rows / max(event.rows, 1)
                case Evaluated():
                    evaluation = event.seconds
                    if event.step == steps:
                        break
    let_go(prepared.model)
    mean = 0.0
    for stage, begin, end in zip(stages, begins, ends, strict=True):
        warm = [taken[step] for step in range(min(begin + COLD, end - 1), end)]
        mean += stage.share * sum(warm) / len(warm)
    return Pace(mean, once + evaluations * evaluation)

"""The mean of the last weights: what it is, when it stays, and that it survives a break."""

from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.contracts.arena import Fight, run, short, weights
from tests.contracts.backbones import BACKBONES
from whet.engine.average import TAKES, Average
from whet.engine.job import Job
from whet.engine.loop import fit
from whet.engine.state import newest
from whet.events import Averaged, Finished, Step

BERT = next(Fight(backbone, "full", {}) for backbone in BACKBONES if backbone.name == "bert")


def recorded(job: Job) -> list[dict[str, Tensor]]:
    """The weights after each step."""
    return [weights(job.model) for event in fit(job) if isinstance(event, Step)]


@pytest.mark.parametrize(("steps", "share", "takes"), [(6, 0.5, [4, 5, 6]), (100, 0.2, list(range(81, 101)))])
def test_weights_are_taken_at_the_last_steps(steps: int, share: float, takes: list[int]) -> None:
    average = Average(frozenset(), share, steps)
    assert [step for step in range(1, steps + 1) if average.due(step)] == takes


def test_of_many_steps_a_few_are_taken_the_last_one_among_them() -> None:
    average = Average(frozenset(), 1.0, 1000)
    taken = [step for step in range(1, 1001) if average.due(step)]
    assert len(taken) == TAKES
    assert taken[-1] == 1000
    assert average.count(499) == TAKES // 2 - 1


def test_the_mean_is_that_of_the_weights_and_stays_where_it_is_better() -> None:
    settings = short(evaluate_every=100, average=0.5, metric="loss", learning_rate=5e-3)
    # Six steps, of which three are taken.
    after = recorded(BERT.job(settings))
    job = BERT.job(settings)
    events = run(job)
    (averaged,) = [event for event in events if isinstance(event, Averaged)]
    assert averaged.count == 3
    finished = events[-1]
    assert isinstance(finished, Finished)
    single = next(e for e in run(BERT.job(short(settings, average=None))) if isinstance(e, Finished))
    assert averaged.best == (averaged.scores["loss"] < single.scores["loss"])
    assert finished.scores["loss"] == min(averaged.scores["loss"], single.scores["loss"])
    expected = {
        name: sum(held[name] for held in after[3:]) / 3 for name in after[0] if after[0][name].is_floating_point()
    }
    now = weights(job.model)
    wanted = expected if averaged.best else after[-1]
    assert all(torch.allclose(now[name], wanted[name], atol=1e-6) for name in expected)  # type: ignore[arg-type]


def test_a_broken_run_ends_with_the_same_mean(tmp_path: Path) -> None:
    settings = short(evaluate_every=100, checkpoint_every=1, average=0.7, metric="loss")
    whole = BERT.job(settings)
    expected = run(whole)
    with closing(fit(BERT.job(settings, tmp_path))) as events:
        for event in events:
            if isinstance(event, Step) and event.step == 5:
                break
    checkpoint, _ = newest(tmp_path)
    assert checkpoint is not None
    assert checkpoint.average
    resumed = BERT.job(settings, tmp_path)
    rest = run(resumed, checkpoint)
    means = [next(e for e in told if isinstance(e, Averaged)) for told in (expected, rest)]
    assert means[0].scores == means[1].scores
    now = weights(resumed.model)
    assert all(torch.equal(tensor, now[name]) for name, tensor in weights(whole.model).items())


def test_a_single_step_is_no_mean() -> None:
    assert not [e for e in run(BERT.job(short(average=0.01))) if isinstance(e, Averaged)]

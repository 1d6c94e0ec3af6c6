"""Range tests: the rates grow, what they say is right, and afterwards everything is as it was."""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.contracts.arena import SETTINGS
from tests.engine.jobs import BreakingTask, Stages, changed, job, three_stages, timeless
from whet.core import Parts, Stage
from whet.engine.job import Job
from whet.engine.loop import fit
from whet.engine.range_test import MARGIN, range_test, read
from whet.events import Step


def steps(run: Job, count: int = 12, lowest: float = 1e-6, highest: float = 1e-1) -> list[Step]:
    found = range_test(run, lowest=lowest, highest=highest, steps=count)
    return [event for event in found if isinstance(event, Step)]


def frozen_first(parts: Parts) -> list[Stage]:
    return [Stage("last", 1.0, parts.under([*parts.blocks[-1], *parts.head]))]


def head(parts: Parts) -> list[Stage]:
    return [Stage("head", 1.0, parts.under(parts.head))]


def test_the_rate_grows_by_the_same_factor_at_every_step() -> None:
    found = steps(job(), 12, 1e-6, 1e-3)
    rates = np.array([step.learning_rate for step in found])
    assert len(rates) == 12
    assert rates[0] == pytest.approx(1e-6)
    assert rates[1:] / rates[:-1] == pytest.approx(np.full(11, 1000 ** (1 / 13)))


@pytest.mark.parametrize("stages", [None, frozen_first, head, three_stages])
@pytest.mark.parametrize("backbone", ["bert", "resnet"])
def test_nothing_of_the_model_has_changed(stages: Stages | None, backbone: str) -> None:
    run = job(stages=stages, backbone=backbone, dropout=0.1)
    run.model.train()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    modes = {name: module.training for name, module in run.model.named_modules()}
    trains = {name: parameter.requires_grad for name, parameter in run.model.named_parameters()}
    random = torch.get_rng_state()
    assert steps(run)
    after = run.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name: module.training for name, module in run.model.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in run.model.named_parameters()} == trains
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("stages", [None, head, three_stages])
def test_a_run_afterwards_is_the_very_run(stages: Stages | None) -> None:
    one, other = (job(stages=stages, dropout=0.1) for _ in range(2))
    steps(one)
    assert timeless(list(fit(one))) == timeless(list(fit(other)))
    trained = [run.model.state_dict() for run in (one, other)]
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_what_is_broken_off_leaves_no_trace_either() -> None:
    run = job()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with closing(range_test(run, lowest=1e-3, highest=1.0, steps=10)) as events:
        for event in events:
            if isinstance(event, Step) and event.step == 4:
                break
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_a_loss_that_is_not_finite_is_the_end_of_the_test_and_no_error() -> None:
    run = job(task=changed(BreakingTask, at=5))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    assert [step.step for step in steps(run)] == [1, 2, 3, 4]
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_it_ends_where_the_loss_explodes() -> None:
    run = job(replace(SETTINGS, max_gradient_norm=None, optimizer="sgd"))
    assert len(steps(run, 60, 1e-4, 1e4)) < 60


def test_a_stop_is_heard() -> None:
    run = job()
    run.stop.make("a test")
    assert steps(run) == []


# --- what the losses say ------------------------------------------------------------------------------------------

RATES = [10.0 ** (-6 + i / 20) for i in range(100)]


def valley(rate: float) -> float:
    """A loss that falls fastest around 1e-4, is lowest at 1e-3 and explodes behind it."""
    return 2.0 - 1.5 / (1 + math.pow(1e-4 / rate, 1.5)) + math.pow(rate / 1e-2, 2)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_suggestion_lies_before_the_valley(noise: float) -> None:
    draws = np.random.default_rng(0).normal(0, noise, len(RATES))
    found = read(RATES, [valley(rate) + draw for rate, draw in zip(RATES, draws, strict=True)], diverged=False)
    assert found.steepest is not None
    assert found.lowest is not None
    assert found.suggestion is not None
    assert 5e-5 < found.steepest < 1e-3
    assert 1e-3 < found.lowest < 1e-2
    assert found.suggestion == float(f"{min(found.steepest, found.lowest / MARGIN):.2g}")
    assert found.diverges is not None
    assert 1e-2 < found.diverges < 1e-1


@pytest.mark.parametrize("loss", [lambda _: 0.7, lambda rate: 0.7 + rate, lambda rate: 0.7 - 0.001 * math.log10(rate)])
def test_where_the_loss_does_not_fall_nothing_is_suggested(loss: Callable[[float], float]) -> None:
    found = read(RATES, [loss(rate) for rate in RATES], diverged=False)
    assert (found.suggestion, found.steepest, found.lowest) == (None, None, None)


def test_a_test_that_ended_with_no_finite_loss_diverged_at_its_last_rate() -> None:
    assert read(RATES[:50], [1 - i / 100 for i in range(50)], diverged=True).diverges == RATES[49]
    assert read(RATES[:50], [1 - i / 100 for i in range(50)], diverged=False).diverges is None


def test_few_steps_suggest_nothing() -> None:
    assert read(RATES[:3], [1.0, 0.5, 0.2], diverged=True).suggestion is None

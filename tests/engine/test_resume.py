"""A run that is broken off and taken up again is the run that was never broken off."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contracts.arena import SETTINGS, run, short, weights
from tests.engine.jobs import (
    PeakTask,
    ScriptedTask,
    Stages,
    changed,
    job,
    killed_after_saving,
    stopped_after,
    three_stages,
    timeless,
    two_stages,
)
from whet.engine.job import Job, Settings
from whet.engine.state import Checkpoint, newest
from whet.errors import RunFolderError
from whet.events import Evaluated, Event, Finished, Saved, Started, Step, Stopped


def saved(folder: Path) -> Checkpoint:
    """The newest checkpoint, which is whole."""
    checkpoint, complaints = newest(folder)
    assert checkpoint is not None
    assert complaints == []
    return checkpoint


def assert_same(whole: Job, resumed: Job, expected: list[Event], rest: list[Event], step: int) -> None:
    """The rest of a run from ``step`` on is that of the whole run, and so are the final weights, bit for bit."""
    later = [event for event in timeless(expected) if not isinstance(event, Started) and _comes_after(step, event)]
    first, *others = timeless(rest)
    assert isinstance(first, Started)
    assert first.step == step
    assert others == later
    final = weights(resumed.model)
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(whole.model).items())


def _comes_after(step: int, event: Event) -> bool:
    if isinstance(event, Step | Evaluated):
        return event.step > step
    return isinstance(event, Finished) or event.step >= step


COURSES: dict[str, dict[str, Any]] = {
    "adamw": {},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.02},
    "layer decay and warm-up": {"layer_decay": 0.8, "warmup": 0.3},
    "one cycle": {
        "schedule": {"name": "one_cycle", "rise": 0.3, "start": 0.04, "final": 0.0}
        | {"lowest_momentum": 0.85, "highest_momentum": 0.95}
    },
    "plateau": {"schedule": {"name": "plateau", "factor": 0.5, "patience": 0}},
    "micro-batches": {"micro_batch_size": 3},
}


@pytest.mark.parametrize("changes", COURSES.values(), ids=COURSES)
def test_resumed_is_uninterrupted_for_every_course(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = short(**{"steps": 8, "batch_size": 5, "evaluate_every": 2} | changes)
    whole, broken, resumed = job(settings), job(settings, tmp_path), job(settings, tmp_path)
    expected = run(whole)
    stopped_after(4, broken)
    assert_same(whole, resumed, expected, run(resumed, saved(tmp_path)), 4)


@pytest.mark.parametrize(
    ("stages", "step"),
    [(two_stages, 2), (two_stages, 4), (two_stages, 6), *((three_stages, step) for step in (1, 3, 4, 6, 7, 8))],
)
def test_resumed_is_uninterrupted_in_every_stage_and_between(tmp_path: Path, stages: Stages, step: int) -> None:
    settings = short(steps=9, evaluate_every=4)
    whole, broken, resumed = (job(settings, folder, stages=stages) for folder in (None, tmp_path, tmp_path))
    expected = run(whole)
    stopped_after(step, broken)
    assert_same(whole, resumed, expected, run(resumed, saved(tmp_path)), step)


def test_a_run_can_be_broken_off_after_every_step(tmp_path: Path) -> None:
    settings = short(steps=5, evaluate_every=2)
    whole = job(settings, stages=two_stages)
    expected = run(whole)
    checkpoint = None
    for step in range(1, 5):
        made = job(settings, tmp_path, stages=two_stages)
        stopped_after(step, made, checkpoint)
        checkpoint = saved(tmp_path)
    last = job(settings, tmp_path, stages=two_stages)
    assert_same(whole, last, expected, run(last, checkpoint), 4)


def test_running_statistics_are_taken_up(tmp_path: Path) -> None:
    settings = short(steps=6, evaluate_every=2)
    whole, broken, resumed = (job(settings, folder, backbone="resnet") for folder in (None, tmp_path, tmp_path))
    expected = run(whole)
    stopped_after(3, broken)
    assert_same(whole, resumed, expected, run(resumed, saved(tmp_path)), 3)


def test_a_checkpoint_from_before_the_first_evaluation_has_no_best_weights_and_can_be_taken_up(tmp_path: Path) -> None:
    whole, broken, resumed = job(), job(checkpoints=tmp_path), job(checkpoints=tmp_path)
    expected = run(whole)
    stopped_after(1, broken)
    checkpoint = saved(tmp_path)
    assert (checkpoint.best, checkpoint.progress.best_scores) == ({}, {})
    assert_same(whole, resumed, expected, run(resumed, checkpoint), 1)


def test_best_weights_of_before_come_back_after_the_rest(tmp_path: Path) -> None:
    settings = short(learning_rate=0.005, steps=10, evaluate_every=1, metric="distance")
    whole, broken, resumed = (job(settings, folder, task=changed(PeakTask)) for folder in (None, tmp_path, tmp_path))
    expected = run(whole)
    stopped_after(9, broken)
    rest = run(resumed, saved(tmp_path))
    assert isinstance(rest[-1], Finished)
    assert rest[-1].best_step < 9
    assert rest[-1].recorded == rest[-1].scores
    assert_same(whole, resumed, expected, rest, 9)


def test_the_same_checkpoint_can_be_taken_up_twice(tmp_path: Path) -> None:
    settings = short(steps=6, evaluate_every=2, schedule=COURSES["plateau"]["schedule"])
    stopped_after(3, job(settings, tmp_path, stages=two_stages))
    checkpoint = saved(tmp_path)
    rests = [timeless(run(job(settings, stages=two_stages), checkpoint)) for _ in range(2)]
    assert rests[0] == rests[1]
    assert checkpoint.progress.step == 3


def test_a_model_that_went_further_can_be_taken_back(tmp_path: Path) -> None:
    made = job(short(steps=6, evaluate_every=2), tmp_path)
    killed_after_saving(2, made)
    checkpoint = saved(tmp_path)
    first = run(replace(made, checkpoints=None), checkpoint)
    assert timeless(run(replace(made, checkpoints=None), checkpoint)) == timeless(first)


def test_a_run_whose_patience_was_used_up_takes_no_further_step(tmp_path: Path) -> None:
    settings = short(steps=9, evaluate_every=1, patience=2)
    whole, broken, resumed = (job(settings, f, task=changed(ScriptedTask)) for f in (None, tmp_path, tmp_path))
    expected = run(whole)
    killed_after_saving(3, broken)
    rest = run(resumed, saved(tmp_path))
    assert [type(event) for event in rest] == [Started, Stopped, Finished]
    assert_same(whole, resumed, expected, rest, 3)


def test_a_run_that_died_after_its_last_step_only_measures(tmp_path: Path) -> None:
    whole, broken, resumed = job(), job(checkpoints=tmp_path), job(checkpoints=tmp_path)
    expected = run(whole)
    killed_after_saving(6, broken)
    rest = run(resumed, saved(tmp_path))
    assert [type(event) for event in rest] == [Started, Finished]
    assert_same(whole, resumed, expected, rest, 6)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path: Path) -> None:
    settings = short(steps=8, evaluate_every=2)
    whole, broken, resumed = job(settings), job(settings, tmp_path), job(settings, tmp_path)
    expected = run(whole)
    killed_after_saving(6, broken)
    (tmp_path / "step-00000006" / "optimizer.safetensors").write_bytes(b"")
    checkpoint, complaints = newest(tmp_path)
    assert checkpoint is not None
    assert len(complaints) == 1
    rest = run(resumed, checkpoint)
    assert_same(whole, resumed, expected, rest, 4)
    assert [event.step for event in rest if isinstance(event, Saved)] == [6, 8]
    assert saved(tmp_path).progress.step == 8


@pytest.mark.parametrize("wrong", ["backbone", "mask"])
def test_a_checkpoint_of_another_job_is_refused(tmp_path: Path, wrong: str) -> None:
    stopped_after(2, job(SETTINGS, tmp_path))
    other = job(backbone="resnet") if wrong == "backbone" else job(stages=two_stages)
    before = weights(other.model)
    with pytest.raises(RunFolderError, match="not of this model and method"):
        run(other, saved(tmp_path))
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(other.model).items())


def test_a_run_that_was_made_shorter_ends_with_its_best_weights(tmp_path: Path) -> None:
    stopped_after(5, job(SETTINGS, tmp_path))
    shorter: Settings = short(epochs=1)
    rest = run(job(shorter, tmp_path), saved(tmp_path))
    assert [type(event) for event in rest] == [Started, Finished]
    assert not any(isinstance(event, Step) for event in rest)

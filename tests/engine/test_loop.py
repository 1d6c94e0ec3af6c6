from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.contracts.arena import ROWS, SETTINGS, TensorTask, run, short, weights
from tests.engine.jobs import (
    BlindTask,
    BreakingTask,
    PeakTask,
    ScriptedTask,
    WeightedTask,
    changed,
    files_of_at_most,
    job,
    not_a_number,
    stopped_after,
    three_stages,
    timeless,
    two_stages,
)
from whet.core import Batch, Examples, Scores
from whet.engine.job import Job, Settings
from whet.engine.loop import fit
from whet.engine.state import newest
from whet.errors import DivergedError, RecipeError, SaveError
from whet.events import Evaluated, Event, Finished, Saved, StageChanged, Started, Step, Stopped

E = TypeVar("E", bound=Event)

PLAIN = Settings(
    learning_rate=1.0,
    steps=1,
    batch_size=5,
    optimizer="sgd",
    momentum=0.0,
    weight_decay=0.0,
    max_gradient_norm=None,
)
"""One step, which moves the weights by the gradient itself."""


def of_kind(kind: type[E], events: Sequence[Event]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def moved(made: Job) -> dict[str, Tensor]:
    """How far a run takes each parameter, with the best weights those of the last step."""
    before = weights(made.model)
    run(made)
    return {name: before[name] - tensor for name, tensor in weights(made.model).items()}


def order(settings: Settings, **options: Any) -> str:
    """The events of a run as letters: S(t)arted, (s)tep, (e)valuated, (c)heckpoint, (F)inished."""
    letters = {Started: "S", Step: "s", Evaluated: "e", Saved: "c", StageChanged: "", Finished: "F", Stopped: "X"}
    return "".join(letters[type(event)] for event in run(job(settings, **options)))


# --- order and counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epochs": 2}, "SsssecsssecF"),
        ({"steps": 4}, "SsssecsecF"),
        ({"steps": 1}, "SsecF"),
        ({"steps": 2, "evaluate_every": 100}, "SssecF"),
        ({"steps": 3, "evaluate_every": 2}, "SssecsecF"),
        ({"steps": 5, "evaluate_every": 3, "checkpoint_every": 2}, "SsscsescsecF"),
        ({"epochs": 1, "batch_size": 5}, "SsssecF"),
        ({"epochs": 2, "batch_size": 100}, "SsecsecF"),
    ],
)
def test_what_happens_when(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    settings = short(**changes) if "epochs" in changes else short(epochs=1, **changes)
    assert order(settings, checkpoints=tmp_path) == expected


def test_without_a_folder_nothing_is_saved() -> None:
    assert order(short(epochs=1, checkpoint_every=1)) == "SssseF"


def test_the_first_and_the_last_event_tell_what_the_run_is() -> None:
    made = job(short(epochs=2, batch_size=5))
    first, *_, last = run(made)
    assert first == Started(6, 0, 2, ROWS, made.parts.count(made.stages[0].mask), made.parts.count(made.stages[0].mask))
    assert isinstance(last, Finished)
    assert last.step == 6


def test_steps_count_rows_and_epochs_and_the_tail_is_the_last_of_its_epoch() -> None:
    steps = of_kind(Step, run(job(short(epochs=2, batch_size=5))))
    assert [event.rows for event in steps] == [5, 5, 2, 5, 5, 2]
    assert [event.tokens for event in steps] == [5, 5, 2, 5, 5, 2]
    assert [event.epoch for event in steps] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6]


def test_one_row_is_enough() -> None:
    made = job(short(epochs=2))
    alone = replace(made.train, targets=None, lengths=np.ones(1, dtype=np.int64))
    events = run(replace(made, train=alone))
    assert [event.rows for event in of_kind(Step, events)] == [1, 1]


def test_the_learning_rate_follows_schedule_warm_up_and_stage() -> None:
    settings = short(learning_rate=0.1, steps=6, warmup=1 / 3, schedule={"name": "linear", "final": 0.0})
    rates = [event.learning_rate for event in of_kind(Step, run(job(settings, stages=two_stages)))]
    assert rates == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.075 / 2, 0.05 / 2, 0.025 / 2])


def test_plateau_slows_down_when_the_score_has_stopped_to_improve() -> None:
    plateau = {"name": "plateau", "factor": 0.5, "patience": 1}
    made = job(short(learning_rate=0.1, steps=6, evaluate_every=1, schedule=plateau), task=changed(ScriptedTask))
    rates = [event.learning_rate for event in of_kind(Step, run(made))]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025])


# --- the arithmetic of a step -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TensorTask, WeightedTask])
@pytest.mark.parametrize("micro", [1, 2, 3, 4])
def test_micro_batches_have_the_loss_and_the_gradient_of_the_whole_batch(kind: type[TensorTask], micro: int) -> None:
    whole = job(PLAIN, task=changed(kind), dropout=0.0)
    split = job(replace(PLAIN, micro_batch_size=micro), task=changed(kind), dropout=0.0)
    expected, found = moved(whole), moved(split)
    assert max(float((expected[name] - found[name]).abs().max()) for name in expected) < 1e-6
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-2


@pytest.mark.parametrize("kind", [TensorTask, WeightedTask])
def test_a_tail_of_fewer_rows_is_weighted_like_any_other_batch(kind: type[TensorTask]) -> None:
    settings = replace(PLAIN, steps=3, learning_rate=0.01)
    whole = of_kind(Step, run(job(settings, task=changed(kind), dropout=0.0)))
    split = of_kind(Step, run(job(replace(settings, micro_batch_size=3), task=changed(kind), dropout=0.0)))
    assert whole[-1].rows == 2
    assert [event.loss for event in split] == pytest.approx([event.loss for event in whole], abs=1e-6)
    assert [e.gradient_norm for e in split] == pytest.approx([e.gradient_norm for e in whole], rel=1e-5)


def test_the_loss_of_a_step_is_the_mean_over_its_weights() -> None:
    made = job(replace(PLAIN, batch_size=ROWS), task=changed(WeightedTask), dropout=0.0)
    assert isinstance(made.task, WeightedTask)
    with torch.no_grad():
        logits = made.model(**made.task.inputs).logits
    expected = nn.functional.cross_entropy(logits, made.task.targets, made.task.class_weights)
    assert of_kind(Step, run(made))[0].loss == pytest.approx(float(expected), abs=1e-6)


def test_rows_that_count_for_nothing_move_nothing() -> None:
    class Weightless(TensorTask):
        def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
            return replace(super().collate(examples, indices), weight=0.0)

        def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
            return super().loss(outputs, batch) * 0.0

    made = job(PLAIN, task=changed(Weightless))
    assert all(not distance.any() for distance in moved(made).values())


def test_gradients_are_clipped_to_the_norm_and_reported_as_they_were() -> None:
    def length(distances: Mapping[str, Tensor]) -> float:
        return float(torch.cat([distance.flatten() for distance in distances.values()]).norm())

    free, clipped = job(PLAIN, dropout=0.0), job(replace(PLAIN, max_gradient_norm=0.01), dropout=0.0)
    norm = of_kind(Step, run(job(replace(PLAIN, max_gradient_norm=0.01), dropout=0.0)))[0].gradient_norm
    assert norm > 0.1
    assert length(moved(free)) == pytest.approx(norm, rel=1e-4)
    assert length(moved(clipped)) == pytest.approx(0.01, rel=1e-3)


def test_gradients_of_a_step_that_was_broken_off_do_not_leak_into_the_next_run() -> None:
    def interrupted(loss: Tensor, logits: Tensor) -> Tensor:
        raise KeyboardInterrupt

    task = changed(BreakingTask, at=2, breaks=interrupted)
    made = job(replace(PLAIN, micro_batch_size=2), task=task, dropout=0.0)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert any(parameter.grad is not None for parameter in made.model.parameters())
    expected = run(job(PLAIN, dropout=0.0))
    assert timeless(run(replace(made, task=job().task, settings=PLAIN))) == timeless(expected)


# --- stages -----------------------------------------------------------------------------------------------------


def test_stages_follow_each_other_and_are_told() -> None:
    made = job(short(steps=6), stages=three_stages)
    told = of_kind(StageChanged, run(made))
    assert [(event.step, event.stage) for event in told] == [(0, "head"), (2, "last block"), (4, "all")]
    assert [event.trainable for event in told] == [made.parts.count(stage.mask) for stage in made.stages]


def test_in_each_stage_its_mask_moves_and_nothing_else() -> None:
    made = job(short(steps=6, evaluate_every=100), stages=three_stages)
    before, mask, checked = weights(made.model), frozenset[str](), []
    with closing(fit(made)) as events:
        for event in events:
            if isinstance(event, StageChanged):
                mask = next(stage.mask for stage in made.stages if stage.name == event.stage)
            elif isinstance(event, Step):
                after = weights(made.model)
                assert {name for name in after if not torch.equal(after[name], before[name])} == mask
                checked.append(len(mask))
                before = after
    assert checked == [len(stage.mask) for stage in made.stages for _ in range(2)]


def test_moments_come_back_after_a_stage_of_rest() -> None:
    # In the last stage the head's gradient is 0: only moments from the first stage can move it.
    made = job(short(steps=6, weight_decay=0.0, evaluate_every=100), stages=three_stages)
    silent = made.stages[0].mask
    seen: dict[int, dict[str, Tensor]] = {}
    with closing(fit(made)) as events:
        for event in events:
            if isinstance(event, Step):
                seen[event.step] = weights(made.model)
            elif isinstance(event, StageChanged) and event.stage == "all":
                for name in silent:
                    made.model.get_parameter(name).register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
    assert all(not torch.equal(seen[5][name], seen[4][name]) for name in silent)


def test_a_run_of_one_step_is_of_the_last_stage() -> None:
    told = of_kind(StageChanged, run(job(short(steps=1), stages=three_stages)))
    assert [(event.step, event.stage) for event in told] == [(0, "all")]


# --- the best weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backbone", "rate"), [("bert", 0.005), ("resnet", 0.001)])
def test_the_best_weights_come_back_and_measure_what_was_recorded(backbone: str, rate: float) -> None:
    settings = short(learning_rate=rate, steps=10, evaluate_every=1, metric="distance")
    made = job(settings, task=changed(PeakTask), backbone=backbone)
    scores: dict[int, Scores] = {}
    best: dict[str, Tensor] = {}
    events = []
    for event in fit(made):
        events.append(event)
        if isinstance(event, Evaluated):
            scores[event.step] = event.scores
            if event.best:
                best = weights(made.model)
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.best_step == min(scores, key=lambda step: scores[step]["distance"])
    assert 1 < last.best_step < 10
    assert last.recorded == last.scores == scores[last.best_step]
    assert all(torch.equal(tensor, best[name]) for name, tensor in weights(made.model).items())


def test_of_equal_evaluations_the_first_is_best() -> None:
    events = run(job(short(steps=4, evaluate_every=1), task=changed(ScriptedTask)))
    assert [event.best for event in of_kind(Evaluated, events)] == [True, False, False, False]
    assert of_kind(Finished, events)[0].best_step == 1


def test_of_equal_metrics_the_lower_loss_is_best() -> None:
    """A handful of validation rows are all right long before the weights are good."""
    task = changed(ScriptedTask, losses=(0.9, 0.5, 0.4, 0.6))
    events = run(job(short(steps=4, evaluate_every=1), task=task))
    assert [event.best for event in of_kind(Evaluated, events)] == [True, True, True, False]
    assert of_kind(Finished, events)[0].best_step == 3


# --- stopping early ---------------------------------------------------------------------------------------------


def test_the_run_stops_when_the_patience_is_used_up() -> None:
    events = run(job(short(steps=9, evaluate_every=2, patience=2), task=changed(ScriptedTask)))
    stopped = of_kind(Stopped, events)
    assert stopped == [Stopped(6, "accuracy has not become better in 2 evaluations", resumable=False)]
    assert events[-2:-1] == stopped
    assert of_kind(Finished, events)[0].best_step == 2


def test_patience_that_is_used_up_at_the_last_step_stops_nothing() -> None:
    events = run(job(short(steps=6, evaluate_every=2, patience=2), task=changed(ScriptedTask)))
    assert of_kind(Stopped, events) == []


def test_a_better_score_renews_the_patience() -> None:
    task = changed(ScriptedTask, script=(0.5, 0.4, 0.6, 0.5, 0.5, 0.6))
    events = run(job(short(steps=9, evaluate_every=1, patience=2), task=task))
    assert [event.best for event in of_kind(Evaluated, events)] == [True, False, True, False, False]
    assert [(event.step, event.best_step) for event in of_kind(Finished, events)] == [(5, 3)]


def test_a_wish_to_stop_is_heard_after_the_step_and_saves_once(tmp_path: Path) -> None:
    events = stopped_after(3, job(SETTINGS, tmp_path))
    assert events[-1] == Stopped(3, "the test says so", resumable=True)
    assert [type(event) for event in events[-4:]] == [Step, Evaluated, Saved, Stopped]
    assert [event.step for event in of_kind(Saved, events)] == [3]


def test_without_checkpoints_a_stopped_run_cannot_go_on() -> None:
    assert stopped_after(2, job())[-1] == Stopped(2, "the test says so", resumable=False)


def test_a_wish_to_stop_in_the_last_step_stops_nothing() -> None:
    assert isinstance(stopped_after(6, job())[-1], Finished)


def test_a_run_that_is_closed_leaves_a_model_that_can_be_used_and_trained() -> None:
    made = job()
    with closing(fit(made)) as events:
        for event in events:
            if isinstance(event, Step):
                break
    logits = made.model.eval()(**made.task.collate(made.train, np.arange(4)).inputs).logits
    assert torch.isfinite(logits).all()
    assert isinstance(run(made)[-1], Finished)


# --- what goes wrong --------------------------------------------------------------------------------------------


def infinite(loss: Tensor, logits: Tensor) -> Tensor:
    return loss + float("inf")


def no_slope(loss: Tensor, logits: Tensor) -> Tensor:
    """Finite, but its gradient is not: the slope of a root at 0."""
    return loss + (logits - logits.detach()).abs().sqrt().sum()


@pytest.mark.parametrize(
    ("breaks", "words"),
    [(not_a_number, "loss is nan"), (infinite, "loss is inf"), (no_slope, "gradient norm is nan")],
)
def test_a_run_that_diverges_names_step_and_rate_and_keeps_the_checkpoint_before(
    tmp_path: Path, breaks: Callable[[Tensor, Tensor], Tensor], words: str
) -> None:
    task = changed(BreakingTask, at=5, breaks=breaks)
    settings = short(learning_rate=0.02, schedule={"name": "linear", "final": 0.0})
    made = job(settings, tmp_path, task=task)
    with pytest.raises(DivergedError) as error:
        run(made)
    for part in ("step 5:", words, "at learning rate 0.00667", "training.learning_rate=0.002", "training.warmup"):
        assert part in str(error.value)
    checkpoint, complaints = newest(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.progress.step, complaints) == (3, [])
    assert all(torch.isfinite(parameter).all() for parameter in made.model.parameters())


def test_what_is_broken_before_the_first_update_is_not_blamed_on_the_learning_rate() -> None:
    with pytest.raises(DivergedError, match=r"step 1: the loss is nan .*not the learning rate.*weights"):
        run(job(task=changed(BreakingTask)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value": float("nan")}, "predictions of 2 of 12 rows are not finite"),
        ({"value": float("inf")}, "predictions of 2 of 12 rows are not finite"),
        ({"added": float("inf")}, "loss on the validation rows is inf"),
    ],
)
def test_validation_that_is_not_finite_is_divergence(tmp_path: Path, options: dict[str, float], words: str) -> None:
    settings = short(checkpoint_every=2)
    with pytest.raises(DivergedError) as error:
        run(job(settings, tmp_path, task=changed(BlindTask, **options)))
    for part in ("step 3:", words, "at learning rate 0.001", "training.learning_rate=0.0001"):
        assert part in str(error.value)
    assert newest(tmp_path)[0] is not None


def test_a_metric_that_the_validation_rows_do_not_define_is_named_with_those_that_they_do() -> None:
    with pytest.raises(RecipeError, match=r"training.metric: 'roc_auc' is not defined.*accuracy, macro_f1"):
        run(job(short(metric="roc_auc"), task=changed(BlindTask)))


def test_a_disk_that_fills_up_ends_the_run_and_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    made = job(short(checkpoint_every=2), tmp_path)
    events = fit(made)
    assert any(isinstance(event, Saved) for event in events)
    with files_of_at_most(10_000), pytest.raises(SaveError, match=r"step-00000004 could not be written: .*too large"):
        list(events)
    checkpoint, complaints = newest(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.progress.step, complaints) == (2, [])
    assert isinstance(run(job(short(checkpoint_every=2), tmp_path), checkpoint)[-1], Finished)

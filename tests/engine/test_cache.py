"""Outputs of frozen layers within a run: where they are kept, when they are refused, and what a stop leaves."""

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from torch import nn

import whet
from tests.contracts.arena import ROWS, Fight, TrimmedTask, run, short, store_as_read
from tests.contracts.backbones import PADDING
from tests.engine import jobs, toys
from tests.engine.frozen import assert_same_weights, head_job, of_kind, small_batches
from tests.engine.jobs import BY_NAME, files_of_at_most, timeless, two_stages
from whet.core import Ragged, Stage
from whet.engine.arithmetic import Arithmetic
from whet.engine.cache import FOLDER, LIMIT, cache_folder, cache_limit
from whet.engine.job import Job
from whet.engine.loop import fit
from whet.engine.state import newest
from whet.errors import RecipeError
from whet.events import Event, Finished, NotStored, Started, Step, Stopped, Stored, Storing

# --- where, and how much ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({FOLDER: "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({FOLDER: "~/kept", "HOME": "/h"}, "/h/kept"),
        ({FOLDER: "", "XDG_CACHE_HOME": "/x"}, "/x/whet"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/whet"),
        ({"HOME": "/h"}, "/h/.cache/whet"),
    ],
)
def test_the_folder_is_that_of_the_user(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in (FOLDER, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


@pytest.mark.parametrize(("given", "expected"), [("", 10**10), ("0", 0), ("2.5", 2_500_000_000), (" 1 ", 10**9)])
def test_the_limit_is_a_number_of_gigabytes(monkeypatch: pytest.MonkeyPatch, given: str, expected: int) -> None:
    monkeypatch.setenv(LIMIT, given)
    assert cache_limit() == expected


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf", "1e400", "10 GB", "-0.1"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(LIMIT, given)
    with pytest.raises(RecipeError, match="number of gigabytes") as error:
        cache_limit()
    assert f"'{given}'" in str(error.value)


def test_a_limit_that_is_none_ends_the_run_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "much")
    with pytest.raises(RecipeError, match="WHET_CACHE_GB: 'much'"):
        whet.train({"data": {"train": "there is no such file.csv"}}, quiet=True)


# --- where outputs are kept -------------------------------------------------------------------------------------


def test_outputs_are_kept_on_the_disk_and_in_memory_on_request(tmp_path: Path) -> None:
    (event,) = of_kind(Stored, run(head_job(short(epochs=1), tmp_path)))
    assert event.folder is not None
    assert event.folder.parent == tmp_path
    assert (event.rows, event.reused, event.blocks, event.of) == (2 * ROWS, 0, 3, 3)
    assert event.size == 2 * ROWS * 32 * 4
    assert 0.9 < event.share < 1
    (again,) = of_kind(Stored, run(head_job(short(epochs=1), tmp_path)))
    assert again.reused == 2 * ROWS
    (memory,) = of_kind(Stored, run(head_job(short(epochs=1, cache="memory"), tmp_path / "none")))
    assert (memory.folder, memory.reused) == (None, 0)
    assert not (tmp_path / "none").exists()
    assert of_kind(Stored, run(head_job(short(epochs=1, cache="off"), tmp_path / "none"))) == []
    assert not (tmp_path / "none").exists()


def test_where_the_disk_has_no_room_they_are_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder, limit in ((tmp_path, 0), (tmp_path, 100), (tmp_path / "file", 10**9), (tmp_path / ("x" * 300), 10**9)):
        (event,) = of_kind(Stored, run(head_job(short(steps=1), folder, cache_limit=limit)))
        assert event.folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_memory_is_small_too_nothing_is_kept_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4000))
    made, plain = head_job(cache_limit=0), head_job(short(cache="off"))
    events = run(made)
    assert [event.reason for event in of_kind(NotStored, events)] == [
        "the outputs take 0.0 GB, and neither WHET_CACHE_GB with the free disk "
        "nor a quarter of the free memory (0.0 GB) holds them"
    ]
    assert timeless(events) == timeless(run(plain))
    assert_same_weights(made, plain)


def test_where_the_disk_refuses_the_run_goes_on_without(tmp_path: Path) -> None:
    made, plain = head_job(folder=tmp_path), head_job(short(cache="off"))
    with files_of_at_most(1000):
        events = run(made)
    (event,) = of_kind(NotStored, events)
    assert "cannot be written" in event.reason
    assert of_kind(Stored, events) == []
    assert timeless(events) == timeless(run(plain))
    assert_same_weights(made, plain)
    assert list(tmp_path.glob("*/*")) == [], "nothing half-written stays"


def test_only_the_rows_that_a_short_run_sees_are_stored(tmp_path: Path) -> None:
    made = head_job(short(steps=1), tmp_path)
    made = replace(
        made, validation=replace(made.validation, inputs={"row": Ragged.of([[99 + i] for i in range(ROWS)])})
    )
    (event,) = of_kind(Stored, run(made))
    assert event.rows == 4 + ROWS


def test_rows_that_read_alike_are_computed_once(tmp_path: Path) -> None:
    made = head_job(short(epochs=1), tmp_path)
    events = run(made)
    assert {event.rows for event in of_kind(Storing, events)} == {ROWS}
    assert of_kind(Stored, events)[0].rows == 2 * ROWS


def test_each_stage_stores_what_is_frozen_in_it(tmp_path: Path) -> None:
    made = head_job(short(epochs=4), tmp_path)
    made = replace(made, stages=two_stages(made.parts))
    first, second = of_kind(Stored, run(made))
    assert (first.step, first.blocks, second.step, second.blocks) == (0, 3, 6, 2)
    assert first.folder != second.folder


def test_some_layers_are_stored_only_where_rows_are_read_again(tmp_path: Path) -> None:
    once, twice = (head_job(short(epochs=epochs), tmp_path, "last_blocks") for epochs in (1, 2))
    assert "about once" in of_kind(NotStored, run(once))[0].reason
    assert len(of_kind(Stored, run(twice))) == 1


def test_the_best_weights_of_an_earlier_stage_are_measured_with_their_own_outputs() -> None:
    def finished(place: str) -> Finished:
        made = jobs.job(
            short(epochs=4, learning_rate=0.01, cache=place),
            stages=lambda parts: [
                Stage("all", 0.5, frozenset(parts.parameters)),
                Stage("head", 0.5, parts.under(parts.head)),
            ],
            task=jobs.changed(jobs.ScriptedTask, script=[0.9, 0.5, 0.5, 0.5, 0.9]),
        )
        return of_kind(Finished, run(made))[0]

    event, plain = finished("memory"), finished("off")
    assert event.best_step == plain.best_step == 3
    assert event.scores["loss"] == pytest.approx(plain.scores["loss"], abs=1e-6)


def test_what_is_computed_in_bf16_is_stored_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(place: str) -> Job:
        return replace(head_job(short(epochs=2, cache=place), method="last_blocks"), arithmetic=Arithmetic("bf16"))

    rounded, plain = made("memory"), made("off")
    store_as_read(monkeypatch, rounded)
    events, expected = run(rounded), run(plain)
    assert len(of_kind(Stored, events)) == 1
    losses = [[event.loss for event in of_kind(Step, told)] for told in (events, expected)]
    assert losses[0] == losses[1]
    assert_same_weights(rounded, plain)


# --- what is refused --------------------------------------------------------------------------------------------


def refused(made: Job, plain: Job) -> str:
    """The reason why outputs are not stored; the run is the one that stores nothing."""
    events = run(made)
    assert of_kind(Stored, events) == []
    (event,) = of_kind(NotStored, events)
    assert timeless(events) == timeless(run(plain))
    assert_same_weights(made, plain)
    return event.reason


LENGTHS = [3, 5, 7, 4, 6, 2, 7, 5, 4, 3, 6, 7]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (toys.Mixing, "outputs depend on the rows beside them"),
        (toys.Flat, "the frozen layers are only 0% of the work"),
        (toys.Branching, "another way through its layers"),
        (toys.Padding, "change when its frozen layers are left out"),
    ],
)
def test_what_cannot_be_trusted_or_is_not_worth_it_is_not_stored(kind: type[nn.Module], words: str) -> None:
    off = short(cache="off")
    assert words in refused(toys.job(kind, LENGTHS), toys.job(kind, LENGTHS, off))


def test_rows_of_which_another_position_is_read_are_not_stored(tmp_path: Path) -> None:
    def made(folder: Path | None, place: str) -> Job:
        job = Fight(BY_NAME["gpt2"], "head", {}, trimmed=True).job(short(cache=place))
        assert isinstance(job.task, TrimmedTask)
        # Short, but not among the shortest: the search does not look at it. It ends with a token that pads.
        row = np.argsort(job.train.lengths, kind="stable")[3]
        job.task.inputs["input_ids"][row, job.train.lengths[row] - 1] = PADDING
        return replace(job, cache_folder=folder)

    reason = refused(made(tmp_path, "auto"), made(None, "off"))
    assert reason == "which position of a row is read depends on what stands there"
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize("disk", [True, False])
def test_a_batch_of_another_shape_than_expected_ends_the_storing_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: bool
) -> None:
    # The rows that are looked at fill two windows; the short ones fill one.
    lengths = [3, 10, 12, 11, 9, 10, 13, 12, 10, 11, 9, 3]
    small_batches(monkeypatch, 40)
    made = replace(toys.job(toys.Windowed, lengths), cache_folder=tmp_path if disk else None)
    reason = refused(made, toys.job(toys.Windowed, lengths, short(cache="off")))
    assert "rows of 3 tokens go another way" in reason
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize("disk", [True, False])
def test_training_rows_of_one_length_beside_shorter_validation_rows(tmp_path: Path, disk: bool) -> None:
    lengths = [7] * 8 + [5, 7, 2, 6]

    def made(place: str) -> Job:
        job = toys.job(toys.Toy, lengths, short(cache=place))
        train = job.train
        few = replace(train, inputs={"row": Ragged.of([[i] for i in range(8)])}, lengths=train.lengths[:8])
        return replace(job, train=replace(few, targets=np.arange(8) % 3), cache_folder=tmp_path)

    events, plain = run(made("auto" if disk else "memory")), run(made("off"))
    (event,) = of_kind(Stored, events)
    assert event.size == (8 * 7 + sum(lengths)) * toys.WIDTH * 4
    assert of_kind(Finished, events)[0].scores["loss"] == pytest.approx(of_kind(Finished, plain)[0].scores["loss"])


# --- stopping ---------------------------------------------------------------------------------------------------


def stopped_while_storing(made: Job, times: int) -> list[Event]:
    """The events of a run that is asked to stop after so many batches of outputs."""
    events: list[Event] = []
    for event in fit(made):
        events.append(event)
        if isinstance(event, Storing) and len(of_kind(Storing, events)) == times:
            made.stop.make("the test says so")
    return events


def test_stopped_while_storing_keeps_what_was_computed_and_resumed_is_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch)
    whole, broken, resumed = (head_job(folder=tmp_path / name) for name in ("one", "other", "other"))
    expected = run(whole)
    events = stopped_while_storing(replace(broken, checkpoints=tmp_path / "checkpoints"), 2)
    done = of_kind(Storing, events)[-1].done
    assert 0 < done < ROWS
    assert [type(event) for event in events[-2:]] == [Storing, Stopped]
    assert events[-1] == Stopped(0, "the test says so", resumable=True)
    rest = run(resumed)
    assert of_kind(Stored, rest)[0].reused == 2 * done
    assert timeless(rest) == timeless(expected)
    assert_same_weights(whole, resumed)


def test_stopped_while_a_later_stage_stores_and_resumed_is_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch)

    def made(name: str) -> Job:
        job = head_job(short(epochs=4), tmp_path / name)
        return replace(job, stages=two_stages(job.parts), checkpoints=tmp_path / f"{name} checkpoints")

    whole, broken, resumed = made("one"), made("other"), made("other")
    expected = run(whole)
    batches = len(of_kind(Storing, expected)) // 2
    events = stopped_while_storing(broken, batches + 1)
    assert events[-1] == Stopped(6, "the test says so", resumable=True)
    checkpoint, _ = newest(tmp_path / "other checkpoints")
    assert checkpoint is not None
    rest = run(resumed, checkpoint)
    assert [event.reused > 0 for event in of_kind(Stored, rest)] == [True]
    assert timeless(rest)[1:] == timeless(expected)[-len(timeless(rest)) + 1 :]
    assert isinstance(rest[0], Started)
    assert_same_weights(whole, resumed)


def test_a_stop_before_the_first_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    made = head_job(folder=tmp_path)
    made.stop.make("at once")
    events = run(made)
    assert events[-1] == Stopped(0, "at once", resumable=False)
    assert list(tmp_path.glob("*/*")) == []


def test_a_run_that_is_torn_away_while_it_stores_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch)
    with closing(fit(head_job(folder=tmp_path))) as events:
        next(event for event in events if isinstance(event, Storing))
        assert len(list(tmp_path.glob("*/*"))) == 1
    assert list(tmp_path.glob("*/*")) == []


def test_the_folder_of_the_tests_is_not_the_users() -> None:
    assert cache_folder() == Path(os.environ[FOLDER])
    assert "whet-tests-" in str(cache_folder())

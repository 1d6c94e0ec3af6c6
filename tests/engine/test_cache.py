"""Outputs of frozen layers across epochs, stages, seeds and runs: when they are kept, found again, and refused."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

import whet
from tests.conftest import sentences, write_csv
from tests.contracts.arena import ROWS, SETTINGS, Fight, probe, run, short, store_as_read, weights
from tests.engine import toys
from tests.engine.jobs import BY_NAME, files_of_at_most, timeless, two_stages
from whet import recipe as recipes
from whet.core import Examples, Mask, Ragged
from whet.data.batch import sorted_batches
from whet.engine import cache
from whet.engine.arithmetic import Arithmetic
from whet.engine.cache import FOLDER, LIMIT, cache_folder, cache_limit, prefix_key, row_digests
from whet.engine.cut import find_prefix
from whet.engine.job import Job, Settings
from whet.engine.loop import fit
from whet.engine.replay import Prefix
from whet.engine.state import newest
from whet.errors import RecipeError
from whet.events import Event, Finished, NotStored, Started, Step, Stopped, Stored, Storing
from whet.verbs.session import Session

E = TypeVar("E", bound=Event)


def of_kind(kind: type[E], events: Sequence[Event]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def head_job(settings: Settings = SETTINGS, folder: Path | None = None, method: str = "head", **changes: Any) -> Job:
    """The head, or the last block, of a tiny BERT on texts of different lengths."""
    options = {"count": 1} if method == "last_blocks" else {}
    made = Fight(BY_NAME["bert"], method, options, trimmed=True).job(settings)
    return replace(made, cache_folder=folder, **changes)


def small_batches(monkeypatch: pytest.MonkeyPatch, tokens: int = 20) -> None:
    """Let outputs be computed a few rows at a time."""
    monkeypatch.setattr(cache, "sorted_batches", lambda lengths, _: sorted_batches(lengths, tokens))


def assert_same_weights(one: Job, other: Job) -> None:
    final = weights(other.model)
    assert [name for name, tensor in weights(one.model).items() if not torch.equal(tensor, final[name])] == []


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


# --- nothing stale can be found: the key of a store -------------------------------------------------------------


@pytest.fixture
def keyed() -> tuple[Job, Mask, Prefix]:
    """A job, its mask and its frozen beginning."""
    made = head_job()
    mask = made.stages[0].mask
    order = np.argsort(made.train.lengths, kind="stable")
    return made, mask, find_prefix(made.model, mask, (probe(made, order[:2]), probe(made, order[-3:])))


def nudged(name: str) -> Callable[[nn.Module], None]:
    """One number of a parameter is the next that a float can hold."""

    def nudge(model: nn.Module) -> None:
        flat = model.get_parameter(name).data.view(-1)
        flat[-1] = torch.nextafter(flat[-1], torch.tensor(9.0))

    return nudge


def configured(**changes: object) -> Callable[[nn.Module], None]:
    """The config says something else."""

    def change(model: nn.Module) -> None:
        assert isinstance(model, transformers.PreTrainedModel)
        for name, value in changes.items():
            setattr(model.config, name, value)

    return change


def moved_buffer(model: nn.Module) -> None:
    model.get_buffer("bert.embeddings.position_ids")[0, -1] += 1


def other_activation(model: nn.Module) -> None:
    model.get_submodule("bert.encoder.layer.1.intermediate").intermediate_act_fn = nn.ReLU()


def halved(model: nn.Module) -> None:
    model.get_submodule("bert.encoder.layer.0").to(torch.bfloat16)


@pytest.mark.parametrize(
    "change",
    [
        nudged("bert.embeddings.word_embeddings.weight"),
        nudged("bert.encoder.layer.0.attention.self.query.bias"),
        nudged("bert.encoder.layer.2.output.LayerNorm.weight"),
        moved_buffer,
        other_activation,
        halved,
        configured(layer_norm_eps=1e-6),
        configured(hidden_act="relu"),
    ],
)
def test_the_key_changes_with_whatever_the_frozen_layers_compute(
    keyed: tuple[Job, Mask, Prefix], change: Callable[[nn.Module], None]
) -> None:
    made, mask, prefix = keyed
    before = prefix_key(made.model, mask, prefix, "fp32 mkl")
    change(made.model)
    assert prefix_key(made.model, mask, prefix, "fp32 mkl") != before


def test_the_key_changes_with_the_arithmetic_and_the_versions(
    keyed: tuple[Job, Mask, Prefix], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, mask, prefix = keyed
    found = {prefix_key(made.model, mask, prefix, arithmetic.key) for arithmetic in (Arithmetic(), Arithmetic("bf16"))}
    found |= {prefix_key(made.model, mask, prefix, Arithmetic(products="onednn").key)}
    for library in (torch, transformers):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "99.0")
            found.add(prefix_key(made.model, mask, prefix, Arithmetic().key))
    assert len(found) == 5


def test_the_key_changes_with_what_is_stored(keyed: tuple[Job, Mask, Prefix]) -> None:
    made, mask, prefix = keyed
    whole = Prefix(prefix.model, prefix.plans, prefix.stored, "all", prefix.share)
    deeper = head_job(method="last_blocks")
    order = np.argsort(deeper.train.lengths, kind="stable")
    last = find_prefix(made.model, deeper.stages[0].mask, (probe(made, order[:2]), probe(made, order[-3:])))
    keys = [prefix_key(made.model, mask, each, "") for each in (prefix, whole, last)]
    assert len(set(keys)) == 3


def labelled(model: nn.Module) -> None:
    configured(id2label={0: "x", 1: "y", 2: "z", 3: "w"}, problem_type="regression")(model)
    model.get_submodule("classifier").weight = nn.Parameter(torch.randn(4, 32))
    model.get_submodule("classifier").bias = nn.Parameter(torch.randn(4))


@pytest.mark.parametrize("change", [nudged("classifier.weight"), nudged("bert.pooler.dense.bias"), labelled])
def test_the_key_stays_whatever_the_head_is(
    keyed: tuple[Job, Mask, Prefix], change: Callable[[nn.Module], None]
) -> None:
    made, mask, prefix = keyed
    before = prefix_key(made.model, mask, prefix, "fp32 mkl")
    change(made.model)
    assert prefix_key(made.model, mask, prefix, "fp32 mkl") == before


# --- nothing stale can be found: the key of a row ---------------------------------------------------------------


def read(**inputs: Sequence[Sequence[int]]) -> Examples:
    """Rows as a model reads them."""
    ragged = {name: Ragged.of(rows) for name, rows in inputs.items()}
    lengths = next(iter(ragged.values())).lengths
    return Examples(ragged, np.zeros(len(lengths)), lengths, dict.fromkeys(ragged, 0))


def test_the_digest_of_a_row_is_that_of_what_the_model_reads_of_it() -> None:
    examples = read(ids=[[5, 6], [5], [5, 6], [6, 5], [5, 6, 0], [256 + 5, 6]])
    every = row_digests(examples, np.arange(6))
    assert every[0] == every[2]
    assert len(set(every.tolist())) == 5
    assert row_digests(examples, np.array([3, 0])).tolist() == [every[3], every[0]]
    other = replace(read(ids=[[9], [5, 6]]), targets=np.ones(2), fills={"ids": 7})
    assert row_digests(other, np.array([1])).tolist() == [every[0]]


def test_the_digest_of_a_row_tells_its_inputs_apart() -> None:
    ways = [
        read(ids=[[5, 6]]),
        read(numbers=[[5, 6]]),
        read(ids=[[5, 6]], types=[[0, 0]]),
        read(ids=[[5, 6]], types=[[0, 1]]),
        read(ids=[[0, 1]], types=[[5, 6]]),
        read(ids=[[5]], types=[[6]]),
        Examples({"ids": Ragged.of([[5, 6]], np.int64)}, None, np.array([2]), {"ids": 0}),
    ]
    assert len({row_digests(way, np.array([0]))[0] for way in ways}) == len(ways)


# --- whole runs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, dict[str, Any]]:
    """What a first run keeps, and its recipe; tests work on copies."""
    folder = tmp_path_factory.mktemp("kept")
    rows = sentences(40)
    data = {
        side: str(write_csv(folder / f"{side}.csv", ["text", "label"], part))
        for side, part in (("train", rows[:30]), ("validation", rows[30:]))
    }
    recipe = {
        "data": {**data, "test_share": 0},
        "model": str(tiny_model),
        "method": "head",
        "training": {"epochs": 1, "learning_rate": 0.01},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder / "cache"))
        whet.train(recipe, out=folder / "first", quiet=True)
    return folder, recipe


Again = Callable[..., whet.Run]


@pytest.fixture
def again(kept: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Again:
    """Another run with what the first has kept."""
    folder, recipe = kept
    shutil.copytree(folder / "cache", tmp_path / "cache")
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))

    def train(**changes: Any) -> whet.Run:
        data = recipe["data"] | changes.pop("data", {})
        return whet.train({**recipe, **changes, "data": data}, out=tmp_path / "again", quiet=True)

    return train


def stored(folder: Path) -> dict[str, Any]:
    """What the log of a run says about stored outputs."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] in ("Stored", "NotStored")]
    assert isinstance(event, dict)
    return event


def test_the_first_run_reuses_nothing(kept: tuple[Path, dict[str, Any]]) -> None:
    event = stored(kept[0] / "first")
    assert (event["event"], event["rows"], event["reused"], event["blocks"]) == ("Stored", 40, 0, 2)
    assert Path(event["folder"]).parent == kept[0] / "cache"


def test_a_second_run_reuses_every_row_and_ends_at_the_same_weights(
    kept: tuple[Path, dict[str, Any]], again: Again
) -> None:
    second = again().folder
    assert stored(second)["reused"] == 40
    one, other = (load_file(f / "model" / "model.safetensors") for f in (kept[0] / "first", second))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize(
    "changes",
    [{"seed": 5}, {"training": {"epochs": 2, "batch_size": 7, "learning_rate": 0.003}}],
    ids=["seed", "training"],
)
def test_another_course_of_training_reuses_every_row(again: Again, changes: dict[str, Any]) -> None:
    assert stored(again(**changes).folder)["reused"] == 40


def test_other_labels_reuse_every_row(again: Again, tmp_path: Path) -> None:
    rows = [(text, f"class {number % 3}") for number, (text, _) in enumerate(sentences(40))]
    data = {
        side: str(write_csv(tmp_path / f"{side}.csv", ["text", "label"], part))
        for side, part in (("train", rows[:30]), ("validation", rows[30:]))
    }
    assert stored(again(data=data).folder)["reused"] == 40


def test_a_row_that_has_changed_is_computed_and_no_other(again: Again, tmp_path: Path) -> None:
    rows = sentences(30)
    rows[7] = ("the book was lovely", rows[7][1])
    data = {"train": str(write_csv(tmp_path / "train.csv", ["text", "label"], rows))}
    event = stored(again(data=data).folder)
    assert (event["rows"], event["reused"]) == (40, 39)
    key = Path(event["folder"])
    assert sorted(len(np.load(path / "digests.npy")) for path in key.iterdir()) == [1, 10, 30]


def test_words_with_other_numbers_are_computed_anew(again: Again, tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    content = json.loads((model / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    words["film"], words["was"] = words["was"], words["film"]
    (model / "tokenizer.json").write_text(json.dumps(content))
    without = sum(not {"film", "was"} & set(text.split()) for text, _ in sentences(40))
    assert 0 < without < 40
    assert stored(again(model=str(model)).folder)["reused"] == without


def other_weights(model: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(model / "model.safetensors")
    tensors["encoder.layer.0.output.dense.bias"][0] += 1e-3
    save_file(tensors, model / "model.safetensors", {"format": "pt"})


def other_config(model: Path) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layer_norm_eps": 1e-6}))


@pytest.mark.parametrize("change", [other_weights, other_config])
def test_another_model_reuses_nothing(
    again: Again, tiny_model: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    change(tmp_path / "model")
    assert stored(again(model=str(tmp_path / "model")).folder)["reused"] == 0


@pytest.mark.parametrize(
    "changes",
    [{"task": {"name": "text_classification", "max_length": 6}}, {"method": {"name": "last_blocks", "count": 1}}],
    ids=["length limit", "method"],
)
def test_a_run_that_reads_or_freezes_something_else_reuses_nothing(again: Again, changes: dict[str, Any]) -> None:
    assert stored(again(**changes).folder)["reused"] == 0


def test_a_run_that_was_stopped_while_it_stored_goes_on_to_the_same_end(
    kept: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch, 64)
    monkeypatch.setenv(FOLDER, str(tmp_path / "one"))
    whole = whet.train(kept[1], out=tmp_path / "whole", quiet=True)
    monkeypatch.setenv(FOLDER, str(tmp_path / "other"))
    session = Session.start(recipes.parse(kept[1]), tmp_path / "broken")
    for event in session.events():
        if isinstance(event, Storing) and event.done > 10:
            session.stop.make("a test")
    assert session.interrupted == "stopped after step 0 (a test)"
    resumed = whet.resume(tmp_path / "broken", quiet=True)
    assert 10 < stored(resumed.folder)["reused"] < 30
    one, other = (load_file(r.folder / "model" / "model.safetensors") for r in (whole, resumed))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert whole.metrics["validation"] == resumed.metrics["validation"]


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
        "the outputs take 0.0 GB, there is room for 0.0 GB"
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
    made = head_job(short(epochs=2), tmp_path)
    made = replace(made, stages=two_stages(made.parts))
    first, second = of_kind(Stored, run(made))
    assert (first.step, first.blocks, second.step, second.blocks) == (0, 3, 3, 2)
    assert first.folder != second.folder


def test_what_is_computed_in_bf16_is_stored_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(place: str) -> Job:
        return replace(head_job(short(epochs=1, cache=place), method="last_blocks"), arithmetic=Arithmetic("bf16"))

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
        job = head_job(folder=tmp_path / name)
        return replace(job, stages=two_stages(job.parts), checkpoints=tmp_path / f"{name} checkpoints")

    whole, broken, resumed = made("one"), made("other"), made("other")
    expected = run(whole)
    batches = len(of_kind(Storing, expected)) // 2
    events = stopped_while_storing(broken, batches + 1)
    assert events[-1] == Stopped(3, "the test says so", resumable=True)
    checkpoint, _ = newest(tmp_path / "other checkpoints")
    assert checkpoint is not None
    rest = run(resumed, checkpoint)
    assert [event.reused > 0 for event in of_kind(Stored, rest)] == [True, True]
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

"""Outputs of frozen layers from one run to the next: what is found again, what is computed anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import whet
from tests.conftest import sentences, write_csv
from tests.engine.frozen import small_batches
from whet import recipe as recipes
from whet.engine.cache import FOLDER
from whet.events import Storing
from whet.verbs.session import Session


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
    [
        {"task": {"name": "text_classification", "max_length": 6}},
        {"method": {"name": "last_blocks", "count": 1}, "training": {"epochs": 2}},
    ],
    ids=["length limit", "method"],
)
def test_a_run_that_reads_or_freezes_something_else_reuses_nothing(again: Again, changes: dict[str, Any]) -> None:
    assert stored(again(**changes).folder)["reused"] == 0


def test_a_run_that_was_stopped_while_it_stored_goes_on_to_the_same_end(
    kept: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch, 64)
    for name in ("one", "other"):
        # Nothing but what was measured of the machine, or it might be measured otherwise now.
        (tmp_path / name).mkdir()
        shutil.copy(kept[0] / "cache" / "arithmetic.json", tmp_path / name)
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

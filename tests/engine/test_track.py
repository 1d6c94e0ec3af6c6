"""Trackers: told what happens, refused where they are absent, and let go where they fail."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import GeneralTracker

import whet
from whet.engine import track
from whet.engine.track import Trackers, refuse_absent
from whet.errors import RecipeError
from whet.events import Evaluated, Started, Step

STARTED = Started(steps=2, step=0, epochs=1, rows=16, trainable=1, total=1)
STEP = Step(step=1, epoch=0.5, loss=0.7, learning_rate=1e-3, gradient_norm=2.0, rows=8, tokens=0, seconds=0.1)
EVALUATED = Evaluated(step=2, epoch=1.0, scores={"accuracy": 0.5}, best=True, seconds=0.1)


class Notebook(GeneralTracker):  # type: ignore[misc]  # accelerate has no types
    """Writes down what it is told; breaks where it is told to."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self, broken_at: int | None = None) -> None:
        super().__init__()
        self.told: list[tuple[int, dict[str, Any]]] = []
        self.recipe: dict[str, Any] = {}
        self.finished = False
        self.broken_at = broken_at

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.recipe = values

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        if step == self.broken_at:
            raise ConnectionError("the server is gone")
        self.told.append((step or 0, values))

    def finish(self) -> None:
        self.finished = True


def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, notebook: Notebook) -> Trackers:
    monkeypatch.setattr(track, "_OPENERS", {"notebook": lambda *_: notebook})
    return Trackers(["notebook"], tmp_path, {"method": {"name": "lora", "rank": 8}, "seed": 0})


def test_steps_and_scores_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notebook = Notebook()
    trackers = listening(monkeypatch, tmp_path, notebook)
    for event in (STARTED, STEP, EVALUATED):
        trackers.take(event)
    trackers.conclude("test", {"accuracy": 0.4}, 2)
    assert notebook.recipe == {"method.name": "lora", "method.rank": 8, "seed": 0}
    assert notebook.told == [
        (1, {"train/loss": 0.7, "train/learning_rate": 1e-3, "train/gradient_norm": 2.0}),
        (2, {"validation/accuracy": 0.5}),
        (2, {"test/accuracy": 0.4}),
    ]
    assert notebook.finished


def test_one_that_fails_is_let_go_and_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notebook = Notebook(broken_at=1)
    trackers = listening(monkeypatch, tmp_path, notebook)
    trackers.take(STARTED)
    with pytest.warns(RuntimeWarning, match="notebook failed and is told nothing more: the server is gone"):
        trackers.take(STEP)
    trackers.take(EVALUATED)
    assert notebook.told == []


def test_what_is_not_installed_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(track, "find_spec", lambda _: None)
    with pytest.raises(RecipeError, match=r"training\.track: mlflow is not installed; pip install mlflow"):
        refuse_absent(["mlflow"])
    with pytest.raises(RecipeError, match="tensorboard is not installed"):
        whet.train(tmp_path / "absent.csv", training={"track": ["tensorboard"]}, quiet=True)


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_shows_the_run(tiny_model: Path, reviews: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = whet.train(
        reviews,
        model=str(tiny_model),
        method="head",
        training={"epochs": 2, "track": ["tensorboard"]},
        out=tmp_path / "run",
        quiet=True,
    )
    shown = EventAccumulator(str(run.folder / track.FOLDER)).Reload()
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    losses = {one["step"]: one["loss"] for one in events if one["event"] == "Step"}
    assert {one.step: pytest.approx(one.value) for one in shown.Scalars("train/loss")} == losses
    assert [one.value for one in shown.Scalars("test/accuracy")] == [pytest.approx(run.test["accuracy"])]
    assert len(shown.Scalars("validation/accuracy")) == 2


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_keeps_the_run_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    trackers = Trackers(["wandb"], tmp_path, {"seed": 0})
    for event in (STARTED, STEP, EVALUATED):
        trackers.take(event)
    trackers.conclude("test", {"accuracy": 0.4}, 2)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_keeps_the_run_in_its_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    trackers = Trackers(["mlflow"], tmp_path, {"seed": 0})
    for event in (STARTED, STEP, EVALUATED):
        trackers.take(event)
    trackers.conclude("test", {"accuracy": 0.4}, 2)
    (run,) = mlflow.search_runs(experiment_names=[track.PROJECT], output_format="list")
    assert run.data.metrics["test/accuracy"] == 0.4
    assert run.data.params["seed"] == "0"

"""Runs from Python: what train returns, leaves behind, and takes up again."""

import json
import shutil
import threading
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from safetensors.torch import load_file

import whet
from tests.conftest import sentences, write_csv
from whet import recipe as recipes
from whet.errors import InterruptedRunError, RunFolderError
from whet.events import Step
from whet.verbs import resume as resuming
from whet.verbs.session import Session
from whet.verbs.train import watch

TRAINING: dict[str, Any] = {"epochs": 3, "learning_rate": 0.01, "checkpoint_every": 2}


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    """A recipe that takes a second."""
    return {"data": {"train": str(reviews)}, "model": str(tiny_model), "method": "full", "training": dict(TRAINING)}


def stopped(recipe: dict[str, Any], out: Path, step: int) -> Console:
    """A run that was asked to stop after a step."""
    session = Session.start(recipes.parse(recipe), out)
    console = Console(file=StringIO())
    events = session.events()
    for event in events:
        if isinstance(event, Step) and event.step == step:
            session.stop.make("a test")
    assert session.interrupted is not None
    return console


def test_a_run_knows_its_scores_and_leaves_the_whole_folder(recipe: dict[str, Any], tmp_path: Path) -> None:
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    expected = {
        "recipe.yaml",
        "environment.json",
        "data.json",
        "findings.json",
        "events.jsonl",
        "model",
        "metrics.json",
    }
    expected |= {"predictions.parquet", "README.md", "report.html"}
    assert {path.name for path in run.folder.iterdir()} == expected
    assert run.metrics == json.loads((run.folder / "metrics.json").read_text())
    assert {"validation", "test", "baselines", "seconds", "peak_memory_bytes"} <= run.metrics.keys()
    assert run.test == run.metrics["test"]
    assert set(run.metrics["baselines"]) == {"majority", "tfidf"}
    assert "accuracy" in repr(run)
    assert [answer.label in ("good", "bad") for answer in run.predict(["the film was kind", "so dull"])] == [True, True]


def test_keywords_win_over_the_recipe_and_the_recipe_stays_as_it_was(recipe: dict[str, Any], tmp_path: Path) -> None:
    before = json.dumps(recipe)
    run = whet.train(
        recipe,
        method={"name": "last_blocks", "count": 1},
        training={"epochs": 1},
        seed=5,
        out=tmp_path / "r",
        quiet=True,
    )
    stored = yaml.safe_load((run.folder / "recipe.yaml").read_text())
    assert stored["method"] == {"name": "last_blocks", "count": 1}
    assert (stored["training"]["epochs"], stored["training"]["learning_rate"], stored["seed"]) == (1, 0.01, 5)
    assert json.dumps(recipe) == before


def test_without_a_folder_a_free_one_below_runs_is_made(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe["training"] = {"steps": 1}
    names = [whet.train(recipe, quiet=True).folder for _ in range(2)]
    assert names == [Path("runs/reviews-full"), Path("runs/reviews-full-2")]


def test_a_run_works_in_a_thread_where_no_signal_can_be_caught(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["training"] = {"steps": 1}
    runs: list[whet.Run] = []
    thread = threading.Thread(target=lambda: runs.append(whet.train(recipe, out=tmp_path / "run", quiet=True)))
    thread.start()
    thread.join()
    assert len(runs) == 1


def test_a_run_that_goes_on_cannot_be_resumed_beside_itself(recipe: dict[str, Any], tmp_path: Path) -> None:
    session = Session.start(recipes.parse(recipe), tmp_path / "run")
    with closing(session.events()) as events:
        next(event for event in events if isinstance(event, Step) and event.step == 3)
        before = (tmp_path / "run" / "events.jsonl").read_text()
        with pytest.raises(RunFolderError, match="another process is working on the run"):
            whet.resume(tmp_path / "run", quiet=True)
        assert (tmp_path / "run" / "events.jsonl").read_text() == before
    assert whet.resume(tmp_path / "run", quiet=True).metrics["test"]


def test_stopped_and_resumed_is_the_very_run(recipe: dict[str, Any], tmp_path: Path) -> None:
    whole = whet.train(recipe, out=tmp_path / "whole", quiet=True)
    stopped(recipe, tmp_path / "broken", 4)
    with pytest.raises(RunFolderError, match="is not finished"):
        whet.Run(tmp_path / "broken")
    resumed = whet.resume(tmp_path / "broken", quiet=True)
    one, other = (load_file(run.folder / "model" / "model.safetensors") for run in (whole, resumed))
    assert all((one[name] == other[name]).all() for name in one)
    assert (whole.test, whole.metrics["validation"]) == (resumed.test, resumed.metrics["validation"])
    steps = [json.loads(line) for line in (tmp_path / "broken" / "events.jsonl").read_text().splitlines()]
    taken = [event["step"] for event in steps if event["event"] == "Step"]
    assert taken == list(range(1, len(taken) + 1))
    assert not (tmp_path / "broken" / "checkpoints").exists()
    with pytest.raises(RunFolderError, match="has finished"):
        whet.resume(tmp_path / "broken", quiet=True)


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(recipe: dict[str, Any], tmp_path: Path) -> None:
    stopped(recipe, tmp_path / "broken", 5)
    newest = max((tmp_path / "broken" / "checkpoints").iterdir())
    weights = newest / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    console = Console(file=StringIO(), width=200)
    resuming.run(tmp_path / "broken", console)
    assert isinstance(console.file, StringIO)
    told = console.file.getvalue()
    assert "weights.safetensors" in told
    assert "going on from the checkpoint of step 4" in told


def test_other_rows_than_the_run_began_with_are_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    data = Path(shutil.copy(recipe["data"]["train"], tmp_path / "mine.csv"))
    recipe["data"]["train"] = str(data)
    stopped(recipe, tmp_path / "broken", 3)
    write_csv(data, ["text", "label"], [[text + " day", label] for text, label in sentences(60)])
    with pytest.raises(RunFolderError, match="not those the run began with"):
        whet.resume(tmp_path / "broken", quiet=True)


def test_an_interrupted_run_says_how_to_go_on(recipe: dict[str, Any], tmp_path: Path) -> None:
    session = Session.start(recipes.parse(recipe), tmp_path / "run")
    session.stop.make("Ctrl-C")
    with pytest.raises(InterruptedRunError, match="whet resume") as error:
        watch(session, Console(quiet=True))
    assert error.value.exit_code == 130


def test_the_public_surface_is_what_was_promised() -> None:
    verbs = "advise combine compare explain methods plan range_test resume train tune write_report"
    assert sorted(whet.__all__) == ["Adapters", "Compared", "Recipe", "Run", *verbs.split()]
    assert all(name in dir(whet) for name in whet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        vars(whet)["__getattr__"]("trian")


def test_a_stored_recipe_with_files_of_its_own_runs_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = [[text, label] for text, label in sentences(120)]
    for side, part in (("validation", rows[60:90]), ("test", rows[90:])):
        recipe["data"][side] = str(write_csv(tmp_path / f"{side}.csv", ["text", "label"], part))
    first = whet.train(recipe, training={"optimizer": "sgd", "schedule": "one_cycle"}, out=tmp_path / "one", quiet=True)
    second = whet.train(tmp_path / "one" / "recipe.yaml", out=tmp_path / "two", quiet=True)
    assert first.test == second.test
    one, two = ((tmp_path / name / "recipe.yaml").read_text() for name in ("one", "two"))
    assert yaml.safe_load(one) == yaml.safe_load(two)


def test_a_stored_recipe_of_a_folder_with_its_own_sides_runs_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = [[text, label] for text, label in sentences(120)]
    (tmp_path / "data").mkdir()
    for side, part in (("train", rows[:60]), ("validation", rows[60:90])):
        write_csv(tmp_path / "data" / f"{side}.csv", ["text", "label"], part)
    recipe["data"] = {"train": str(tmp_path / "data")}
    first = whet.train(recipe, out=tmp_path / "one", quiet=True)
    second = whet.train(tmp_path / "one" / "recipe.yaml", out=tmp_path / "two", quiet=True)
    assert first.test == second.test


def test_a_stored_recipe_of_rows_that_say_who_trains_runs_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    sides = ["train"] * 80 + ["dev"] * 20 + ["test"] * 20
    cells = [[text, label, side] for (text, label), side in zip(sentences(120), sides, strict=True)]
    recipe["data"] = {"train": str(write_csv(tmp_path / "rows.csv", ["text", "label", "split"], cells))}
    recipe["task"] = {"label_smoothing": 0.1}
    first = whet.train(recipe, out=tmp_path / "one", quiet=True)
    text = (tmp_path / "one" / "recipe.yaml").read_text()
    assert "split: split  # its values say who trains: 80 train, 20 validation, 20 test" in text
    assert "_share" not in text
    second = whet.train(tmp_path / "one" / "recipe.yaml", out=tmp_path / "two", quiet=True)
    assert first.test == second.test
    assert yaml.safe_load(text) == yaml.safe_load((tmp_path / "two" / "recipe.yaml").read_text())

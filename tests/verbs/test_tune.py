"""Searches for settings: what they leave behind, what they never look at, and how they go on."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
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
from whet.build import prepare
from whet.engine.job import StopRequest
from whet.errors import InterruptedRunError, RecipeError, RunError, RunFolderError
from whet.intake import Shared
from whet.run import tuning as files
from whet.verbs import tune as tuning
from whet.verbs.searching import search as searching
from whet.verbs.searching.crew import Alone
from whet.verbs.searching.trial import Ended, Order, Scored, attempt, spoken, spoken_order, told_of

SPACES = {"training.learning_rate": "1e-4..3e-2", "training.batch_size": "8,16"}


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    """A recipe of which a trial takes a moment."""
    return {
        "data": {"train": str(reviews), "validation_share": 0.3, "test_share": 0.2},
        "model": str(tiny_model),
        "method": "full",
        "training": {"epochs": 2, "learning_rate": 3e-3, "precision": "fp32"},
    }


def search(recipe: dict[str, Any], out: Path, **keywords: Any) -> tuning.Tuned:
    return whet.tune(recipe, out=out, quiet=True, **{"spaces": SPACES, "trials": 4, **keywords})


def told(tuned: tuning.Tuned) -> list[tuple[int, dict[str, object], str, float | None]]:
    """What two equal searches have in common."""
    return [(trial.number, trial.settings, trial.state, trial.score) for trial in tuned.trials]


# --- what is left behind ------------------------------------------------------------------------------------------


def test_a_search_leaves_the_best_run_its_recipe_and_a_page(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned")
    folder = tmp_path / "tuned"
    assert {path.name for path in folder.iterdir()} == {
        "tune.json",
        "study.db",
        "tune.html",
        "best.yaml",
        "best",
        "trials",
    }
    assert [trial.number for trial in tuned.trials] == [0, 1, 2, 3]
    assert tuned.best.score == max(trial.score or 0.0 for trial in tuned.trials)
    assert tuned.run.predict(["a good film"])[0].label in ("good", "bad")
    assert tuned.tuning.tested[tuned.best.number] == tuned.run.test
    assert tuned.run.metrics["validation"]["accuracy"] == tuned.best.score
    stored = yaml.safe_load(tuned.recipe.read_text())
    assert stored["training"]["learning_rate"] == tuned.best.settings["training.learning_rate"]
    assert stored["training"]["batch_size"] == tuned.best.settings["training.batch_size"]
    assert json.loads((folder / "tune.json").read_text())["best"] == tuned.best.number


def test_the_recipe_of_the_best_trial_is_its_very_run(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", trials=3)
    again = whet.train(tuned.recipe, out=tmp_path / "again", quiet=True)
    one, other = (load_file(run.folder / "model" / "model.safetensors") for run in (tuned.run, again))
    assert all((one[name] == other[name]).all() for name in one)
    assert again.test == tuned.run.test


def test_trial_0_is_the_recipe_as_it_is(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", trials=2)
    plain = whet.train(recipe, out=tmp_path / "plain", quiet=True)
    assert tuned.trials[0].settings == {"training.learning_rate": 3e-3, "training.batch_size": 16}
    assert tuned.trials[0].scores == plain.metrics["validation"]
    assert tuned.tuning.tested[0] == plain.test


def test_trials_that_were_not_the_best_keep_their_course_and_no_model(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", baseline=False)
    left = sorted((tmp_path / "tuned" / "trials").iterdir())
    assert [path.name for path in left] == [str(t.number) for t in tuned.trials if t.number != tuned.best.number]
    for path in left:
        names = {inner.name for inner in path.iterdir()}
        assert {"recipe.yaml", "events.jsonl"} <= names
        assert not {"model", "metrics.json", "predictions.parquet", "checkpoints"} & names
    assert set(tuned.tuning.tested) == {tuned.best.number}


# --- what is never looked at --------------------------------------------------------------------------------------


def test_other_test_rows_change_nothing_but_the_test_score(recipe: dict[str, Any], tmp_path: Path) -> None:
    rows = sentences(80)
    found = []
    for name, labels in (("right", ["good", "bad"]), ("wrong", ["bad", "good"])):
        test = [[text, labels[0] if label == "good" else labels[1]] for text, label in rows[60:]]
        recipe["data"].pop("test_share", None)
        recipe["data"]["test"] = str(write_csv(tmp_path / f"{name}.csv", ["text", "label"], test))
        found.append(search(recipe, tmp_path / name))
    assert told(found[0]) == told(found[1])
    one, other = (tuned.run.test["accuracy"] for tuned in found)
    assert one == pytest.approx(1 - other)


def test_without_test_rows_nothing_is_measured(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["data"]["test_share"] = 0
    tuned = search(recipe, tmp_path / "tuned", trials=2)
    assert tuned.tuning.tested[tuned.best.number] == {}


# --- the same again, and going on ---------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_search(recipe: dict[str, Any], tmp_path: Path) -> None:
    assert told(search(recipe, tmp_path / "one")) == told(search(recipe, tmp_path / "two"))
    other = search({**recipe, "seed": 1}, tmp_path / "three")
    assert [trial.settings for trial in other.trials[1:]] != [
        trial.settings for trial in search(recipe, tmp_path / "four").trials[1:]
    ]


class Interrupting(Alone):
    """A crew that is told to stop once it has run so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(Shared())
        self.steps = steps
        self.asked = StopRequest()

    def hear(self) -> Any:
        self.steps -= 1
        if self.steps == 0:
            self.stop("a test")
            self.asked.make("a test")
        return super().hear()


def interrupted(
    recipe: dict[str, Any], out: Path, steps: int, monkeypatch: pytest.MonkeyPatch, **keywords: Any
) -> None:
    """A search that ends in the middle of a trial."""
    crew = Interrupting(steps)
    with monkeypatch.context() as patched:
        patched.setattr(searching, "Alone", lambda _: crew)
        patched.setattr(searching, "StopRequest", lambda: crew.asked)
        with pytest.raises(InterruptedRunError, match="whet tune --resume"):
            search(recipe, out, **keywords)


@pytest.mark.parametrize("steps", [1, 5, 13, 30])
def test_stopped_and_resumed_is_the_very_search(
    recipe: dict[str, Any], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(recipe, tmp_path / "whole")
    interrupted(recipe, tmp_path / "broken", steps, monkeypatch)
    states = [trial.state for trial in files.read(tmp_path / "broken").trials]
    assert states.count("running") <= 1
    assert not (tmp_path / "broken" / "best").exists()
    resumed = tuning.resume(tmp_path / "broken", quiet=True)
    assert told(resumed) == told(whole)
    assert resumed.run.test == whole.run.test


def test_resume_goes_on_with_a_search_too(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(recipe, tmp_path / "broken", 9, monkeypatch, trials=2)
    run = whet.resume(tmp_path / "broken", quiet=True)
    assert run.folder == tmp_path / "broken" / "best"


def test_a_finished_search_goes_on_with_more_trials_alone(recipe: dict[str, Any], tmp_path: Path) -> None:
    whole = search(recipe, tmp_path / "whole", trials=5)
    search(recipe, tmp_path / "short", trials=3)
    with pytest.raises(RunFolderError, match=r"has finished with 3 trials.*--trials 6"):
        tuning.resume(tmp_path / "short", quiet=True)
    longer = tuning.resume(tmp_path / "short", trials=5, quiet=True)
    assert told(longer) == told(whole)
    assert longer.run.test == whole.run.test
    for number in longer.tuning.tested:
        assert (tmp_path / "short" / longer.tuning.folder(number) / "metrics.json").is_file()


def test_a_search_that_ended_before_it_had_measured_measures_when_it_goes_on(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    tuned = search(recipe, tmp_path / "tuned", trials=2)
    test = tuned.run.test
    best = tmp_path / "tuned" / "best"
    # As it is when the process dies between the last trial and the test rows; without a checkpoint it trains again.
    for name in ("metrics.json", "predictions.parquet", "README.md"):
        (best / name).unlink()
    shutil.rmtree(best / "model")
    stored = json.loads((tmp_path / "tuned" / "tune.json").read_text())
    (tmp_path / "tuned" / "tune.json").write_text(json.dumps({**stored, "tested": {}}))
    assert tuning.resume(tmp_path / "tuned", quiet=True).run.test == test


def test_the_search_can_go_on_from_another_folder(
    recipe: dict[str, Any], reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe["data"]["train"] = Path(shutil.copy(reviews, "mine.csv")).name
    interrupted(recipe, tmp_path / "broken", 9, monkeypatch, trials=2)
    monkeypatch.chdir(tmp_path / "there")
    assert len(tuning.resume(tmp_path / "broken", quiet=True).trials) == 2


# --- trials that come to nothing ----------------------------------------------------------------------------------


def test_a_trial_that_fails_is_told_and_does_not_end_the_search(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["method"] = "last_blocks"
    tuned = search(recipe, tmp_path / "tuned", spaces={"method.count": "2,3"}, trials=6)
    failed = next(trial for trial in tuned.trials if trial.state == "failed")
    assert failed.reason.startswith("method.count: 3 blocks asked for, the model has 2")
    assert tuned.best.settings == {"method.count": 2}
    assert failed.reason.partition(";")[0] in (tmp_path / "tuned" / "tune.html").read_text()


def test_a_search_in_which_nothing_comes_to_its_end_says_why(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["method"] = "last_blocks"
    with pytest.raises(RunError) as caught:
        search(recipe, tmp_path / "tuned", spaces={"method.count": "3,4"}, trials=2)
    assert "none of 2 trials came to its end" in caught.value.problems[0]
    assert "3 blocks asked for, the model has 2" in caught.value.problems[1]


def test_settings_that_were_tried_are_not_run_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", spaces={"training.batch_size": "8,16"}, trials=5)
    states = [trial.state for trial in tuned.trials]
    assert states.count("finished") <= 2
    repeated = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert repeated
    assert all(re.fullmatch(r"the settings of trial \d once more", trial.reason) for trial in repeated)


def test_what_is_worse_than_the_median_is_broken_off(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["training"] |= {"epochs": 4, "metric": "loss"}
    spaces = {"training.learning_rate": "1e-7..1e-1"}
    tuned = search(recipe, tmp_path / "tuned", spaces=spaces, trials=16, baseline=False)
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.reason == "worse than the median of the others at this point"
        assert trial.course[-1][0] < 1
        assert not (tmp_path / "tuned" / "trials" / str(trial.number) / "checkpoints").exists()
    assert tuned.tuning.importance == {"training.learning_rate": 1.0}


def test_a_search_ends_when_its_time_is_used_up(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", trials=1000, timeout=0.01)
    assert [trial.state for trial in tuned.trials] == ["finished"]
    assert tuned.best.number == 0


# --- a trial ------------------------------------------------------------------------------------------------------


def test_a_trial_tells_steps_scores_and_its_end(recipe: dict[str, Any], tmp_path: Path) -> None:
    order = Order(3, tmp_path / "trial", recipe)
    events = list(attempt(order, StopRequest(), threading.Event(), Shared()))
    scored = [event for event in events if isinstance(event, Scored)]
    assert [event.step / event.steps for event in scored] == [0.5, 1.0]
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert (ended.how, ended.number) == ("finished", 3)
    assert ended.scores["accuracy"] == max(event.scores["accuracy"] for event in scored)
    assert [told_of(spoken(event)) for event in events] == events
    assert spoken_order(order)["recipe"] == recipe


def test_a_trial_that_is_dropped_ends_and_one_that_is_stopped_can_go_on(recipe: dict[str, Any], tmp_path: Path) -> None:
    dropped, stop = threading.Event(), StopRequest()
    told = attempt(Order(0, tmp_path / "dropped", recipe), stop, dropped, Shared())
    next(told)
    dropped.set()
    assert [event.how for event in told if isinstance(event, Ended)] == ["dropped"]
    told = attempt(Order(0, tmp_path / "stopped", recipe), stop, threading.Event(), Shared())
    next(told)
    stop.make("a test")
    assert [event.how for event in told if isinstance(event, Ended)] == ["interrupted"]
    order = Order(0, tmp_path / "stopped", recipe)
    ended = list(attempt(order, StopRequest(), threading.Event(), Shared()))[-1]
    whole = list(attempt(Order(0, tmp_path / "whole", recipe), StopRequest(), threading.Event(), Shared()))[-1]
    assert isinstance(ended, Ended)
    assert isinstance(whole, Ended)
    assert ended.scores == whole.scores


def test_later_trials_find_what_the_first_one_has_stored(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search({**recipe, "method": "head"}, tmp_path / "tuned", trials=3, baseline=False)
    for trial in tuned.trials[1:]:
        log = tmp_path / "tuned" / tuned.tuning.folder(trial.number) / "events.jsonl"
        stored = [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "Stored"]
        assert [event["reused"] for event in stored] == [event["rows"] for event in stored] != []


def test_rows_are_read_once_and_what_a_model_reads_of_them_too(recipe: dict[str, Any]) -> None:
    shared = Shared()
    first, other, shorter = (
        prepare(recipes.parse({**recipe, **more}), shared=shared)
        for more in ({}, {"method": "head"}, {"method": {"name": "prompt", "length": 14}})
    )
    assert first.splits["train"] is other.splits["train"] is shorter.splits["train"]
    assert first.examples["train"] is other.examples["train"]
    # Virtual tokens leave less room for those of the text.
    assert shorter.examples["train"] is not first.examples["train"]
    assert shorter.examples["train"].truncated == 0
    assert int(shorter.examples["train"].lengths.max()) <= 10


# --- several processes --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_share_a_search(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", trials=5, jobs=2)
    assert [trial.number for trial in tuned.trials] == [0, 1, 2, 3, 4]
    assert {trial.state for trial in tuned.trials} == {"finished"}
    alone = search(recipe, tmp_path / "alone", trials=1)
    assert tuned.trials[0].scores == alone.trials[0].scores
    assert {path.name for path in (tmp_path / "tuned").glob("worker-*")} == {"worker-1.log", "worker-2.log"}


SCRIPT = """
import sys
import whet
from whet.verbs.searching.crew import Processes

first = Processes.give

def give(self, order):
    first(self, order)
    if order.number == 1:
        self._workers.kill(next(p for p, o in self._orders.items() if o is order))

Processes.give = give
tuned = whet.tune({recipe!r}, out={out!r}, spaces={spaces!r}, trials=4, jobs=2)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_trial_and_no_more(recipe: dict[str, Any], tmp_path: Path) -> None:
    # A script without a guard around its last line, as people write them.
    script = SCRIPT.format(recipe=recipe, out=str(tmp_path / "tuned"), spaces=SPACES)
    (tmp_path / "script.py").write_text(script)
    ended = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    trials = files.read(tmp_path / "tuned").trials
    assert [trial.state for trial in trials] == ["finished", "failed", "finished", "finished"]
    assert "its process ended with -9" in trials[1].reason
    assert "too little memory" in trials[1].reason


# --- refusals -----------------------------------------------------------------------------------------------------


def test_what_exists_is_never_overwritten(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunFolderError, match="never overwritten"):
        search(recipe, tmp_path / "mine")
    assert not list((tmp_path / "mine").iterdir())


def test_a_folder_without_a_search_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no search"):
        tuning.resume(tmp_path, quiet=True)


def test_a_damaged_study_is_told(recipe: dict[str, Any], tmp_path: Path) -> None:
    search(recipe, tmp_path / "tuned", trials=1)
    (tmp_path / "tuned" / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RunFolderError, match=r"study\.db cannot be used"):
        tuning.resume(tmp_path / "tuned", trials=2, quiet=True)


@pytest.mark.parametrize("timeout", ["soon", "-5", "0", "m20", 0])
def test_what_is_no_time_is_refused(timeout: str | int, recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"timeout: .* is no time"):
        search(recipe, tmp_path / "tuned", timeout=timeout)


@pytest.mark.parametrize("timeout", ["0.5s", "0.5", 0.5])
def test_a_search_ends_when_its_time_is_up(timeout: str | float, recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", trials=50, timeout=timeout)
    assert tuned.tuning.plan.timeout == 0.5
    assert 1 <= len(tuned.trials) < 50


def test_a_model_without_enough_blocks_is_searched_for_what_it_has(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["method"] = "last_blocks"
    tuned = search(recipe, tmp_path / "tuned", spaces=["method.count"], trials=2)
    assert tuned.tuning.plan.spaces == {"method.count": "1,2"}


def test_a_search_without_spaces_takes_the_usual_ones(recipe: dict[str, Any], tmp_path: Path) -> None:
    tuned = search(recipe, tmp_path / "tuned", spaces=[], trials=2)
    assert set(tuned.tuning.plan.spaces) == {
        "training.learning_rate",
        "training.batch_size",
        "training.schedule",
        "training.weight_decay",
        "training.dropout",
    }
    assert tuned.trials[0].scores == search(recipe, tmp_path / "other", trials=1).trials[0].scores


def test_what_is_printed_says_what_was_searched_and_what_to_expect(recipe: dict[str, Any], tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=200)
    recipe["training"] |= {"learning_rate": 1e-6, "epochs": 4}
    spaces = ("training.learning_rate=1e-5..3e-2", "training.batch_size=8,16")
    tuning.run(recipe, tuning.Wanted(spaces, trials=5), tmp_path / "tuned", console)
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue()
    for words in (
        "Searching with method full: 5 trials",
        "1e-5..3e-2",
        "the space does not hold 1e-06",
        "validation rows; the test rows are not looked at",
        "trial  0  accuracy",
        "expect less on new rows",
        "On the test rows, which no trial has seen",
        "Trial 0 has",
        "best.yaml",
        "--resume",
    ):
        assert words in said, said


def test_without_optuna_the_extra_is_named(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RecipeError, match=r'pip install "whet\[tune\]"'):
        search(recipe, tmp_path / "tuned")

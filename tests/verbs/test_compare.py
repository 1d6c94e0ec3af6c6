"""Whole comparisons on a tiny model: shared, paused, dropped, interrupted, resumed, judged."""

import gc
import json
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import whet
from tests.verbs.contests import METHODS, Silent, begun, plain, scores
from whet.errors import DataError, InterruptedRunError, RecipeError, RunError, RunFolderError
from whet.evaluate import halving
from whet.intake import Shared
from whet.run import comparison as folder_of
from whet.run.comparison import Attempt, Candidate, Comparison
from whet.run.lock import Lock
from whet.verbs.compare import ask, go_on
from whet.verbs.comparing import candidates, contender
from whet.verbs.comparing.candidates import Asked, Budget, budget_of, entrants
from whet.verbs.comparing.contest import Contest
from whet.verbs.comparing.entry import enter


@pytest.fixture(scope="module", autouse=True)
def early() -> Iterator[None]:
    """Runs of a few steps are looked at too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halving, "LEAST", 1)
        yield


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    """What all candidates have in common; 48 training rows, so 16 steps are a little more than an epoch."""
    return plain(reviews, tiny_model)


@pytest.fixture(scope="module")
def whole(reviews: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of the comparison in one piece."""
    return scores(begun(plain(reviews, tiny_model), tmp_path_factory.mktemp("whole") / "c").run())


def test_a_comparison_leaves_runs_and_a_verdict(recipe: dict[str, Any], tmp_path: Path) -> None:
    compared = whet.compare(recipe, methods=METHODS, out=tmp_path / "c", quiet=True)
    comparison = compared.comparison
    verdict = comparison.verdict
    assert verdict is not None
    assert [one.name for one in comparison.candidates] == METHODS
    assert comparison.rows == {"train": 48, "validation": 6, "test": 6}
    assert comparison.budget == "16 steps each"
    assert (comparison.metric, comparison.measured) == ("accuracy", "test")
    assert set(comparison.baselines) == {"majority", "tfidf"}
    finalists = [one for one in comparison.candidates if one.attempts[0].state == "finished"]
    assert {one.name for one in finalists} == set(verdict.scores)
    for one in comparison.candidates:
        attempt = one.attempts[0]
        assert attempt.steps == 16
        assert attempt.state in ("finished", "dropped")
        assert (attempt.test is not None) is (attempt.state == "finished")
        assert (attempt.step == 16) is (attempt.state == "finished")
        assert one.trainable <= one.total
        assert one.stored_bytes > 0
        # Every candidate is a run like any other.
        run = whet.Run(compared.folder / attempt.folder)
        assert run.predict(["the film was kind"])[0].label in ("good", "bad")
        assert (run.folder / "predictions.parquet").exists() is (attempt.state == "finished")
    assert compared.best().folder == compared.folder / "candidates" / verdict.best / "seed-0"
    assert compared.run(verdict.cheapest).folder == compared.cheapest().folder
    with pytest.raises(RunError, match="'lorra' is no candidate"):
        compared.run("lorra")
    assert folder_of.read(compared.folder) == comparison


def test_a_finalist_is_the_very_run_that_train_would_have_made(recipe: dict[str, Any], tmp_path: Path) -> None:
    compared = whet.compare(recipe, methods=METHODS, exhaustive=True, out=tmp_path / "c", quiet=True)
    halved = whet.compare(recipe, methods=METHODS, out=tmp_path / "h", quiet=True)
    assert halved.comparison.verdict is not None
    for name in halved.comparison.verdict.scores:
        folder = halved.run(name).folder
        alone = whet.train(folder / "recipe.yaml", out=tmp_path / f"alone-{name}", quiet=True)
        for other in (folder, compared.run(name).folder):
            for file in (alone.folder / "model").glob("*.safetensors"):
                one, two = load_file(file), load_file(other / "model" / file.name)
                assert all(torch.equal(one[key], two[key]) for key in one.keys() | two.keys())
        assert alone.test == halved.run(name).test
        assert alone.metrics["baselines"] == halved.run(name).metrics["baselines"]


@pytest.mark.parametrize("stop_at", [1, 7, 20])
def test_stopped_and_resumed_is_the_very_comparison(
    recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path, stop_at: int
) -> None:
    broken = begun(recipe, tmp_path / "broken", stop_at)
    with pytest.raises(InterruptedRunError, match="whet resume"):
        broken.run()
    with pytest.raises(RunFolderError, match="is not finished"):
        whet.Compared(tmp_path / "broken")
    resumed = whet.compare(resume=tmp_path / "broken", quiet=True)
    assert scores(resumed.comparison) == whole
    with pytest.raises(RunFolderError, match="has finished"):
        whet.compare(resume=tmp_path / "broken", quiet=True)


def test_a_killed_comparison_goes_on_from_what_is_on_the_disk(
    recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    class Killer(Silent):
        def stepped(self, name: str) -> None:
            self._left -= 1
            if not self._left:
                raise KilledError

    asked = ask(recipe, METHODS, [], [], 1, None, False)
    (tmp_path / "killed").mkdir()
    candidates.write(tmp_path / "killed", asked)
    with pytest.raises(KilledError):
        Contest(tmp_path / "killed", asked, Killer(15)).run()
    # As a process that is gone holds nothing any more.
    gc.collect()
    resumed = go_on(tmp_path / "killed", Console(file=StringIO()))
    assert scores(resumed.comparison) == whole


def test_a_comparison_that_goes_on_cannot_be_resumed_beside_itself(
    recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        begun(recipe, tmp_path / "c", 7).run()
    before = (tmp_path / "c" / "comparison.json").read_bytes()
    with Lock(tmp_path / "c", "it"), pytest.raises(RunFolderError, match="another process is working on the comp"):
        whet.compare(resume=tmp_path / "c", quiet=True)
    assert (tmp_path / "c" / "comparison.json").read_bytes() == before
    assert scores(whet.compare(resume=tmp_path / "c", quiet=True).comparison) == whole


def test_without_memory_runs_wait_on_the_disk(
    recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contender, "SPARE", 1.1)
    stored = begun(recipe, tmp_path / "stored").run()
    assert scores(stored) == whole


def test_seeds_are_measured_on_the_same_rows(recipe: dict[str, Any], tmp_path: Path) -> None:
    comparison = whet.compare(
        recipe, methods=["full", "head"], seeds=2, exhaustive=True, out=tmp_path / "c", quiet=True
    ).comparison
    sides = set()
    for one in comparison.candidates:
        assert [attempt.seed for attempt in one.attempts] == [0, 1]
        for attempt in one.attempts:
            folder = tmp_path / "c" / attempt.folder
            data = json.loads((folder / "data.json").read_text())["splits"]
            sides.add(tuple(data[side]["fingerprint"] for side in sorted(data)))
    assert len(sides) == 1
    first, second = (whet.Run(tmp_path / "c" / attempt.folder) for attempt in comparison.candidates[0].attempts)
    weights, others = (load_file(run.folder / "model" / "model.safetensors") for run in (first, second))
    assert any(not torch.equal(weights[name], others[name]) for name in weights)


def test_one_that_fails_does_not_end_the_others(reviews: Path, tiny_decoder: Path, tmp_path: Path) -> None:
    compared = whet.compare(
        str(reviews),
        methods=["bitfit", "lora", "head"],
        models=[str(tiny_decoder)],
        training={"steps": 8, "batch_size": 4},
        task="text_classification",
        out=tmp_path / "c",
        quiet=True,
    )
    failed = compared.comparison.candidates[0].attempts[0]
    assert (failed.state, failed.step) == ("failed", 0)
    assert "no biases" in failed.reason
    assert compared.comparison.verdict is not None
    assert "bitfit" not in compared.comparison.verdict.scores


def test_divergence_is_a_failure_with_its_reason(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["training"] = {
        "steps": 24,
        "batch_size": 4,
        "optimizer": "sgd",
        "max_gradient_norm": None,
        "momentum": 0.99,
        "weight_decay": 0.9,
    }
    compared = whet.compare(recipe, methods=["full"], rates=[1e-3, 9.0], out=tmp_path / "c", quiet=True)
    good, bad = compared.comparison.candidates
    assert (good.name, bad.name) == ("full-0.001", "full-9")
    assert good.attempts[0].state == "finished"
    assert bad.settings == {"training.learning_rate": 9.0}
    if bad.attempts[0].state == "failed":
        assert "learning rate" in bad.attempts[0].reason
    verdict = compared.comparison.verdict
    assert verdict is not None
    assert [(one.id, one.what.split(":")[0]) for one in verdict.findings] == [("R001", "full-9")]


def test_if_all_fail_the_reasons_are_told(reviews: Path, tiny_decoder: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no biases"):
        whet.compare(
            str(reviews),
            methods=["bitfit"],
            models=[str(tiny_decoder)],
            task="text_classification",
            out=tmp_path / "c",
            quiet=True,
        )


def test_a_time_is_shared_out(recipe: dict[str, Any], tmp_path: Path) -> None:
    del recipe["training"]["steps"]
    asked = ask(recipe, ["full", "head"], [], [], 1, "20m", False)
    field = enter(tmp_path, asked, None, Shared())
    assert field.budget == "20 min 00 s in all, the same time each"
    # All train to 1/8, one goes on: the whole is 9/8 of a run, of 17 minutes.
    for player in field.players:
        assert player.steps > 100
        assert [step / player.steps for step in player.rungs] == pytest.approx([0.125, 0.25, 0.5], rel=0.05)
    with pytest.raises(RecipeError, match="give more time"):
        whet.compare(recipe, methods=["full", "head"], budget="0.01s", out=tmp_path / "d", quiet=True)
    assert not (tmp_path / "d").exists()


def test_a_comparison_under_a_time_goes_on_with_the_steps_that_it_began_with(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    del recipe["training"]["steps"]
    asked = ask(recipe, METHODS, [], [], 1, "20m", False)
    candidates.write(tmp_path, asked)
    waiting = [
        Candidate(name, name, "tiny", {}, [Attempt(0, f"candidates/{name}/seed-0", steps=16)]) for name in METHODS
    ]
    before = Comparison("", "accuracy", True, "", "", {}, "test", waiting, {}, 0.0)
    comparison = Contest(tmp_path, asked, Silent(), before).run()
    steps = {one.name: (one.attempts[0].state, one.attempts[0].step) for one in comparison.candidates}
    assert ("finished", 16) in steps.values()
    assert {step for state, step in steps.values() if state == "dropped"} <= {2, 4, 8}


def test_a_split_by_a_seed_of_its_own_is_refused_where_nothing_is_split_off(
    recipe: dict[str, Any], reviews: Path, tmp_path: Path
) -> None:
    recipe["data"] |= {"validation": str(reviews), "test": str(reviews), "split_seed": 3}
    with pytest.raises(RecipeError, match="nothing is split off"):
        whet.train(recipe, out=tmp_path / "run", quiet=True)


def test_without_head_a_linear_model_over_frozen_features_is_a_baseline(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["training"]["steps"] = 4
    compared = whet.compare(recipe, methods=["bitfit"], out=tmp_path / "c", quiet=True)
    assert set(compared.comparison.baselines) == {"majority", "tfidf", "features"}


def test_the_usual_methods_take_part_and_each_has_its_own_rate(recipe: dict[str, Any]) -> None:
    del recipe["training"]
    recipe["method"] = {"name": "lora", "rank": 2}
    made = entrants(Asked(recipe))
    assert [one.name for one in made] == list(candidates.METHODS)
    assert "scratch" in candidates.METHODS
    assert made[candidates.METHODS.index("lora")].raw["method"] == {"name": "lora", "rank": 2}
    assert all(one.raw["training"] == {"epochs": 3} for one in made)
    assert entrants(Asked(recipe, ["head"], budget=Budget(steps=7)))[0].raw["training"] == {"steps": 7}


def test_names_tell_what_differs(recipe: dict[str, Any]) -> None:
    asked = Asked(recipe, ["full", {"name": "last_blocks", "count": 1}], ["a/b", "c"], [1e-4, 1e-3])
    names = [one.name for one in entrants(asked)]
    assert names[0] == "full-b-0.0001"
    assert "last_blocks-count-1-c-0.001" in names
    assert len(set(names)) == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Budget()),
        ("375steps", Budget(steps=375)),
        ("3 epochs", Budget(epochs=3)),
        ("20m", Budget(seconds=1200)),
        ("1.5h", Budget(seconds=5400)),
        ("1h30m", Budget(seconds=5400)),
        ("90 sec", Budget(seconds=90)),
    ],
)
def test_budgets_are_read(text: str | None, expected: Budget) -> None:
    assert budget_of(text) == expected


@pytest.mark.parametrize("text", ["", "20", "m", "0m", "0steps", "1.5steps", "-3epochs", "3 days"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="375steps, 3epochs, 20m"):
        budget_of(text)


def test_all_mistakes_are_told_before_anything_is_made(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        whet.compare(recipe, methods=["lorra", "head", "head"], rates=[20.0], seeds=0, out=tmp_path / "c", quiet=True)
    told = "\n".join(error.value.problems)
    for word in ("'lorra' is not known", "'head' takes part twice", "20", "--seeds"):
        assert word in told
    assert not (tmp_path / "c").exists()
    with pytest.raises(RecipeError, match="name either"):
        whet.compare()


def test_folders_and_data_that_cannot_be_used_are_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(RunFolderError, match="never overwritten"):
        whet.compare(recipe, methods=["head"], out=tmp_path / "taken", quiet=True)
    recipe["data"]["train"] = str(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"absent\.csv"):
        whet.compare(recipe, methods=["head"], out=tmp_path / "c", quiet=True)
    shutil.rmtree(tmp_path / "c", ignore_errors=True)
    with pytest.raises(RunFolderError, match="cannot be read"):
        whet.compare(resume=tmp_path / "taken", quiet=True)

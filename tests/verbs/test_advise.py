"""Advice for data: what it goes by, what a probe and a time change, and that training takes it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import whet
from tests.conftest import sentences, write_csv
from whet import recipe as recipes
from whet.engine import cache
from whet.errors import DataError, ModelError, RecipeError
from whet.planning.advise import Pick
from whet.verbs.advise import advise
from whet.verbs.advising.probe import probe
from whet.verbs.advising.timed import pace


def test_advice_goes_by_the_rows_the_task_and_the_config_alone(reviews: Path, tiny_model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    advised = advise(reviews, model=str(bare))
    facts = advised.facts
    assert (facts.task, facts.problem, facts.rows, facts.classes, facts.rarest) == (
        *("text_classification", "single_label", 48, 2, 24),
    )
    assert 5_000 < facts.parameters < 10_000
    assert facts.probe is None
    assert advised.language == "English"
    assert advised.backbones == []
    assert advised.advice.first.epochs == 20
    assert shlex.split(advised.command)[:5] == ["whet", "train", str(reviews), "--model", str(bare)]


def test_what_is_advised_is_what_train_does(reviews: Path, tiny_model: Path, tmp_path: Path) -> None:
    pick = advise(reviews, model=str(tiny_model)).advice.first
    run = whet.train(reviews, model=str(tiny_model), out=tmp_path / "run", quiet=True)
    text = (run.folder / "recipe.yaml").read_text()
    stored = yaml.safe_load(text)
    assert stored["method"]["name"] == pick.method
    assert stored["training"]["epochs"] == pick.epochs
    assert "arXiv" in text or "measured" in text
    assert "are few" in text
    again = whet.train(run.folder / "recipe.yaml", out=tmp_path / "again", quiet=True)
    assert again.test == run.test


def test_the_command_of_an_advice_is_a_recipe(reviews: Path, tiny_model: Path) -> None:
    advised = advise(reviews, model=str(tiny_model), data={"label": "label"})
    words = shlex.split(advised.command)
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert settings[0] == "data.label=label"
    raw: dict[str, Any] = {"data": {"train": words[2]}, "method": words[words.index("--method") + 1]}
    recipes.assign(raw, settings)
    recipe = recipes.parse(raw)
    assert recipe.method is not None
    assert Pick(recipe.method.name, epochs=recipe.training.epochs) == advised.advice.first


def test_a_probe_tells_what_the_model_knows(reviews: Path, tiny_model: Path, tmp_path: Path) -> None:
    advised = advise(reviews, model=str(tiny_model), probed=True)
    found = advised.facts.probe
    assert found is not None
    assert found.rows == 48
    assert 0.3 <= found.majority <= 0.55
    # Sums of random vectors of words tell these adjectives apart.
    assert found.score > found.majority + 0.1
    noise = [[text, ("good", "bad")[(number * 7919 >> 3) % 2]] for number, (text, _) in enumerate(sentences(120))]
    random = write_csv(tmp_path / "noise.csv", ["text", "label"], noise)
    unknown = probe({"data": {"train": str(random)}, "model": str(tiny_model)})
    assert unknown is not None
    assert unknown.gain < found.gain


def test_what_a_probe_reads_is_there_for_the_run_that_follows(
    reviews: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    assert cache.cache_folder() == tmp_path / "cache"
    probe({"data": {"train": str(reviews)}, "model": str(tiny_model)})
    run = whet.train(
        reviews, model=str(tiny_model), method="head", training={"epochs": 1}, out=tmp_path / "r", quiet=True
    )
    events = [line for line in (run.folder / "events.jsonl").read_text().splitlines() if '"Stored"' in line]
    assert '"reused": 48' in events[0]


def test_texts_to_be_written_are_not_probed(tmp_path: Path, tiny_decoder: Path) -> None:
    data = tmp_path / "book.txt"
    data.write_text("\n\n".join(f"Once upon a time there was a fox number {i}. It ran." * 20 for i in range(60)))
    advised = advise(data, model=str(tiny_decoder), probed=True)
    assert advised.facts.probe is None
    assert advised.advice.first.method == "full"


def test_a_pace_is_measured_on_few_rows(tmp_path: Path, tiny_model: Path) -> None:
    data = write_csv(tmp_path / "d.csv", ["text", "label"], [list(row) for row in sentences(600)])
    raw = {"data": {"train": str(data)}, "model": str(tiny_model)}
    measured = pace(raw, Pick("full"))
    assert 0 < measured.step < 2
    assert 0 < measured.epoch < 5
    assert measured.once > 0


def test_a_time_is_planned_for(tmp_path: Path, tiny_model: Path) -> None:
    data = write_csv(tmp_path / "d.csv", ["text", "label"], [list(row) for row in sentences(300)])
    plenty = advise(data, model=str(tiny_model), budget="2h")
    unhurried = advise(data, model=str(tiny_model))
    assert (plenty.advice.first, plenty.advice.second) == (unhurried.advice.first, unhurried.advice.second)
    assert "planned to end within 2 h" in plenty.advice.notes[-1]
    assert 0 < plenty.seconds[str(plenty.advice.first)] < 7200
    with pytest.raises(RecipeError, match="too short for any method"):
        advise(data, model=str(tiny_model), budget="1s")


def test_without_a_model_some_are_suggested(colours: Path) -> None:
    advised = advise(colours)
    assert not advised.here
    assert advised.model == "microsoft/resnet-18"
    assert advised.language is None
    assert "facebook/dinov2-small" in {one.name for one in advised.backbones}
    assert "--model microsoft/resnet-18" in advised.command
    for more in ({"probed": True}, {"budget": "5m"}):
        with pytest.raises(ModelError, match="--model microsoft/resnet-18"):
            advise(colours, **more)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A table that names pictures in two folders."""
    from PIL import Image

    for number in range(40):
        colour = ("red", "blue")[number % 2]
        folder = tmp_path / "pictures" / colour
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), colour if number < 2 else (number * 5, 10 + number, 200 - 4 * number)).save(
            folder / f"{number}.png"
        )
    return tmp_path / "pictures"


def test_what_is_wrong_is_refused_before_anything_is_tried(reviews: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        advise("nowhere.csv")
    with pytest.raises(RecipeError, match="write it as 20m"):
        advise(reviews, budget="soon")
    with pytest.raises(ModelError, match="no such folder"):
        advise(reviews, model="./nowhere")

"""Whole runs on pictures: what they learn, leave behind, answer and take up again."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import whet
from tests.conftest import write_csv
from tests.contracts.grounds import SMALL
from tests.data.test_pictures import held
from tests.pictures import COLOURS, class_folders, picture, tiny_model
from tests.verbs.broken import assert_resumed_is_whole
from whet import recipe as recipes
from whet.cli.app import app
from whet.errors import DataError, ModelError, RecipeError
from whet.verbs.train import run as run_recipe


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red and green pictures in folders of their own."""
    return class_folders(tmp_path_factory.mktemp("data") / "colours", 30)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {family: tiny_model(folder / family, family) for family in ("vit", "resnet")}


@pytest.fixture
def recipe(colours: Path, models: dict[str, Path]) -> dict[str, Any]:
    return {
        "data": {"train": str(colours)},
        "model": str(models["vit"]),
        "method": "full",
        "training": {"epochs": 2, "learning_rate": 0.003},
    }


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_colours_are_learned_and_the_card_loads_the_model(
    family: str, recipe: dict[str, Any], models: dict[str, Path], colours: Path, tmp_path: Path
) -> None:
    recipe |= {"model": str(models[family])}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] == 1.0
    assert set(run.metrics["baselines"]) == {"majority", "features"}
    asked = str(colours / "green" / "3.png")
    answer = run.predict([asked])[0]
    assert answer.label == "green"
    card = (run.folder / "README.md").read_text()
    lines = card.partition("```python\n")[2].partition("```")[0].replace('"model"', repr(str(run.folder / "model")))
    loaded: dict[str, Any] = {}
    exec(lines, loaded)
    inputs = loaded["processor"](images=Image.open(asked), return_tensors="pt")
    with torch.no_grad():
        logits = loaded["model"].eval()(**inputs).logits
    assert float(logits.softmax(-1).max()) == pytest.approx(max(answer.scores.values()), abs=1e-4)


def test_an_adapter_is_loaded_as_the_card_says(recipe: dict[str, Any], colours: Path, tmp_path: Path) -> None:
    recipe["method"] = "lora"
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    card = (run.folder / "README.md").read_text()
    assert "num_labels=2, ignore_mismatched_sizes=True" in card
    lines = card.partition("```python\n")[2].partition("```")[0].replace('"model")', f"{str(run.folder / 'model')!r})")
    loaded: dict[str, Any] = {}
    exec(lines, loaded)
    asked = colours / "red" / "1.png"
    inputs = loaded["processor"](images=Image.open(asked), return_tensors="pt")
    with torch.no_grad():
        logits = loaded["model"].eval()(**inputs).logits
    expected = run.predict([str(asked)])[0].scores
    assert logits.softmax(-1)[0].tolist() == pytest.approx(list(expected.values()), abs=1e-4)


# --- kinds of data ---


def test_parquet_tables_of_paths_and_several_classes_are_understood(recipe: dict[str, Any], tmp_path: Path) -> None:
    labels = [("red", "green", "blue")[i % 3] for i in range(30)]
    images = [picture(COLOURS[label], i) for i, label in enumerate(labels)]
    cells = [{"bytes": held(image), "path": f"{i}.png"} for i, image in enumerate(images)]
    pq.write_table(pa.table({"image": cells, "label": labels}), tmp_path / "rows.parquet")
    recipe["data"] = {"train": str(tmp_path / "rows.parquet")}
    recipe["training"] = {"steps": 4}
    run = whet.train(recipe, out=tmp_path / "parquet", quiet=True)
    assert recipes.read(run.folder / "recipe.yaml")["task"]["labels"] == ["blue", "green", "red"]
    assert pq.read_table(run.folder / "predictions.parquet")["image"][0].as_py().endswith(".png")
    (tmp_path / "files").mkdir()
    for i, image in enumerate(images):
        image.save(tmp_path / "files" / f"{i}.png")
    flags = [[f"files/{i}.png", *(int(label == one) for one in COLOURS)] for i, label in enumerate(labels)]
    recipe["data"] = {"train": str(write_csv(tmp_path / "flags.csv", ["path", *COLOURS], flags))}
    run = whet.train(recipe, out=tmp_path / "flags", quiet=True)
    saved = recipes.read(run.folder / "recipe.yaml")
    assert (saved["task"]["problem"], saved["data"]["label"]) == ("multi_label", ["red", "green", "blue"])
    assert isinstance(run.predict(str(tmp_path / "flags.csv"))[0].label, list)
    lists = [json.dumps({"picture": f"files/{i}.png", "labels": [label]}) for i, label in enumerate(labels)]
    (tmp_path / "lists.jsonl").write_text("\n".join(lists))
    recipe["data"] = {"train": str(tmp_path / "lists.jsonl")}
    run = whet.train(recipe, out=tmp_path / "lists", quiet=True)
    assert "micro_f1" in run.test


def test_folders_of_parts_win_over_a_list_of_their_files(recipe: dict[str, Any], tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 3)):
        class_folders(tmp_path / "data" / part, count)
    # The same pictures would be left out of training.
    for path in (tmp_path / "data" / "test").glob("*/*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    files = [[f"train/red/{i}.png", "red"] for i in range(12)]
    write_csv(tmp_path / "data" / "index.csv", ["file", "label"], files)
    recipe |= {"data": {"train": str(tmp_path / "data")}, "training": {"steps": 2}}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    facts = json.loads((run.folder / "data.json").read_text())["splits"]
    assert {name: (one["rows"], one["source"]) for name, one in facts.items()} == {
        "train": (22, "train"),
        "validation": (2, "train"),
        "test": (6, "test"),
    }


def test_damaged_files_are_left_out_on_request_and_that_is_told(
    recipe: dict[str, Any], colours: Path, tmp_path: Path
) -> None:
    folder = class_folders(tmp_path / "data", 15)
    (folder / "red" / "torn.png").write_bytes((folder / "red" / "1.png").read_bytes()[:60])
    recipe |= {"data": {"train": str(folder)}, "training": {"steps": 2}}
    with pytest.raises(DataError, match=r"1 of 31 pictures cannot be read: .*torn\.png is damaged"):
        whet.train(recipe, out=tmp_path / "run", quiet=True)
    recipe["data"]["incomplete"] = "drop"
    screen = Console(file=StringIO(), width=200)
    run_recipe(recipes.parse(recipe), tmp_path / "run", screen)
    assert "1 rows of data without a picture that can be read or a label were dropped" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_model_the_way_out_is_told(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model is named, and none that reads pictures is embedded"):
        whet.train(str(colours), out=tmp_path / "run", quiet=True)


# --- asking ---


def test_pictures_folders_and_tables_are_answered_on_the_command_line(
    recipe: dict[str, Any], colours: Path, tmp_path: Path
) -> None:
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    call = CliRunner().invoke
    one, other = str(colours / "red" / "1.png"), str(colours / "green" / "2.png")
    answered = call(app, ["predict", str(run.folder), one, other, "--json"])
    assert [answer["label"] for answer in json.loads(answered.output)] == ["red", "green"]
    written = call(app, ["predict", str(run.folder), str(colours), "--to", str(tmp_path / "answers.csv")])
    assert written.output.startswith("60 answers")
    assert (tmp_path / "answers.csv").read_text().splitlines()[0] == "file,prediction,confidence"
    evaluated = call(app, ["evaluate", str(run.folder), str(colours), "--json"])
    assert json.loads(evaluated.stdout)["rows"] == 60
    refused = call(app, ["predict", str(run.folder), str(tmp_path / "nothing.png")])
    assert isinstance(refused.exception, DataError)
    assert "nothing.png is not there" in str(refused.exception)


def test_a_model_of_texts_refuses_pictures(finished_run: Path, colours: Path) -> None:
    refused = CliRunner().invoke(app, ["predict", str(finished_run), str(colours / "red" / "1.png")])
    assert "this model reads texts" in str(refused.exception)


# --- the same bits ---


@pytest.mark.parametrize(("method", "family"), [("full", "resnet"), ("lora", "vit"), ("last_blocks", "resnet")])
def test_a_resumed_run_of_augmented_rows_ends_with_the_same_bits(
    method: str, family: str, recipe: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    recipe |= {"model": str(models[family]), "method": {"name": method, **SMALL.get(method, {})}}
    recipe["augment"] = {"flip": 0.5, "crop": [0.5, 1.0], "mixup": 0.3, "cutmix": 1.0, "erase": 0.5}
    assert_resumed_is_whole(recipe, tmp_path)


def test_with_a_frozen_body_stored_the_losses_are_those_without(
    recipe: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    recipe |= {"model": str(models["resnet"]), "method": "head"}
    losses = []
    for cache in ("memory", "off"):
        recipe["training"] |= {"cache": cache}
        run = whet.train(recipe, out=tmp_path / cache, quiet=True)
        losses.append([event["loss"] for event in _events(run.folder) if event["event"] == "Step"])
        assert any(event["event"] == "Stored" for event in _events(run.folder)) is (cache == "memory")
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_micro_batches_take_the_steps_of_the_whole_batch(
    recipe: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    recipe |= {"model": str(models["resnet"]), "augment": {"crop": [0.5, 1.0], "mixup": 0.3}}
    losses = []
    for rows in (16, 3):
        recipe["training"] |= {"micro_batch_size": rows, "precision": "fp32"}
        run = whet.train(recipe, out=tmp_path / str(rows), quiet=True)
        losses.append([event["loss"] for event in _events(run.folder) if event["event"] == "Step"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


# --- augmentation ---


def test_augmented_rows_are_shown_and_frozen_layers_compute_anew(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"method": "head", "augment": {"flip": 0.5, "rotate": 10}}
    screen = Console(file=StringIO(), width=200)
    run = run_recipe(recipes.parse(recipe), tmp_path / "run", screen)
    printed = screen.file.getvalue()  # type: ignore[attr-defined]
    assert f"unchanged on the left: {tmp_path / 'run' / 'augmented.png'}" in printed
    assert "augment changes the training rows in every epoch" in printed
    assert Image.open(tmp_path / "run" / "augmented.png").size[0] > 100
    assert recipes.read(run.folder / "recipe.yaml")["augment"] == {"flip": 0.5, "rotate": 10.0}


def test_texts_are_not_changed_like_pictures(
    recipe: dict[str, Any], reviews: Path, tiny_model: Path, tmp_path: Path
) -> None:
    recipe |= {"data": {"train": str(reviews)}, "model": str(tiny_model), "augment": {"flip": 0.5}}
    with pytest.raises(RecipeError, match=r"augment"):
        whet.train(recipe, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("wrong", [[0.6], [0.9, 0.5], [0, 1], "all", [0.5, 1.2]])
def test_a_crop_is_two_shares(wrong: object, recipe: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"augment\.crop: .*such as \[0\.6, 1\.0\]"):
        recipes.parse({**recipe, "augment": {"crop": wrong}})


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]

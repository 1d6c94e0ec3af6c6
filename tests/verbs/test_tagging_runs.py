"""Whole runs of tagging: what they learn, answer, leave behind and take up again."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer
from typer.testing import CliRunner

import whet
from tests import texts
from whet import recipe as recipes
from whet.cli.app import app
from whet.core import Answer, Entity
from whet.engine import predict, standard


def only(answer: Answer) -> Entity:
    """The one entity of an answer."""
    assert isinstance(answer.label, list)
    (entity,) = answer.label
    assert isinstance(entity, Entity)
    return entity


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts.tagged_lines(tmp_path_factory.mktemp("data"))


@pytest.fixture
def recipe(tagged: Path, tiny_model: Path) -> dict[str, Any]:
    return {
        "data": {"train": str(tagged)},
        "model": str(tiny_model),
        "method": "full",
        "training": {"epochs": 2, "learning_rate": 0.01},
    }


def test_a_run_learns_and_is_loaded_and_asked_without_whet(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["training"]["epochs"] = 12
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["f1"] > 0.9
    assert set(run.metrics["baselines"]) == {"majority", "words"}
    assert run.metrics["baselines"]["majority"]["f1"] == 0
    assert set(run.test) == {"f1", "precision", "recall", "token_accuracy", "loss"}
    saved = recipes.read(run.folder / "recipe.yaml")["task"]
    assert saved["labels"] == ["O", "B-bad", "B-good", "I-bad", "I-good"]
    assert (saved["name"], saved["form"]) == ("token_classification", "words")
    sentence, tokens = run.predict(["the film lovely bright day", ["the", "film", "dull", "day"]])
    entity = only(sentence)
    assert (entity.text, entity.label, entity.start, entity.end) == ("lovely bright", "good", 9, 22)
    assert 0 < entity.probability <= 1
    assert tokens.label == ["O", "O", "B-bad", "O"]
    model = AutoModelForTokenClassification.from_pretrained(run.folder / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    with torch.inference_mode():
        found = model(**tokenizer("the film dull day", return_tensors="pt")).logits[0, 1:-1].argmax(-1).tolist()
    assert [model.config.id2label[number] for number in found] == tokens.label
    table = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    assert all(len(row["prediction"]) == len(row["tokens"]) for row in table)
    assert "AutoModelForTokenClassification" in (run.folder / "README.md").read_text()
    again = run.evaluate(recipe["data"]["train"])
    assert again.scores["f1"] > 0.9


def test_a_head_alone_learns_from_sentences_of_all_lengths(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batches of one length would hide that others are read.
    monkeypatch.setattr(predict, "tokens_at_once", lambda _: 40)
    seen: list[tuple[int, ...]] = []
    plain = predict.readings

    def noted(*arguments: Any) -> Any:
        for chosen, read in plain(*arguments):
            seen.append(tuple(read.shape))
            yield chosen, read

    monkeypatch.setattr(standard, "readings", noted)
    recipe |= {"method": "head"}
    recipe["training"] |= {"epochs": 8, "learning_rate": 0.02}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert len({shape[1] for shape in seen}) > 1
    assert run.metrics["validation"]["token_accuracy"] > run.metrics["baselines"]["majority"]["token_accuracy"]
    answers = run.evaluate(recipe["data"]["train"])
    assert answers.scores["f1"] > 0.3


def test_texts_with_spans_are_learned_and_answered_with_spans(
    recipe: dict[str, Any], tmp_path: Path, tiny_model: Path
) -> None:
    rows = []
    for row in texts.tagged(80):
        text, spans = " ".join(row["tokens"]), []
        for start, tag in enumerate(row["ner_tags"]):
            if tag.startswith("B-"):
                two = row["ner_tags"][start + 1].startswith("I-")
                begin = len(" ".join([*row["tokens"][:start], ""]))
                words = " ".join(row["tokens"][start : start + 1 + two])
                spans.append({"start": begin, "end": begin + len(words), "label": tag[2:], "text": words})
        rows.append({"text": text, "entities": spans})
    data = tmp_path / "spans.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    recipe["data"]["train"] = str(data)
    recipe["training"]["epochs"] = 12
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["f1"] > 0.9
    entity = only(run.predict(["the film lovely bright day"])[0])
    assert (entity.text, entity.label) == ("lovely bright", "good")
    out = tmp_path / "answers.jsonl"
    told = CliRunner().invoke(app, ["predict", str(run.folder), str(data), "--to", str(out)])
    assert told.exit_code == 0, told.output
    first = json.loads(out.read_text().splitlines()[0])
    assert first["prediction"][0]["text"] == first["entities"][0]["text"]
    printed = CliRunner().invoke(app, ["predict", str(run.folder), "the film lovely bright day"])
    assert "lovely bright (good" in printed.output


def test_a_file_of_lines_with_numbers_for_tags_is_read_where_the_task_is_named(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    numbers = {"O": "0", "B-good": "1", "I-good": "1", "B-bad": "2", "I-bad": "2"}
    lines = [
        "".join(f"{token} {numbers[tag]}\n" for token, tag in zip(row["tokens"], row["ner_tags"], strict=True))
        for row in texts.tagged(80)
    ]
    data = tmp_path / "lines.txt"
    data.write_text("\n".join(lines))
    recipe["data"]["train"] = str(data)
    recipe["task"] = "token_classification"
    recipe["training"]["epochs"] = 6
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert set(run.test) == {"token_accuracy", "macro_f1", "loss"}
    assert run.test["token_accuracy"] > 0.9
    assert recipes.read(run.folder / "recipe.yaml")["task"]["labels"] == ["0", "1", "2"]
    assert run.evaluate(data).scores["token_accuracy"] > 0.9
    listed = run.predict(["the film lovely day"])[0].label
    assert [(one.text, one.label) for one in listed][2] == ("lovely", "1")  # type: ignore[union-attr]

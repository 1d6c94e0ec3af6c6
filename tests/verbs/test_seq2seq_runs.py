"""Whole runs of encoder-decoders: what they learn, write, leave behind and take up again."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import whet
from tests import texts
from tests.contracts.grounds import SMALL
from whet import recipe as recipes
from whet.errors import DataError, ModelError, RecipeError
from whet.verbs.session import Session


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts.encoder_decoder(tmp_path_factory.mktemp("models") / "t5", "t5")


@pytest.fixture(scope="session")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts.encoder_decoder(tmp_path_factory.mktemp("models") / "bart", "bart")


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources with targets that follow from them, neither as long as the other."""
    return texts.rewritten(tmp_path_factory.mktemp("data"))


@pytest.fixture
def recipe(days: Path, t5: Path) -> dict[str, Any]:
    return {
        "data": {"train": str(days)},
        "model": str(t5),
        "method": "full",
        "task": {"name": "seq2seq", "samples": 2},
        "training": {"epochs": 2, "learning_rate": 0.003},
    }


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_run_learns_and_is_loaded_and_asked_without_whet(
    family: str, recipe: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recipe["model"] = str(request.getfixturevalue(family))
    recipe["training"] |= {"epochs": 20, "learning_rate": 0.01}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert set(run.metrics["baselines"]) == {"pretrained", "frequencies", "copy"}
    assert run.test["loss"] < 0.5 * run.metrics["baselines"]["pretrained"]["loss"]
    assert run.test["loss"] < 0.7 * run.metrics["baselines"]["frequencies"]["loss"]
    assert {"loss", "perplexity", "token_accuracy", "bleu", "chrf", "rouge1", "rouge2", "rougeL"} == set(run.test)
    assert run.test["chrf"] > run.metrics["baselines"]["copy"]["chrf"]
    answer = str(run.predict(["3. after Monday"])[0].label)
    assert answer.endswith("day")
    saved = recipes.read(run.folder / "recipe.yaml")["task"]
    assert saved["start_token"] == {"t5": 0, "bart": 2}[family]
    # A beginning, Wednesday and its end.
    assert saved["max_target_length"] == 11
    model = AutoModelForSeq2SeqLM.from_pretrained(run.folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    asked = tokenizer("3. after Monday", return_tensors="pt")
    # How long an answer is stands beside the weights.
    written = model.generate(**asked)[0]
    assert str(tokenizer.decode(written, skip_special_tokens=True)).strip() == answer
    table = pq.read_table(run.folder / "predictions.parquet")
    assert (table.num_rows, "prediction" in table.column_names) == (2, True)
    assert "AutoModelForSeq2SeqLM" in (run.folder / "README.md").read_text()
    assert run.evaluate(recipe["data"]["train"]).scores["loss"] < 1.5


@pytest.mark.parametrize("name", ["prefix", "p_tuning", "prompt"])
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_with_virtual_tokens_what_is_written_is_what_is_most_probable(
    family: str, name: str, recipe: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recipe["model"] = str(request.getfixturevalue(family))
    recipe["method"] = {"name": name, "length": 3}
    recipe["training"] = {"steps": 12, "learning_rate": 0.05}
    session = Session.start(recipes.parse(recipe), tmp_path / "run")
    list(session.events())
    prepared = session.prepared
    rows = prepared.splits["validation"].take(range(3))
    answers = prepared.task.write(prepared.model, prepared.loaded.processor, rows, prepared.columns)  # type: ignore[attr-defined]
    model, tokenizer = prepared.model, prepared.loaded.processor
    start = {"t5": 0, "bart": 2}[family]
    for row, answer in enumerate(answers):
        read = tokenizer(str(rows.columns["source"][row]), return_tensors="pt")
        # The tokenizer begins every text with a sign of its own.
        written = [start, 1]
        while len(written) <= 11 and written[-1] != 2:
            with torch.inference_mode():
                logits = model(**read, decoder_input_ids=torch.tensor([written])).logits
            written.append(int(logits[0, -1].argmax()))
        assert str(tokenizer.decode(written[1:], skip_special_tokens=True)).strip() == answer.label


def test_beams_write_too(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["task"] |= {"beams": 3}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert isinstance(run.predict(["1. after Friday"])[0].label, str)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_targets_nearly_as_long_as_their_sources_are_stored_apart(
    family: str, recipe: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = tmp_path / "alike.jsonl"
    rows = [{"source": f"{'ab' * (n % 5)}{n:02d}.", "target": f"{'ba' * (n % 5)}{n:02d}"} for n in range(60)]
    rows[7]["target"] = "?"
    data.write_text("\n".join(map(json.dumps, rows)))
    recipe["data"]["train"] = str(data)
    recipe["model"] = str(request.getfixturevalue(family))
    recipe["method"] = {"name": "last_blocks", "count": 1}
    losses = []
    for cache in ("memory", "off"):
        recipe["training"] |= {"cache": cache}
        run = whet.train(recipe, out=tmp_path / cache, quiet=True)
        events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
        losses.append([event["loss"] for event in events if event["event"] == "Step"])
        assert any(event["event"] == "Stored" for event in events) is (cache == "memory")
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize(("method", "share"), [("full", 0.5), ("last_blocks", 0.95)])
def test_an_encoder_and_a_decoder_are_joined(
    method: str, share: float, recipe: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    from tests.verbs.gpt2 import tiny_gpt2

    recipe |= {"model": str(tiny_model), "method": {"name": method, **SMALL.get(method, {})}}
    recipe["task"] |= {"decoder": str(tiny_gpt2(tmp_path / "gpt2"))}
    recipe["training"] |= {"epochs": 8, "learning_rate": 0.01}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["loss"] < share * run.metrics["baselines"]["pretrained"]["loss"]
    written = run.predict(["1. after Friday"])
    assert written == whet.Run(run.folder).predict(["1. after Friday"])
    model = AutoModelForSeq2SeqLM.from_pretrained(run.folder / "model")
    assert model.config.model_type == "encoder-decoder"
    assert AutoTokenizer.from_pretrained(run.folder / "model" / "target_tokenizer").eos_token == "</s>"
    assert "target_tokenizer" in (run.folder / "README.md").read_text()


def test_an_adapter_for_two_models_is_refused(recipe: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    from tests.verbs.gpt2 import tiny_gpt2

    recipe |= {"model": str(tiny_model), "method": "lora"}
    recipe["task"] |= {"decoder": str(tiny_gpt2(tmp_path / "gpt2"))}
    with pytest.raises(ModelError, match="an adapter names one base model"):
        whet.train(recipe, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("model", "task", "error", "told"),
    [
        ("tiny_model", {}, ModelError, r"'bert' cannot turn texts into texts.*task\.decoder=NAME"),
        ("tiny_model", {"decoder": "tiny_decoder"}, ModelError, "'llama' cannot write what an encoder has read"),
        ("t5", {"source_language": "en"}, RecipeError, "task.source_language: .* knows no languages"),
    ],
)
def test_what_cannot_work_is_refused(
    model: str,
    task: dict[str, Any],
    error: type[Exception],
    told: str,
    recipe: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    recipe["model"] = str(request.getfixturevalue(model))
    recipe["task"] |= task
    if "decoder" in task:
        recipe["task"]["decoder"] = str(request.getfixturevalue(task["decoder"]))
    with pytest.raises(error, match=told):
        whet.train(recipe, out=tmp_path / "run", quiet=True)


def test_rows_without_a_source_or_a_target_are_named(recipe: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"source": "a", "target": "b"}, {"source": " ", "target": "b"}, {"source": "a", "target": None}]
    data.write_text("\n".join(map(json.dumps, rows)))
    recipe["data"]["train"] = str(data)
    with pytest.raises(DataError) as caught:
        whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert "line 2: there is no text in column 'source'" in str(caught.value)
    assert "line 3: there is no answer in column 'target'" in str(caught.value)

"""Whole runs of language models: what they learn, write, leave behind and take up again."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import whet
from tests import texts
from tests.contracts.grounds import SMALL
from tests.texts import DAYS
from whet import recipe as recipes
from whet.build import predictor
from whet.errors import ModelError, RecipeError, RunError
from whet.verbs import reloading
from whet.verbs.train import run as run_recipe

TIED = ("head", "gradual", "lp_ft")
"""Methods that train a head alone, which a model whose head is its table of tokens does not have."""


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts with completions that follow from them."""
    return texts.prompts(tmp_path_factory.mktemp("data"))


@pytest.fixture
def recipe(days: Path, tiny_decoder: Path) -> dict[str, Any]:
    return {
        "data": {"train": str(days)},
        "model": str(tiny_decoder),
        "method": "full",
        "task": {"name": "causal_lm", "samples": 2, "new_tokens": 12},
        "training": {"epochs": 2, "learning_rate": 0.003},
    }


def test_a_run_learns_and_is_loaded_and_asked_without_whet(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["training"]["epochs"] = 12
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["loss"] < 0.6 * run.metrics["baselines"]["pretrained"]["loss"]
    assert run.test["loss"] < run.metrics["baselines"]["frequencies"]["loss"]
    assert set(run.test) == {"loss", "perplexity", "token_accuracy", "exact_match"}
    answer = run.predict(["3. after Monday:"])[0].label
    assert str(answer).endswith("day")
    model: Any = AutoModelForCausalLM.from_pretrained(run.folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    asked = tokenizer("<s>3. after Monday:\n", add_special_tokens=False, return_tensors="pt")
    written = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert str(tokenizer.decode(written, skip_special_tokens=True)).strip() == str(answer).strip()
    table = pq.read_table(run.folder / "predictions.parquet")
    assert (table.num_rows, "prediction" in table.column_names) == (2, True)
    card = (run.folder / "README.md").read_text()
    assert "AutoModelForCausalLM" in card
    assert "num_labels" not in card
    again = whet.Run(run.folder).evaluate(recipe["data"]["train"])
    assert again.scores["loss"] < 2.5


@pytest.fixture(scope="session")
def tied(tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny decoder with its table of tokens as its head."""
    folder = tmp_path_factory.mktemp("models") / "tied"
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_decoder)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_decoder).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", TIED)
def test_a_head_that_is_the_table_of_tokens_cannot_train_alone(
    name: str, recipe: dict[str, Any], tied: Path, tmp_path: Path
) -> None:
    recipe |= {"model": str(tied), "method": name}
    with pytest.raises(ModelError, match=f"method '{name}': the head of this llama is its table of token vectors"):
        whet.train(recipe, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("name", ["full", "embeddings", "lora", "last_blocks", "p_tuning"])
def test_a_head_that_is_the_table_of_tokens_is_stored_once(
    name: str, recipe: dict[str, Any], tied: Path, tmp_path: Path
) -> None:
    recipe |= {"model": str(tied), "method": {"name": name, **SMALL.get(name, {})}}
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    held = {key for file in (run.folder / "model").glob("*.safetensors") for key in load_file(file)}
    assert "lm_head.weight" not in held
    table = "model.embed_tokens.weight"
    assert (table in held) is (name not in ("lora", "p_tuning"))
    assert run.test["loss"] < 8


@pytest.mark.parametrize("form", ["text", "chats", "instructions"])
def test_texts_chats_and_instructions_are_understood(form: str, tiny_decoder: Path, tmp_path: Path) -> None:
    if form == "text":
        data = tmp_path / "book.txt"
        data.write_text(
            "\n\n".join(f"{n}. Today is {DAYS[n % 7]}, and then comes the next day." * 40 for n in range(30))
        )
    else:
        data = tmp_path / "rows.jsonl"
        made: list[dict[str, Any]] = [
            {"instruction": f"Name day {n}", "input": "", "output": DAYS[n % 7]} for n in range(40)
        ]
        if form == "chats":
            roles = ("user", "assistant")
            made = [
                {
                    "messages": [
                        {"role": r, "content": row[k]} for r, k in zip(roles, ("instruction", "output"), strict=True)
                    ]
                }
                for row in made
            ]
        data.write_text("\n".join(json.dumps(row) for row in made))
    options = {"template": "plain"} if form == "chats" else {}
    screen = Console(file=StringIO(), width=110)
    raw = {
        "data": {"train": str(data)},
        "model": str(tiny_decoder),
        "task": {"name": "causal_lm", "samples": 2, **options},
        "training": {"steps": 4},
    }
    run = run_recipe(recipes.parse(raw), tmp_path / "run", screen)
    printed = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "it learns what is between [[ and ]]" in printed
    if form != "text":
        assert "]]" in printed
    saved = recipes.read(run.folder / "recipe.yaml")["task"]
    assert saved["packing"] is (form == "text")
    assert isinstance(run.predict(["Name day 3"])[0].label, str)


def test_chats_without_a_template_are_refused_with_the_ways_out(tiny_decoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    data.write_text("\n".join(json.dumps({"messages": [{**chat[0], "content": str(n)}, chat[1]]}) for n in range(20)))
    with pytest.raises(RecipeError, match=r"no chat template; set task.template to 'plain' or 'chatml'"):
        whet.train(str(data), model=str(tiny_decoder), out=tmp_path / "run", quiet=True)


def test_a_saved_model_of_packed_texts_is_compared_however_short_they_are(
    tiny_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 32 of them do not fill a single row.
    rows = [{"text": f"{n:03}"} for n in range(400)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    recipe = {
        "data": {"train": str(tmp_path / "rows.jsonl"), "test_share": 0.4},
        "model": str(tiny_decoder),
        "task": {"name": "causal_lm", "samples": 0, "max_length": 96},
        "method": "full",
        "training": {"steps": 2},
    }
    monkeypatch.setattr(reloading, "RELOADED", 8)
    assert whet.train(recipe, out=tmp_path / "whole", quiet=True).test["loss"] > 0

    def damaged(*told: Any) -> Any:
        opened = predictor(*told)
        with torch.no_grad():
            next(opened.model.parameters()).mul_(3.0)
        return opened

    monkeypatch.setattr(reloading, "predictor", damaged)
    with pytest.raises(RunError, match="the saved model answers differently"):
        whet.train(recipe, out=tmp_path / "damaged", quiet=True)


@pytest.mark.parametrize("option", [{"template": "plain"}, {"learn": "last_answer"}])
def test_options_of_chats_are_refused_for_plain_texts(
    option: dict[str, str], tiny_decoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "book.txt").write_text("Once upon a time. " * 2000)
    task = {"name": "causal_lm", **option}
    with pytest.raises(RecipeError, match=f"task.{next(iter(option))}: plain texts have no answers"):
        whet.train(str(tmp_path / "book.txt"), model=str(tiny_decoder), task=task, out=tmp_path / "run", quiet=True)


def test_an_encoder_is_refused_with_the_way_out(days: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"type 'bert' cannot continue texts.*choose a decoder"):
        whet.train(str(days), model=str(tiny_model), out=tmp_path / "run", quiet=True)

"""Heads of given layers: where they stand, that they come back, and that transformers alone refuses them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

import whet
from tests.contracts.backbones import BACKBONES, CLASSES, Backbone
from whet.core import Loaded
from whet.errors import InputError, ModelError, RecipeError
from whet.model.layered import mark, open_layered
from whet.model.parts import parts_of
from whet.model.surgery import operate
from whet.sections import Surgery

LAYERS: list[int | str] = [6, "gelu", "dropout 0.2"]
NAMED = {backbone.name: backbone for backbone in BACKBONES}


def with_head(backbone: Backbone) -> Loaded:
    torch.manual_seed(0)
    return operate(Loaded(backbone.build(), None, backbone.name, "folder", ()), Surgery(head=LAYERS))


def logits(model: PreTrainedModel, backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.train(mode=False)(**backbone.inputs(4, 0)).logits
    return found


@pytest.mark.parametrize("backbone", BACKBONES, ids=repr)
def test_the_last_layer_is_replaced_on_every_backbone_and_all_of_it_is_fresh(backbone: Backbone) -> None:
    operated = with_head(backbone)
    assert logits(operated.model, backbone).shape == (4, CLASSES)
    kinds = [nn.Linear, nn.GELU, nn.Dropout, nn.Linear]
    stacks = [module for module in operated.model.modules() if isinstance(module, nn.Sequential)]
    (stack,) = (stack for stack in stacks if [type(layer) for layer in stack] == kinds)
    parts = parts_of(operated.model, operated.fresh)
    assert {id(operated.model.get_parameter(name)) for name in parts.fresh} == {id(p) for p in stack.parameters()}
    assert set(parts.fresh) <= parts.under(parts.head)
    plain = parts_of(backbone.build())
    assert parts.blocks == plain.blocks


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2", "t5"])
def test_a_saved_one_comes_back_with_whet_and_is_refused_without(name: str, tmp_path: Path) -> None:
    model = with_head(NAMED[name]).model
    model.save_pretrained(tmp_path)
    mark(tmp_path)
    assert torch.equal(logits(open_layered(tmp_path), NAMED[name]), logits(model, NAMED[name]))
    with pytest.raises(ValueError, match="whet-layered"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_the_same_seed_draws_the_same_head() -> None:
    one, other = (logits(with_head(NAMED["bert"]).model, NAMED["bert"]) for _ in range(2))
    assert torch.equal(one, other)


def test_a_model_that_writes_has_no_such_head(questions: Path, tiny_decoder: Path) -> None:
    with pytest.raises(ModelError, match=r"surgery.head: .*leave surgery.head out"):
        whet.train(questions, model=str(tiny_decoder), surgery={"head": LAYERS}, method="full", quiet=True)


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    return {
        "data": str(reviews),
        "model": str(tiny_model),
        "surgery": {"head": [12, "relu", "dropout 0.1"]},
        "method": "head",
        "training": {"epochs": 2, "learning_rate": 0.02},
    }


def test_a_run_with_such_a_head_is_opened_from_its_folder_and_by_the_lines_of_its_card(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    (answer,) = whet.Run(run.folder).predict(["a very good day"])
    card = (run.folder / "README.md").read_text()
    assert "library_name: whet" in card
    lines = card.partition("```python\n")[2].partition("```")[0]
    assert "open_layered" in lines
    monkeypatch.chdir(run.folder)
    names: dict[str, Any] = {}
    exec(lines, names)
    with torch.no_grad():
        found = names["model"](**names["tokenizer"]("a very good day", return_tensors="pt")).logits.softmax(-1)[0]
    assert found.tolist() == pytest.approx(list(answer.scores.values()), abs=1e-5)


def test_such_a_run_is_no_model_to_begin_from(recipe: dict[str, Any], tmp_path: Path) -> None:
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    plain = {**recipe, "surgery": {}, "model": str(run.folder / "model")}
    with pytest.raises(ModelError, match=r"surgery.head\), so only its run opens it"):
        whet.train(plain, out=tmp_path / "other", quiet=True)


def test_an_adapter_for_the_plain_base_cannot_have_one(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="surgery"):
        whet.train({**recipe, "method": "lora"}, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ([], "should be a list of layers"),
        ([0], "0 is none"),
        ([16, "gelo"], "'gelo' is none; known are widths, relu, gelu, silu, tanh and dropout"),
        (["dropout"], "'dropout' is none"),
        (["dropout 1.5"], "'dropout 1.5' is none"),
        (["dropout 0.0"], "'dropout 0.0' is none"),
        ([True], "is none"),
        ([2.5], "2.5 is none"),
    ],
)
def test_layers_that_are_none_are_refused(recipe: dict[str, Any], head: list[object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        whet.train({**recipe, "surgery": {"head": head}}, quiet=True)

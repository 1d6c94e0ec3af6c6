"""Prompts that start as words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from tests.contracts.backbones import BACKBONES
from whet import catalog
from whet.errors import ModelError
from whet.methods.prompt import Prompt
from whet.model.parts import parts_of
from whet.model.processors import start_from_words

NAMED = {backbone.name: backbone for backbone in BACKBONES}
NUMBERS = [5, 9, 7]


def read(text: str) -> list[int]:
    return NUMBERS[: len(text.split())]


def attached(family: str, **options: Any) -> tuple[nn.Module, Tensor]:
    """A model with a prompt, and the table of token vectors that it had before."""
    plain = NAMED[family].build()
    table = plain.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    vectors = table.weight.detach().clone()
    method: Prompt = catalog.build("method", "prompt", options)
    model = method.attach(plain, parts_of(plain))
    method.word(model, read)
    return model, vectors


def prompt_of(model: nn.Module) -> Tensor:
    """The (l, D) vectors that train, but the head."""
    named = dict(model.named_parameters())
    (name,) = (name for name in named if name.startswith(("prompt_encoder.", "base_model.whet_prompt.")))
    return named[name].detach()


# peft's own prompts, those of whet for texts that a decoder reads, and for an encoder-decoder.
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "bart"])
def test_the_vectors_start_as_the_words_again_and_again(family: str) -> None:
    model, table = attached(family, length=7, text="three short words")
    assert torch.equal(prompt_of(model), table[[*NUMBERS, *NUMBERS, NUMBERS[0]]])


def test_without_words_nothing_is_read() -> None:
    plain = NAMED["vit"].build()
    method = Prompt(length=3)
    method.word(method.attach(plain, parts_of(plain)), None)


def test_words_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match=r"method.text: 'three short words' has 3 tokens for 2 .*method.length=3"):
        attached("bert", length=2, text="three short words")
    with pytest.raises(ModelError, match=r"method.text: ' ' has 0 tokens .*name some words"):
        attached("bert", text=" ")
    plain = NAMED["vit"].build()
    method = Prompt(length=3, text="a picture of")
    with pytest.raises(ModelError, match=r"method.text: the model reads no words"):
        start_from_words(method, method.attach(plain, parts_of(plain)), object())


def test_a_run_begins_with_the_words_of_its_recipe(reviews: Path, tiny_model: Path, tmp_path: Path) -> None:
    method = {"name": "prompt", "length": 4, "text": "is it good"}
    training = {"steps": 1, "learning_rate": 1e-12}
    run = whet.train(
        str(reviews), model=str(tiny_model), method=method, training=training, out=tmp_path / "run", quiet=True
    )
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    (vectors,) = (
        tensor
        for name, tensor in load_file(run.folder / "model" / "adapter_model.safetensors").items()
        if "prompt" in name
    )
    numbers = AutoTokenizer.from_pretrained(tiny_model)("is it good", add_special_tokens=False)["input_ids"]
    table = AutoModel.from_pretrained(tiny_model).get_input_embeddings().weight
    assert len(numbers) == 3
    assert torch.allclose(vectors, table[[*numbers, numbers[0]]], atol=1e-6)
    assert run.predict(["so good"])

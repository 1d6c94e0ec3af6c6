import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from tests.contracts.backbones import BACKBONES
from whet.model.attention import functions, looks_back_only
from whet.model.parts import parts_of

NAMED = {backbone.name: backbone for backbone in BACKBONES}


@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("resnet", "convnext", "wavlm")])
def test_every_block_has_one_self_attention(name: str) -> None:
    model = NAMED[name].build()
    parts = parts_of(model)
    assert len(parts.attention) == len(parts.blocks)
    for block, attention in zip(parts.blocks, parts.attention, strict=True):
        assert any(attention.startswith(f"{own}.") for own in block)
        assert ("eager" in functions(model.get_submodule(attention))) is (name != "deberta-v2")


@pytest.mark.parametrize("name", ["resnet", "convnext", "wavlm"])
def test_convolutions_have_none(name: str) -> None:
    assert parts_of(NAMED[name].build()).attention == {}


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("gpt2", [32, 32, 32]),  # one layer makes queries, keys and values
        ("modernbert", [32, 32, 32, 32]),
        ("llama", [16, 16, 16]),  # two queries share a key
        ("swin", [16, 32, 32]),
    ],
)
def test_keys_are_as_wide_as_their_heads_together(name: str, widths: list[int]) -> None:
    assert list(parts_of(NAMED[name].build()).attention.values()) == widths


def test_keys_of_a_fused_layer_with_shared_keys() -> None:
    with torch.device("meta"):
        config = AutoConfig.for_model(
            "phi3", hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, pad_token_id=0
        )
        model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    assert list(parts_of(model).attention.values()) == [16]


def test_attention_that_asks_no_function_is_left_out() -> None:
    with torch.device("meta"):
        config = AutoConfig.for_model("bloom", hidden_size=32, n_layer=1, n_head=2)
        model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    assert parts_of(model).attention == {}


def test_who_looks_back_only() -> None:
    def first(name: str) -> nn.Module:
        model = NAMED[name].build()
        return model.get_submodule(next(iter(parts_of(model).attention)))

    assert looks_back_only(first("gpt2"))
    assert looks_back_only(first("llama"))
    assert not looks_back_only(first("bert"))
    assert not looks_back_only(first("vit"))

"""Where attentions and feed-forwards are found in models of many families."""

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoModelForSequenceClassification

from tests.contracts.backbones import BACKBONES
from whet.model.parts import parts_of
from whet.model.sublayers import sublayers
from whet.model.targets import norms

TINY = {backbone.name: backbone for backbone in BACKBONES}
EXPECTED = {
    "bert": ["attention.output.dense", "intermediate.dense > output.dense"],
    "distilbert": ["attention.out_lin", "ffn.lin1 > ffn.lin2"],
    "deberta-v2": ["attention.output.dense", "intermediate.dense > output.dense"],
    "modernbert": ["attn.Wo", "mlp.Wi > mlp.Wo"],
    "gpt2": ["attn.c_proj", "mlp.c_fc > mlp.c_proj"],
    "llama": ["self_attn.o_proj", "mlp.up_proj > mlp.down_proj"],
    "t5": [
        "layer.0.SelfAttention.o",
        "layer.1.EncDecAttention.o",
        "layer.2.DenseReluDense.wi > layer.2.DenseReluDense.wo",
    ],
    "bart": ["self_attn.out_proj", "encoder_attn.out_proj", "fc1 > fc2"],
    "vit": ["attention.o_proj", "mlp.fc1 > mlp.fc2"],
    "resnet": ["layer.1.convolution"],
    "convnext": ["pwconv1 > pwconv2"],
    "swin": ["attention.o_proj", "mlp.fc1 > mlp.fc2"],
    "wav2vec2": ["attention.out_proj", "feed_forward.intermediate_dense > feed_forward.output_dense"],
    "whisper": ["self_attn.out_proj", "fc1 > fc2"],
}


def in_last_block(model: torch.nn.Module) -> list[str]:
    """The layers that compute last, and those that read what the feed-forward reads, below the last block."""
    parts = parts_of(model)
    found = sublayers(parts)
    assert {place.block for place in found} <= {name for block in parts.blocks for name in block}
    assert len({place.block for place in found}) == len(parts.blocks)
    last = [place for place in found if place.block == found[-1].block]
    inside = [[name.removeprefix(f"{p.block}.") for name in (p.entry, p.output) if name] for p in last]
    return [" > ".join(names) for names in inside]


@pytest.mark.parametrize("name", EXPECTED)
def test_sublayers_of_every_family(name: str) -> None:
    assert in_last_block(TINY[name].build()) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (
            "albert",
            AutoModelForSequenceClassification,
            ["albert_layers.0.attention.dense", "albert_layers.0.ffn > albert_layers.0.ffn_output"],
        ),
        # Its attention never calls its output layer.
        ("wavlm", AutoModel, ["feed_forward.intermediate_dense > feed_forward.output_dense"]),
        ("gpt_neox", AutoModel, ["attention.dense", "mlp.dense_h_to_4h > mlp.dense_4h_to_h"]),
        ("swinv2", AutoModel, ["attention.output.dense", "intermediate.dense > output.dense"]),
        (
            "wav2vec2-bert",
            AutoModelForAudioClassification,
            ["self_attn.linear_out", "ffn2.intermediate_dense > ffn2.output_dense"],
        ),
        ("regnet", AutoModel, ["layer.3.convolution"]),
        ("efficientnet", AutoModel, ["projection.project_conv"]),
    ],
)
def test_sublayers_of_families_of_other_shapes(name: str, kind: type[AutoModel], expected: list[str]) -> None:
    with torch.device("meta"):
        model = kind.from_config(AutoConfig.for_model(name))  # type: ignore[no-untyped-call]
    assert in_last_block(model) == expected


def test_widths_follow_the_stages_of_a_hierarchical_model() -> None:
    places = sublayers(parts_of(TINY["swin"].build()))
    assert [place.width for place in places if place.kind == "feed_forward"] == [16, 32, 32]


def test_norms_are_those_below_the_modules() -> None:
    parts = parts_of(TINY["bert"].build())
    block = "bert.encoder.layer.1"
    assert norms(parts, [block]) == [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]

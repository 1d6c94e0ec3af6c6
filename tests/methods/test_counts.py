"""What methods train, beside the head, against the formulas of their papers on models of the papers' sizes."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

from whet import catalog
from whet.core import Parts
from whet.model.parts import parts_of
from whet.protocols import Method

# The defaults of their configs are the sizes of BERT-base, RoBERTa-base and GPT-2 small.
L, D, D_FF = 12, 768, 3072
ATTENTION = 4 * (D + D)
"""Numbers in and out of the four layers of an attention."""
FEED_FORWARD = (D + D_FF) + (D_FF + D)

T5_BASE: dict[str, Any] = {"d_model": D, "d_kv": 64, "num_heads": 12, "d_ff": D_FF, "num_layers": L}
QWEN2_SMALL: dict[str, Any] = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}


def parts(family: str, kind: Any = AutoModelForSequenceClassification, **options: Any) -> Parts:
    """The parts of a model of which no weight exists."""
    with torch.device("meta"):
        return parts_of(kind.from_config(AutoConfig.for_model(family, num_labels=2, **options)))


def beside_the_head(model: Parts, name: str, **options: Any) -> int:
    method: Method = catalog.build("method", name, options)
    return method.cost(model).trainable - model.count(model.under(model.head))


@pytest.mark.parametrize(("rank", "millions"), [(8, 0.3), (4, 0.15)])
def test_lora_on_queries_and_values_of_roberta(rank: int, millions: float) -> None:
    # Table 2 of the paper: 0.3 M with a rank of 8.
    trained = beside_the_head(parts("roberta"), "lora", rank=rank, targets=["*.query", "*.value"])
    assert trained == L * 2 * rank * (D + D)
    assert trained / 1e6 == pytest.approx(millions, abs=0.01)


def test_lora_on_all_linear_layers() -> None:
    assert beside_the_head(parts("bert"), "lora", rank=16) == 16 * L * (ATTENTION + FEED_FORWARD)
    # GPT-2 computes queries, keys and values in one layer.
    fused = (D + 3 * D) + (D + D)
    assert beside_the_head(parts("gpt2"), "lora", rank=16) == 16 * L * (fused + FEED_FORWARD)


def test_lora_where_heads_share_keys_and_values() -> None:
    d, d_ff, d_kv = 896, 4864, 2 * 64
    layer = 2 * (d + d) + 2 * (d + d_kv) + 3 * (d + d_ff)
    assert beside_the_head(parts("qwen2", **QWEN2_SMALL), "lora", rank=16) == 16 * 24 * layer


def test_dora_has_one_length_more_for_every_output() -> None:
    model = parts("bert")
    more = beside_the_head(model, "lora", decompose=True) - beside_the_head(model, "lora")
    assert more == L * (4 * D + D_FF + D)


@pytest.mark.parametrize("options", [{"scaling": "alpha/sqrt(rank)"}, {"start": "pissa"}, {"b_rate": 16.0}])
def test_other_variants_of_lora_train_as_many(options: dict[str, object]) -> None:
    model = parts("bert")
    assert beside_the_head(model, "lora", **options) == beside_the_head(model, "lora")


def test_bitfit_on_bert() -> None:
    # Four layers of the attention and its norm, two layers of the feed-forward and its norm; the embeddings' norm.
    trained = beside_the_head(parts("bert"), "bitfit")
    assert trained == L * ((4 * D + D) + (D_FF + D + D)) + D
    assert trained == 102_144


def test_layernorm_on_bert() -> None:
    assert beside_the_head(parts("bert"), "layernorm") == (2 * L + 1) * (D + D)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_ia3_has_three_vectors_a_block(family: str) -> None:
    assert beside_the_head(parts(family), "ia3") == L * (D + D + D_FF)


def test_ia3_on_an_encoder_decoder() -> None:
    # A block of the decoder has two attentions.
    assert beside_the_head(parts("t5", **T5_BASE), "ia3") == L * (D + D + D_FF) + L * (2 * (D + D) + D_FF)


def test_ia3_where_heads_share_keys_and_values() -> None:
    assert beside_the_head(parts("qwen2", **QWEN2_SMALL), "ia3") == 24 * (128 + 128 + 4864)
    # Phi-3 computes queries (3,072), keys and values (768 each) in one layer.
    model = parts("phi3", hidden_size=3072, intermediate_size=8192, num_attention_heads=32, num_key_value_heads=8)
    assert beside_the_head(model, "ia3") == 32 * (768 + 768 + 8192)


def test_ia3_on_a_convolutional_network() -> None:
    model = parts("convnext", AutoModelForImageClassification)
    depths, widths = (3, 3, 9, 3), (96, 192, 384, 768)
    assert beside_the_head(model, "ia3") == sum(n * 4 * d for n, d in zip(depths, widths, strict=True))

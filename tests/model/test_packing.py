"""Texts that share a row: the same losses as in rows of their own, wherever packing is allowed at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from whet import catalog
from whet.core import Columns, Rows
from whet.data.conversations import Conversations
from whet.data.next_tokens import collate
from whet.model.late_head import learned, without_logits
from whet.model.packing import keeps_apart
from whet.model.parts import parts_of

NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {**NARROW, "num_key_value_heads": 1},
    "qwen3": {**NARROW, "num_key_value_heads": 1, "head_dim": 16},
    "gemma3_text": {**NARROW, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 3},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96},
    "gpt_neox": NARROW,
}


def build(family: str) -> PreTrainedModel:
    config = AutoConfig.for_model(
        family, vocab_size=259, pad_token_id=0, bos_token_id=1, eos_token_id=2, **FAMILIES[family]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_and_unpacked_losses_are_equal(family: str, tiny_decoder: Path) -> None:
    model, processor = build(family), AutoTokenizer.from_pretrained(tiny_decoder)
    assert keeps_apart(model)
    words: list[object] = ["a short one", "somewhat longer than that", "x", "the end of it all"]
    rows = Rows({"prompt": words, "completion": ["yes", "no no", "why", "ok"]}, "a.jsonl", range(1, 5))
    columns = Columns(("prompt",), ("completion",))
    sums = []
    for packing in (False, True):
        examples = Conversations(processor, "pairs", "answers", None, packing, 60).examples(rows, columns)
        batch = collate(examples, np.arange(len(examples)))
        with torch.no_grad(), without_logits(model):
            sums.append(learned(model(**batch.inputs), batch).by_row(len(examples)).sum(axis=0))
    (alone, tokens, hits), (packed, packed_tokens, packed_hits) = sums
    assert (tokens, hits) == (packed_tokens, packed_hits)
    assert packed / tokens == pytest.approx(alone / tokens, abs=1e-5)


@pytest.mark.parametrize("name", ["prompt", "prefix", "p_tuning"])
def test_virtual_tokens_and_packing_exclude_each_other(name: str) -> None:
    model = build("llama")
    method = catalog.build("method", name, {"length": 3})
    assert not keeps_apart(method.attach(model, parts_of(model)))


def test_a_model_without_positions_is_not_packed() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=64, hidden_size=32, n_layer=1, n_head=2)
    assert not keeps_apart(AutoModelForCausalLM.from_config(config))  # type: ignore[no-untyped-call]

"""The loss of a language model without its logits: the same as with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from whet.core import Batch
from whet.model import late_head
from whet.model.late_head import learned, without_logits


@pytest.fixture
def model(tiny_decoder: Path) -> PreTrainedModel:
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(tiny_decoder)
    return loaded


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(3, 200, (3, 9), generator=generator)
    targets = torch.where(torch.rand(3, 9, generator=generator) < 0.6, tokens, -100)
    targets[2] = -100
    return Batch({"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}, targets, 1.0, 3, 27)


def by_hand(model: nn.Module, batch: Batch) -> torch.Tensor:
    assert batch.targets is not None
    logits = model(**batch.inputs).logits[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1), batch.targets[:, 1:].flatten(), reduction="sum")


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("at_once", [2**23, 300], ids=["together", "token by token"])
@pytest.mark.parametrize("head_trains", [True, False])
def test_loss_and_gradients_are_those_of_the_logits(
    model: PreTrainedModel, batch: Batch, at_once: int, head_trains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_head, "AT_ONCE", at_once)
    model.lm_head.requires_grad_(head_trains)
    expected = by_hand(model, batch)
    (expected / 7).backward()  # type: ignore[no-untyped-call]
    wanted = gradients(model)
    model.zero_grad()
    with without_logits(model):
        outputs = model(**batch.inputs)
        assert outputs["logits"].shape == (3, 9, 32)
        found = learned(outputs, batch)
        (found.total / 7).backward()  # type: ignore[no-untyped-call]
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-6)
    got = gradients(model)
    assert got.keys() == wanted.keys()
    assert all(torch.allclose(got[name], wanted[name], atol=1e-6) for name in wanted)
    assert ("lm_head.weight" in got) is head_trains


def test_sums_by_row_are_those_of_the_tokens(model: PreTrainedModel, batch: Batch) -> None:
    assert batch.targets is not None
    with torch.no_grad(), without_logits(model):
        found = learned(model(**batch.inputs), batch)
    sums = found.by_row(3)
    assert sums[:, 0].sum() == pytest.approx(found.total.item(), rel=1e-5)
    assert sums[:, 1].tolist() == (batch.targets[:, 1:] >= 0).sum(1).tolist()
    assert (sums[2] == 0).all()
    logits = model(**batch.inputs).logits[:, :-1].argmax(-1)
    assert np.array_equal(sums[:, 2], ((logits == batch.targets[:, 1:]).sum(1)).numpy())


def test_the_model_is_whole_again_also_behind_a_context_within_a_context(model: PreTrainedModel, batch: Batch) -> None:
    before = model(**batch.inputs).logits
    with without_logits(model):
        with without_logits(model):
            assert "head" in model(**batch.inputs)
        assert "head" in model(**batch.inputs)
        assert model.config.use_cache is False
    outputs = model(**batch.inputs)
    assert torch.equal(outputs.logits, before)
    assert "head" not in outputs
    assert model.config.use_cache is True


def test_a_model_that_caps_its_logits_keeps_them(batch: Batch) -> None:
    config = AutoConfig.for_model(
        "gemma2",
        vocab_size=256,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=48,
        final_logit_softcapping=2.0,
    )
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with without_logits(model):
        outputs = model(**batch.inputs)
        assert outputs["logits"].shape[-1] == 256
        assert learned(outputs, batch).total.item() == pytest.approx(by_hand(model, batch).item(), rel=1e-6)


def test_nothing_that_is_learned_gives_a_loss_of_zero(model: PreTrainedModel, batch: Batch) -> None:
    assert batch.targets is not None
    nothing = Batch(batch.inputs, torch.full_like(batch.targets, -100), 0.0, 3, 27)
    with without_logits(model):
        total = learned(model(**batch.inputs), nothing).total
        total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0.0


def test_an_encoder_decoder_learns_tokens_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    config = AutoConfig.for_model("t5", vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    config.decoder_start_token_id = 0
    model = AutoModelForSeq2SeqLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(1)
    read, targets = (torch.randint(2, 50, (2, width), generator=generator) for width in (7, 4))
    targets[1, 2:] = -100
    shifted = model.prepare_decoder_input_ids_from_labels(targets)
    inputs = {"input_ids": read, "attention_mask": torch.ones_like(read), "decoder_input_ids": shifted}
    batch = Batch(inputs, targets, 6.0, 2, 14)
    expected = model(**batch.inputs, labels=targets).loss * 6
    with without_logits(model):
        outputs = model(**batch.inputs)
        assert outputs["logits"].shape == (2, 4, 16)
        found = learned(outputs, batch, ahead=0)
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.by_row(2)[:, 1].tolist() == [4, 2]

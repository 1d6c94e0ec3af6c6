"""What tests of several parts share: a tiny BERT with its tokenizer, small data that it can learn, a finished run."""

import atexit
import csv
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

# Before torch is loaded: processes of a test run share the cores, and threads that fight for them only spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests store is not what the user stores.
os.environ["WHET_CACHE"] = tempfile.mkdtemp(prefix="whet-tests-")
atexit.register(shutil.rmtree, os.environ["WHET_CACHE"], ignore_errors=True)

WORDS = {
    "good": ["good", "fine", "lovely", "bright", "kind"],
    "bad": ["bad", "poor", "dreary", "dull", "mean"],
    "": ["a", "the", "film", "book", "day", "and", "was", "so", "very", "it"],
}
POSITIONS = 24
"""Tokens that the tiny model can read."""
DECODED = 96
"""Tokens that the tiny decoder can read."""


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A csv file of these cells."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two narrow blocks and a tokenizer of whole words."""
    import torch
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
    folder = tmp_path_factory.mktemp("models") / "tiny"
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two narrow blocks and a tokenizer that reads byte by byte."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.processors import TemplateProcessing
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate([*special, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder = tmp_path_factory.mktemp("models") / "decoder"
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=DECODED,
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(special) + len(letters),
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file of sixty texts, half of them good and half of them bad."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    return write_csv(path, ["text", "label"], [[text, label] for text, label in sentences(60)])


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file of forty prompts and what completes them."""
    path = tmp_path_factory.mktemp("data") / "questions.csv"
    rows = [[f"{one} and {other}?", str(one + other)] for one in range(8) for other in range(5)]
    return write_csv(path, ["prompt", "completion"], rows)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, reviews: Path) -> Path:
    """The folder of a finished run of the tiny model on the reviews; tests must leave it as it is."""
    import whet

    folder = tmp_path_factory.mktemp("runs") / "finished"
    whet.train(reviews, model=str(tiny_model), method="head", training={"epochs": 1}, out=folder, quiet=True)
    return folder

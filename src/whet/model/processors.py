"""What turns rows into the input of a model: a tokenizer, an image processor or a feature extractor."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    EncoderDecoderModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from whet.core import Processor
from whet.errors import ModelError
from whet.model.heads import Reads
from whet.model.hearing import open_hearing
from whet.model.locate import opening
from whet.model.parts import longest_input
from whet.model.spelling import open_tokenizer as open_spelling
from whet.model.tokenizer_pair import TARGET, TokenizerPair
from whet.protocols import Worded


def open_processor(
    name: str, folder: Path, model: PreTrainedModel, reads: Reads, tokenizer: PreTrainedTokenizerBase | None = None
) -> Processor:
    """What a model needs to read texts, pictures or sound; raises ModelError where the two do not fit.

    ``tokenizer`` spells what a model hears, where that is not the one beside it.
    """
    if reads == "texts":
        if isinstance(model, EncoderDecoderModel) and (folder / TARGET).is_dir():
            source, target = model.encoder, model.decoder
            return TokenizerPair(
                open_tokenizer(name, folder, source), open_tokenizer(f"{name}: {TARGET}", folder / TARGET, target)
            )
        return open_tokenizer(name, folder, model)
    if reads == "pictures":
        # Pillow everywhere: torchvision resizes a little differently, and whoever loads the model may not have it.
        with opening(f"{name}: its preprocessor"):
            processor: Processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, trust_remote_code=False, local_files_only=True, backend="pil"
            )
        return processor
    if reads == "speech" and tokenizer is None:
        tokenizer = open_spelling(name, folder)
    return open_hearing(name, folder, model, tokenizer)


def make_room(processor: Processor, model: nn.Module) -> None:
    """Let a tokenizer give no more tokens than the model reads: virtual tokens take positions away."""
    longest = longest_input(model)
    if isinstance(processor, PreTrainedTokenizerBase) and longest is not None:
        processor.model_max_length = min(processor.model_max_length, longest)


def start_from_words(method: object, model: nn.Module, processor: Processor) -> None:
    """Let a method that can do so start from the words that it was told; raises ModelError where nobody reads them."""
    if not isinstance(method, Worded):
        return

    def read(text: str) -> list[int]:
        numbers: list[int] = processor(text, add_special_tokens=False)["input_ids"]
        return numbers

    method.word(model, read if isinstance(processor, PreTrainedTokenizerBase) else None)


def open_tokenizer(name: str, folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, which pads, reads no more than the model can, and knows no token beyond it."""
    with opening(f"{name}: its tokenizer"):
        processor: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    if processor.pad_token is None:
        if processor.eos_token is None:
            raise ModelError(f"model '{name}': its tokenizer has neither a padding nor an end token; add 'pad_token'")
        processor.pad_token = processor.eos_token
    # Decoders look for a text's last token with it, so it must be the one that pads.
    model.config.pad_token_id = processor.pad_token_id
    highest, embedding = max(processor.get_vocab().values()), model.get_input_embeddings()
    if isinstance(embedding, nn.Embedding) and highest >= (known := embedding.num_embeddings):
        raise ModelError(
            f"model '{name}': its tokenizer has a token number {highest}, the model knows only {known} tokens; "
            "fetch model and tokenizer from one source"
        )
    make_room(processor, model)
    added = processor.num_special_tokens_to_add()
    if processor.model_max_length <= added:
        raise ModelError(
            f"model '{name}' reads {processor.model_max_length} tokens at a time, of which {added} are special ones; "
            "correct 'model_max_length' in tokenizer_config.json"
        )
    return processor

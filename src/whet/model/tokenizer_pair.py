"""Two tokenizers as one: of what is read, and of what is written."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

TARGET = "target_tokenizer"
"""Folder of the second one inside of the model's."""


class TokenizerPair:
    """The tokenizers of an encoder and of a decoder that were pre-trained apart."""

    def __init__(self, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase) -> None:
        self.source = source
        self.target = target

    @property
    def model_max_length(self) -> int:
        """Tokens that the encoder reads."""
        longest: int = self.source.model_max_length
        return longest

    def get_vocab(self) -> dict[str, int]:
        """The tokens that the decoder writes."""
        known: dict[str, int] = self.target.get_vocab()
        return known

    def save_pretrained(self, folder: str | Path) -> None:
        """Write both: the encoder's beside the model, the decoder's into a folder of its own."""
        self.source.save_pretrained(folder)
        self.target.save_pretrained(Path(folder) / TARGET)


def both(processor: PreTrainedTokenizerBase | TokenizerPair) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    """The tokenizer of sources and that of targets, which is mostly the same."""
    return (processor.source, processor.target) if isinstance(processor, TokenizerPair) else (processor, processor)

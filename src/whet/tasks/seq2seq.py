"""Texts that become other texts: translation, summaries, corrections, answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet import metrics
from whet.catalog import OPTIONS
from whet.core import Answer, Choice, Columns, Examples, Loaded, Processor, Quantisation, Rows, Scores
from whet.data.paired_columns import PairedTexts
from whet.errors import ModelError
from whet.next_token import NextToken

if TYPE_CHECKING:
    from torch import nn

    from whet.data.sequence_pairs import SequencePairs


@dataclass(frozen=True, config=OPTIONS)
class Seq2seq(PairedTexts, NextToken):
    """Sequence to sequence: an encoder reads a text and a decoder writes another one.

    Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (arXiv
    1910.10683); Rothe et al. 2020 (arXiv 1907.12461) for two models joined.

    From source tokens (B, T) and the target shifted by one (B, U) come logits (B, U, V); the loss is the mean of
    -log p(y_u | y_<u, x) over target tokens. Choose it where a text is to become another: translation, summaries,
    corrections, questions and answers. T5, BART, mBART, Marian and Pegasus can do it, and an encoder with a decoder.
    """

    decoder: str | None = None
    """A second model that writes what the first has read, each with its own tokenizer: a folder, or a name on the hub.
    A fresh cross-attention joins them, which trains with every method. Needs a method that saves the whole model."""
    prefix: str | None = None
    """What stands before every source, such as 'translate English to German: ', with which T5 was pre-trained."""
    source_language: str | None = None
    """Code of the language that is read, such as en_XX, for models of many languages (mBART, M2M100, NLLB)."""
    target_language: str | None = None
    """Code of the language that is written, likewise."""
    max_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens read of a source; what is longer loses its end. The model's own limit, at most 512, if not named."""
    max_target_length: Annotated[int, Field(ge=2)] | None = None
    """Tokens learned of a target, and written at most; of 99 % of the training targets all are, if not named."""
    beams: Annotated[int, Field(ge=1)] = 1
    """Texts that are written side by side, of which the most probable stays; with 1 each token is the most probable."""
    samples: Annotated[int, Field(ge=0)] = 100
    """Test rows for which the finished model writes a text, which is compared with the one of the row."""
    start_token: int | None = None
    """Number of the token that the decoder reads first; the model's own if not named, -1 for the target's last one."""

    ahead: ClassVar[int] = 0

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[Seq2seq, list[Choice]]:
        return self, []

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.joined import load_joined
        from whet.model.load import load

        if self.decoder is None:
            return load(
                name, labels=None, targets=0, problem="target_text", kind="Seq2SeqLM", quantisation=quantisation
            )
        return load_joined(name, self.decoder, quantisation)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved

        return open_saved(folder, targets=0, kind="Seq2SeqLM")

    def suited(self, model: nn.Module) -> tuple[Seq2seq, list[Choice]]:
        """The task with what the decoder reads first, by the model's own rule."""
        from whet.model.decoding import first_token, is_adapted, wants_prefix

        if self.decoder is not None and is_adapted(model):
            raise ModelError(
                "task.decoder: an adapter names one base model, and two are joined here; choose a method that saves "
                "the whole model, such as 'full' or 'last_blocks'"
            )
        told = []
        if self.prefix is None and wants_prefix(model):
            why = "T5 was pre-trained with one, such as 'summarize: '; set task.prefix, unless your sources have one"
            told.append(Choice("task.prefix", None, "inferred", why))
        if self.start_token is not None:
            return self, told
        start = first_token(model)
        told.append(Choice("task.start_token", start, "inferred", "the model's own"))
        return dataclasses.replace(self, start_token=start), told

    def measured(self, rows: Rows, columns: Columns, loaded: Loaded) -> tuple[Seq2seq, list[Choice]]:
        """The task with the length of targets, by the training rows and the tokenizer."""
        from whet.data.sequence_pairs import measured
        from whet.model.decoding import remember

        pairs = self._pairs(loaded.processor)
        longest, choices = measured(pairs, rows.columns[columns.label[0]])
        first, opening, stop = pairs.first_read, pairs.opening, pairs.end
        remember(loaded.model, new_tokens=longest, beams=self.beams, first=first, opening=opening, stop=stop)
        return dataclasses.replace(self, max_target_length=longest), choices

    def encode(self, rows: Rows, columns: Columns, processor: Processor) -> Examples:
        return self._pairs(processor).examples(rows, columns)

    def write(self, model: nn.Module, processor: Processor, rows: Rows, columns: Columns) -> list[Answer]:
        from whet.model.writing import rewrite

        pairs = self._pairs(processor)
        asked = pairs.examples(rows, Columns(columns.text, ()))
        texts = rewrite(
            model,
            pairs.target,
            [asked.inputs["input_ids"][row].tolist() for row in range(len(asked))],
            padding=asked.fills["input_ids"],
            new_tokens=pairs.longest_target,
            beams=self.beams,
            first=pairs.first_read,
            opening=pairs.opening,
            stop=pairs.end,
        )
        return [Answer(text, {}) for text in texts]

    def compare(self, answers: Sequence[Answer], rows: Rows, columns: Columns) -> Scores:
        return metrics.texts([str(answer.label) for answer in answers], list(map(str, rows.columns[columns.label[0]])))

    def illustrate(self, examples: Examples, processor: Processor) -> list[tuple[str, bool]]:
        return self._pairs(processor).illustrated(examples)

    def _pairs(self, processor: Processor) -> SequencePairs:
        from whet.data.languages import speak
        from whet.data.sequence_pairs import SequencePairs
        from whet.model.tokenizer_pair import both

        source, target = both(processor)
        speak(source, self.source_language, self.target_language)
        start = None if self.start_token == -1 else self.start_token
        return SequencePairs(source, target, self.prefix or "", self.max_length, self.max_target_length, start)

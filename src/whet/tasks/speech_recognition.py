"""What is said, as a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Batch, Choice, Columns, Examples, Loaded, Quantisation, Rows
from whet.data.spoken import SpokenFiles
from whet.hears import Hears
from whet.transcription import Transcription

if TYPE_CHECKING:
    from torch import nn

    from whet.data.augment.sounds import SoundAugmentation
    from whet.data.clips import Clips
    from whet.model.hearing import Hearing


@dataclass(frozen=True, config=OPTIONS)
class SpeechRecognition(Hears, SpokenFiles, Transcription):
    """Speech recognition: a text for what is said in a sound.

    Graves et al. 2006, "Connectionist Temporal Classification", with Baevski et al. 2020, "wav2vec 2.0" (arXiv
    2006.11477); Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision" (arXiv 2212.04356).

    A model with CTC makes logits (B, T, V) of a character, or a blank, for each of T steps of a wave (B, samples); the
    loss is -log p(transcript), summed over all ways to spread its characters over the steps, per character. Whisper
    makes logits (B, S, V) for the next tokens from a spectrogram and the true tokens before each; the loss is the mean
    of -log p(token). Choose it for dictation, commands and subtitles, and for the words and voices of your own field.
    """

    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds read of a clip; longer training clips are refused, longer ones to be written down are heard in pieces. A
    quarter more than the longest training clip has, at most 30, if not named."""
    case: Literal["lower", "keep"] | None = None
    """Whether transcripts are learned in small letters; they are if not named, but for Whisper."""
    punctuation: Literal["remove", "keep"] | None = None
    """Whether transcripts are learned without punctuation; they are if not named, but for Whisper."""
    language: str | None = None
    """Language that a Whisper of many languages is told, such as 'ko' or 'english'; none if not named."""
    new_tokens: Annotated[int, Field(ge=1)] = 224
    """Most tokens that Whisper writes for a clip."""
    samples: Annotated[int, Field(ge=0)] = 100
    """Test rows that the finished model writes down; Whisper's errors in words and characters are measured on them."""
    feature_encoder: Literal["frozen", "trained"] = "frozen"
    """Whether the convolutions that read the wave first train too; in the paper they stay as they were pre-trained."""
    characters: str | None = None
    """Characters of the training transcripts, of which a CTC model gets a vocabulary where its own cannot spell them;
    found in the rows if not named."""
    decoding: Literal["ctc", "seq2seq"] | None = None
    """How the model writes; the model tells."""

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[SpeechRecognition, list[Choice]]:
        """The task with length and characters decided from the training rows."""
        from whet.data.clips import seconds_for
        from whet.data.transcripts import characters

        seconds, found, choices = self.max_seconds, self.characters, []
        if seconds is None:
            seconds, why = seconds_for(rows, columns.text[0])
            choices.append(Choice("task.max_seconds", seconds, "inferred", why))
        if found is None:
            found = characters(rows.columns[columns.label[0]])
            choices.append(Choice("task.characters", found, "inferred", f"{len(found)} in the transcripts"))
        return dataclasses.replace(self, max_seconds=seconds, characters=found), choices

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.hearing import speech_kind
        from whet.model.load import load
        from whet.model.transcribe import prepared

        kind = speech_kind(name)
        spelling = dataclasses.replace(self, decoding="seq2seq" if kind == "SpeechSeq2Seq" else "ctc")._spelling()
        loaded = load(
            name,
            labels=None,
            targets=0,
            problem="transcript",
            kind=kind,
            quantisation=quantisation,
            characters="".join(sorted({one for kept in self.characters or "" for one in spelling.spelled(kept)})),
        )
        return prepared(loaded, self.language)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved
        from whet.model.transcribe import prepared

        kind: Literal["CTC", "SpeechSeq2Seq"] = "SpeechSeq2Seq" if self.decoding == "seq2seq" else "CTC"
        return prepared(open_saved(folder, targets=0, kind=kind), self.language)

    def suited(self, model: nn.Module) -> tuple[SpeechRecognition, list[Choice]]:
        """The task with the decoding and the spelling that the model asks for."""
        from whet.model.parts import language_head

        decoding: Literal["ctc", "seq2seq"] = "ctc" if language_head(model) is None else "seq2seq"
        fitted = dataclasses.replace(self, decoding=decoding)._spelling()
        kinds = {"ctc": "a character for each step", "seq2seq": "token after token, as Whisper does"}
        choices = [Choice("task.decoding", decoding, "inferred", kinds[decoding])]
        why = "as it was pre-trained" if decoding == "seq2seq" else "a vocabulary of few characters is learned best"
        choices += [
            Choice(f"task.{name}", vars(fitted)[name], "inferred", why)
            for name in ("case", "punctuation")
            if vars(self)[name] is None
        ]
        return fitted, choices

    def computing(self, model: nn.Module) -> AbstractContextManager[object]:
        return nullcontext()

    def encode(self, rows: Rows, columns: Columns, processor: Hearing) -> Examples:
        return self.clips_of(rows, columns, processor)

    def augmentation(
        self, options: Mapping[str, Any], rows: Rows, columns: Columns, loaded: Loaded
    ) -> SoundAugmentation:
        from whet.data.augment.sounds import sound_augmentation
        from whet.data.transcripts import fits, with_words_of

        def join(changed: Clips, examples: Examples, indices: np.ndarray) -> Batch:
            return self.collate(with_words_of(changed, examples, indices), np.arange(len(indices)))

        assert self.max_seconds is not None
        hearing, seconds = loaded.processor, self.max_seconds
        writes = self.decoding == "seq2seq"
        checked = (lambda *_: True) if writes else fits
        return sound_augmentation(options, rows, columns.text[0], hearing, seconds, None, join, checked)

    def _spelling(self) -> SpeechRecognition:
        """With the spelling that fits how the model writes."""
        if self.decoding == "seq2seq":
            return dataclasses.replace(self, case=self.case or "keep", punctuation=self.punctuation or "keep")
        return dataclasses.replace(self, case=self.case or "lower", punctuation=self.punctuation or "remove")

"""How a model hears: from a wave at its rate to the numbers that it reads. Knows no file of sound and no task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import nn
from transformers import (
    ASTFeatureExtractor,
    AutoFeatureExtractor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
    WhisperTokenizer,
)

from whet.core import Mask, Parts
from whet.errors import ModelError
from whet.model import spelling
from whet.model.heads import HEADS, Kind
from whet.model.locate import locate, opening
from whet.model.log_mel import FRONTEND, LogMel
from whet.model.silence import silence

Reading: TypeAlias = Literal["wave", "masked_wave", "bins_by_frames", "frames_by_bins", "patches"]
"""What a model reads of a clip: its samples, with a mask over padding or without, or a spectrogram."""

_SPECTROGRAMS: dict[type, Reading] = {
    WhisperFeatureExtractor: "bins_by_frames",
    ASTFeatureExtractor: "frames_by_bins",
    LogMel: "patches",
}
_HOP = 160
"""Samples from one frame of an AST's spectrogram to the next."""
_WINDOW = 400
"""Samples of such a frame."""


@dataclass(frozen=True)
class Hearing:
    """What turns waves into the input of one model, and, where it writes, its tokens into texts."""

    extractor: Any
    """A feature extractor of transformers, or a ``LogMel``."""
    layers: tuple[tuple[int, int], ...] = ()
    """(width, stride) of the convolutions that a wave goes through first; none where a spectrogram is read."""
    tokenizer: PreTrainedTokenizerBase | None = None
    """What spells the answers of a model that writes."""
    positions: int = 0
    """Tokens that it can write, those before the transcript too; 0 where it has a character for each step."""

    @property
    def rate(self) -> int:
        """Samples of a second."""
        return int(self.extractor.sampling_rate)

    @property
    def argument(self) -> str:
        """The model's name for its input."""
        return str(self.extractor.model_input_names[0])

    @property
    def reading(self) -> Reading:
        """What the model reads."""
        if isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            return "masked_wave" if self.extractor.return_attention_mask else "wave"
        return _SPECTROGRAMS[type(self.extractor)]

    @cached_property
    def shortest(self) -> int:
        """Samples of the shortest wave that the model can read; shorter ones end with silence."""
        if isinstance(self.extractor, LogMel):
            return self.extractor.shortest
        if isinstance(self.extractor, ASTFeatureExtractor):
            return _WINDOW
        shortest = 1
        for width, stride in reversed(self.layers):
            shortest = (shortest - 1) * stride + width
        return shortest

    @property
    def longest(self) -> float | None:
        """Seconds that the model reads at most; None where there is no end."""
        if isinstance(self.extractor, WhisperFeatureExtractor):
            return float(self.extractor.chunk_length)
        if isinstance(self.extractor, ASTFeatureExtractor):
            return float((self.extractor.max_length - 1) * _HOP + _WINDOW) / self.rate
        return None

    @property
    def frames(self) -> int:
        """Frames of a spectrogram as the model reads it: of a patch, or of the whole; 0 for waves."""
        if isinstance(self.extractor, LogMel):
            return self.extractor.patch
        if isinstance(self.extractor, ASTFeatureExtractor):
            return int(self.extractor.max_length)
        return int(self.extractor.nb_max_frames) if isinstance(self.extractor, WhisperFeatureExtractor) else 0

    def steps(self, samples: int) -> int:
        """How many vectors the model makes of so many samples of a wave."""
        for width, stride in self.layers:
            samples = (samples - width) // stride + 1
        return samples

    def features(self, wave: np.ndarray) -> np.ndarray:
        """What the model reads of a wave: (samples,), or (frames, bins)."""
        with silence():
            read: np.ndarray = np.asarray(self.extractor(wave, sampling_rate=self.rate)[self.argument][0], np.float32)
        return read.T if self.reading == "bins_by_frames" else read

    @property
    def blank(self) -> int:
        """The token of a CTC model that stands for nothing."""
        return int(self._tokenizer.pad_token_id)

    @property
    def opening(self) -> Sequence[int]:
        """Tokens before every transcript."""
        assert isinstance(self.tokenizer, WhisperTokenizer)
        return list(self.tokenizer.prefix_tokens)

    @property
    def stop(self) -> int:
        """The token behind every transcript."""
        return int(self._tokenizer.eos_token_id)

    @property
    def room(self) -> int:
        """Tokens that are written at most."""
        return self.positions - len(self.opening) - 1

    def numbers(self, text: str) -> list[int]:
        """The tokens of a transcript."""
        if not self.positions:
            return spelling.numbers(text, self._tokenizer)
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What rows of tokens spell."""
        if not self.positions:
            return spelling.texts(rows, self._tokenizer)
        return [str(self._tokenizer.decode(list(row), skip_special_tokens=True)).strip() for row in rows]

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        assert self.tokenizer is not None
        return self.tokenizer

    def save_pretrained(self, folder: str | Path) -> None:
        """Write what reads the sound, and what spells the answers, beside a model."""
        self.extractor.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)


def feature_encoder(parts: Parts) -> Mask:
    """The convolutions that read a wave; none where a model reads spectrograms."""
    return parts.under(name for name in parts.stem if name.rpartition(".")[2] == "feature_extractor")


def reads_patches(model: nn.Module) -> bool:
    """Whether a model is one for pictures."""
    root = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    return bool(root.main_input_name == "pixel_values")


def sound_kind(name: str | None) -> Kind:
    """Which head a model gets that is to classify sounds: one of patches where it has a front end for them."""
    return "PatchClassification" if (_folder(name) / FRONTEND).is_file() else "AudioClassification"


def speech_kind(name: str | None) -> Kind:
    """How a model writes what is said: token after token, or a character for every step of the sound."""
    try:
        family = json.loads((_folder(name) / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        # What is wrong with the file is told where it is opened.
        family = None
    return "SpeechSeq2Seq" if family in HEADS["SpeechSeq2Seq"].families else "CTC"


def _folder(name: str | None) -> Path:
    if name is None:
        raise ModelError(
            "no model that hears comes with whet; name one with --model, such as the folder of a Wav2Vec2, HuBERT, "
            "WavLM, Whisper or AST"
        )
    return locate(name, None)[1]


def open_hearing(
    name: str, folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> Hearing:
    """How a model hears; raises ModelError where its feature extractor is of a kind that is not known."""
    extractor: Any
    if (folder / FRONTEND).is_file():
        extractor = LogMel.open(folder)
    else:
        with opening(f"{name}: its feature extractor"):
            extractor = AutoFeatureExtractor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, trust_remote_code=False, local_files_only=True
            )
    if not isinstance(extractor, (Wav2Vec2FeatureExtractor, *_SPECTROGRAMS)):
        raise ModelError(
            f"model '{name}' hears through a {type(extractor).__name__}, which whet does not know; choose one of "
            "Wav2Vec2, HuBERT, WavLM, Whisper and AST, or of their kin"
        )
    told = model.config.to_dict()
    waves = isinstance(extractor, Wav2Vec2FeatureExtractor)
    layers = tuple(zip(told["conv_kernel"], told["conv_stride"], strict=True)) if waves else ()
    positions = int(told["max_target_positions"]) if isinstance(tokenizer, WhisperTokenizer) else 0
    return Hearing(extractor, layers, tokenizer, positions)

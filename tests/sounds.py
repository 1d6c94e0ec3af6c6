"""Sounds made of tones, and tiny random models that hear them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RATE = 8000
"""Samples of a second, for the models too."""
TONES = {"low": 300.0, "high": 1500.0}
LETTERS = {"a": 300.0, "b": 700.0, "c": 1500.0}
"""What is said: a tone for each letter."""


def tone(frequency: float, seconds: float, *, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A tone with a little noise, (samples,) float32."""
    generator = np.random.default_rng(seed)
    times = np.arange(int(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * frequency * times + generator.uniform(0, 6))
    return (wave + 0.02 * generator.standard_normal(len(times))).astype(np.float32)


def write(path: Path, wave: np.ndarray, *, rate: int = RATE, subtype: str | None = None) -> Path:
    """A file of sound; its ending says which."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype=subtype)
    return path


def tones_folder(folder: Path, count: int = 24, seconds: Sequence[float] = (0.3, 0.4, 0.5)) -> Path:
    """A folder for each of two tones."""
    for number in range(count):
        name = list(TONES)[number % 2]
        wave = tone(TONES[name] * (1 + 0.01 * (number % 5)), seconds[number % len(seconds)], seed=number)
        write(folder / name / f"{number}.wav", wave)
    return folder


def spoken_table(folder: Path, count: int = 30, words: Sequence[str] = ("ab", "ba", "cab", "bac", "abc", "ca")) -> Path:
    """A table of sounds with their transcripts; each letter is a tone of a tenth of a second."""
    rows = ["file_name,transcript"]
    for number in range(count):
        word = words[number % len(words)]
        wave = np.concatenate([tone(LETTERS[letter], 0.12, seed=number + i) for i, letter in enumerate(word)])
        write(folder / "audio" / f"{number}.wav", wave)
        rows.append(f"audio/{number}.wav,{word}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder / "metadata.csv"


_NARROW: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}


def wave_model(folder: Path, *, masked: bool = True, family: str = "wav2vec2") -> Path:
    """A random Wav2Vec2, HuBERT or WavLM; with a mask over padding, or without one as the oldest models are."""
    hf = _transformers()

    config = hf.AutoConfig.for_model(
        family,
        **_NARROW,
        vocab_size=32,
        conv_dim=(16, 24),
        conv_kernel=(10, 16),
        conv_stride=(10, 16),
        feat_extract_norm="layer" if masked else "group",
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
        layerdrop=0.0,
    )
    _save(hf.AutoModel.from_config(config), folder)
    hf.Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=masked).save_pretrained(folder)
    return folder


def speaking_model(folder: Path) -> Path:
    """A random Wav2Vec2 that is large enough to learn some words by heart."""
    hf = _transformers()

    still = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout")
    config = hf.Wav2Vec2Config(
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        conv_dim=(48, 48, 48, 64),
        conv_kernel=(10, 8, 4, 4),
        conv_stride=(5, 4, 4, 2),
        feat_extract_norm="layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        layerdrop=0.0,
        **dict.fromkeys(still, 0.0),
    )
    _save(hf.Wav2Vec2Model(config), folder)
    hf.Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=True).save_pretrained(folder)
    return folder


def whisper_model(folder: Path, *, seconds: int = 1) -> Path:
    """A random Whisper that hears so many seconds and spells in bytes."""
    from tokenizers import pre_tokenizers

    hf = _transformers()

    special = ["<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*letters, *special])}
    tokenizer = hf.WhisperTokenizer(vocab=vocabulary, merges=[], pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.save_pretrained(folder)
    config = hf.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=16,
        max_source_positions=50 * seconds * RATE // 16000,
        max_target_positions=32,
        classifier_proj_size=16,
        pad_token_id=vocabulary["<|endoftext|>"],
        bos_token_id=vocabulary["<|endoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        decoder_start_token_id=vocabulary["<|startoftranscript|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    _save(hf.WhisperForConditionalGeneration(config), folder)
    hf.WhisperFeatureExtractor(feature_size=16, sampling_rate=RATE, chunk_length=seconds).save_pretrained(folder)
    return folder


def spectrogram_model(folder: Path) -> Path:
    """A random AST of 64 frames."""
    hf = _transformers()

    config = hf.ASTConfig(**_NARROW, patch_size=8, frequency_stride=8, time_stride=8, max_length=64, num_mel_bins=16)
    _save(hf.ASTModel(config), folder)
    hf.ASTFeatureExtractor(sampling_rate=RATE, num_mel_bins=16, max_length=64).save_pretrained(folder)
    return folder


def patch_model(folder: Path) -> Path:
    """A random MobileNet that reads patches of 16 frames."""
    hf = _transformers()

    # Of the usual start a random model makes next to nothing, and the usual dropout leaves nothing of that.
    kept = {"initializer_range": 0.4, "classifier_dropout_prob": 0.1}
    config = hf.MobileNetV1Config(num_channels=1, image_size=32, depth_multiplier=0.25, min_depth=8, **kept)
    _save(hf.MobileNetV1ForImageClassification(config), folder)
    told = {
        "sample_rate": RATE,
        "window": "periodic Hann, 200 samples",
        "hop": 80,
        "n_fft": 256,
        "spectrum": "magnitude (not power)",
        "mel_bins": 32,
        "mel_min_hz": 60.0,
        "mel_max_hz": 3800.0,
        "mel_scale": "1127*ln(1+f/700), triangles drawn on the mel axis, peak 1, DC bin zero",
        "log": "ln(mel + 0.001)",
        "patch_frames": 16,
        "patch_hop_frames": 8,
    }
    (folder / "frontend.json").write_text(json.dumps(told))
    return folder


MODELS: dict[str, Callable[[Path], Path]] = {
    "wave": wave_model,
    "whisper": whisper_model,
    "spectrogram": spectrogram_model,
    "patches": patch_model,
}


def _transformers() -> Any:
    """The library, most of which has no types."""
    import transformers

    return transformers


def _save(model: Any, folder: Path) -> None:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        type(model)(model.config).save_pretrained(folder)

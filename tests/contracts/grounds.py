"""Where methods meet tasks: for each task small rows, and tiny random models that can learn them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests import pictures, sounds, texts

Maker = Callable[[Path], Path]
"""From an empty folder to what was made in it."""


@dataclass(frozen=True)
class Ground:
    """A task, and a model of one family."""

    task: str
    family: str
    """``config.model_type``, and behind a comma what tells two of them apart."""
    data: Maker
    model: Maker
    asked: Callable[[Path], Sequence[Any]]
    """From the rows' file or folder to what the finished model is asked."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Methods that cannot work here, and a word of the reason."""
    needs: str = "torch"
    """A package without which there is nothing to read."""

    def recipe(self, folder: Path, method: str, **training: Any) -> dict[str, Any]:
        """A short run; rows and model are made in ``folder`` where they are not there yet."""
        places = {}
        for part, make in (("data", self.data), ("model", self.model)):
            note = folder / f"{self}.{part}"
            if not note.exists():
                made = make(_empty(folder / f"{self}-{part}"))
                note.write_text(str(made))
            places[part] = note.read_text()
        return {
            "data": {"train": places["data"]},
            "model": places["model"],
            "task": {"name": self.task, **self.options},
            "method": {"name": method, **SMALL.get(method, {})},
            "training": {"batch_size": 6, "learning_rate": 0.005, **training},
        }

    def __repr__(self) -> str:
        return f"{self.task}-{self.family}"


SMALL: dict[str, dict[str, Any]] = {
    "adapter": {"bottleneck": 4},
    "gradual": {"groups": 1},
    "last_blocks": {"count": 1},
    "mask": {"train": ["*.weight"]},
    "qlora": {"rank": 2},
    **{name: {"length": 3} for name in ("prompt", "prefix", "p_tuning")},
}
"""Options of methods that would be larger than the tiny models otherwise, or that have to be named."""

_TIED = dict.fromkeys(("head", "gradual", "lp_ft"), "is its table of token vectors")
_NO_BIASES = {"bitfit": "no biases"}
_NO_TOKENS = {"embeddings": "no tokens"}
_NO_ATTENTION = {
    "ia3": "neither keys and values",
    "p_tuning": "no block",
    "prefix": "no block",
    "prompt": "no row of tokens",
}
_PADS = dict.fromkeys(("adapter", "lora"), "looks into its convolutions")


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _files(folder: Path) -> list[str]:
    """Two files of a folder, or of that of a table."""
    root = folder if folder.is_dir() else folder.parent / "audio"
    return [str(path) for path in sorted(path for path in root.rglob("*.*") if path.suffix in (".wav", ".png"))[:2]]


def _sequences(family: str, refused: Mapping[str, str]) -> Ground:
    model = partial(texts.encoder_decoder, family=family)
    asked = ["1. after Friday", "12. before Sunday"]
    return Ground("seq2seq", family, texts.rewritten, model, lambda _: asked, {"samples": 2}, refused)


def _pictures(family: str, refused: Mapping[str, str]) -> Ground:
    data = partial(pictures.class_folders, rows=20)
    return Ground(
        "image_classification", family, data, partial(pictures.tiny_model, family=family), _files, refused=refused
    )


def _sounds(family: str, model: Maker, refused: Mapping[str, str]) -> Ground:
    return Ground(
        "audio_classification",
        family,
        sounds.tones_folder,
        model,
        _files,
        refused=_NO_TOKENS | {**refused},
        needs="soundfile",
    )


def _speech(family: str, model: Maker, refused: Mapping[str, str]) -> Ground:
    options = {"samples": 3, "new_tokens": 8}
    return Ground("speech_recognition", family, sounds.spoken_table, model, _files, options, refused, "soundfile")


GROUNDS = (
    Ground("text_classification", "bert", texts.reviews, texts.encoder, lambda _: ["the film was kind", "so dull"]),
    Ground(
        "token_classification",
        "bert",
        texts.tagged_lines,
        texts.encoder,
        lambda _: ["so very mean and dull", ["the", "kind", "day"]],
    ),
    Ground(
        "causal_lm",
        "llama",
        texts.prompts,
        texts.decoder,
        lambda _: ["1. after Friday:"],
        {"samples": 2, "new_tokens": 8},
        _NO_BIASES,
    ),
    _sequences("t5", _TIED | _NO_BIASES),
    _sequences("bart", _TIED),
    _pictures("vit", _NO_TOKENS),
    _pictures("resnet", _NO_TOKENS | _NO_ATTENTION | {"qlora": "no linear layer"}),
    _sounds("wav2vec2", sounds.wave_model, {}),
    _sounds("audio-spectrogram-transformer", sounds.spectrogram_model, {}),
    _sounds("mobilenet_v1", sounds.patch_model, _NO_ATTENTION | _PADS | {"qlora": "no linear layer"}),
    _speech("wav2vec2", sounds.wave_model, _NO_TOKENS),
    _speech("whisper", sounds.whisper_model, _TIED | {"prompt": "hears with one part and writes with another"}),
)
"""Of each task the first is where every method trains; the others are for some, and for the table of who is refused."""

KIN = (
    _sequences("marian", _TIED),
    _sequences("pegasus", _TIED),
    _sounds("hubert", partial(sounds.wave_model, family="hubert"), {}),
    _sounds("wavlm", partial(sounds.wave_model, family="wavlm"), {}),
    _speech("wav2vec2, unmasked", partial(sounds.wave_model, masked=False), _NO_TOKENS),
    _speech("hubert", partial(sounds.wave_model, family="hubert"), _NO_TOKENS),
    _speech("wavlm", partial(sounds.wave_model, family="wavlm"), _NO_TOKENS),
)
"""Families that are much like one of those, on which some methods are tried."""

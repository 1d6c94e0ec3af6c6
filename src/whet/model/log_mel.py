"""A wave as a picture of its frequencies over time, for image models that hear: as ``frontend.json`` beside them says.

Frames of a wave are windowed and transformed, their magnitudes gathered on the mel scale, and the logarithm is taken:
(frames, mel bins). The model reads patches of a fixed number of frames. Knows no task and no file of sound.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from whet.errors import ModelError

FRONTEND = "frontend.json"
"""File beside a model that says how its patches are made."""
_NUMBERS = ("sample_rate", "hop", "n_fft", "mel_bins", "mel_min_hz", "mel_max_hz", "patch_frames", "patch_hop_frames")
_FORMS = {
    "window": r"periodic Hann, (\d+) samples",
    "spectrum": r"(magnitude|power)\b.*",
    "log": r"ln\(mel \+ ([\d.e-]+)\)",
    "mel_scale": r"1127\*ln\(1\+f/700\)(.*)",
}
"""What is understood of the settings that are told in words."""


@dataclass(frozen=True)
class LogMel:
    """The front end of one model; to be called as a feature extractor of transformers is."""

    told: dict[str, Any]
    """The content of ``frontend.json``."""

    model_input_names = ("pixel_values",)

    @classmethod
    def open(cls, folder: Path) -> LogMel:
        """The front end of a model folder; raises ModelError naming what is not understood in it."""
        path = folder / FRONTEND
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read as JSON: {error}; fetch it with the model") from None
        wrong = [name for name in _NUMBERS if not isinstance(told.get(name), int | float) or told[name] <= 0]
        problems = [f"{path}: '{name}' is {told.get(name)!r}, not a number above 0" for name in wrong]
        problems += [
            f"{path}: '{name}' is {told.get(name)!r}; whet understands {form}"
            for name, form in _FORMS.items()
            if not re.fullmatch(form, str(told.get(name)))
        ]
        if problems:
            raise ModelError(*problems)
        return cls(told)

    @property
    def sampling_rate(self) -> int:
        """Samples of a second."""
        return int(self.told["sample_rate"])

    @property
    def patch(self) -> int:
        """Frames of a patch."""
        return int(self.told["patch_frames"])

    @property
    def bins(self) -> int:
        """Numbers of a frame."""
        return int(self.told["mel_bins"])

    @property
    def shortest(self) -> int:
        """Samples of a wave that fills a single patch."""
        return self._window + (self.patch - 1) * int(self.told["hop"])

    def __call__(self, wave: np.ndarray, sampling_rate: int | None = None) -> dict[str, list[np.ndarray]]:
        """(frames, bins) of a wave of at least ``shortest`` samples."""
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(f"the wave has {sampling_rate} samples a second, the model reads {self.sampling_rate}")
        frames = sliding_window_view(wave.astype(np.float32), self._window)[:: int(self.told["hop"])]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._window) / self._window)
        spectrum = np.abs(np.fft.rfft(frames * hann.astype(np.float32), int(self.told["n_fft"]), axis=1))
        if self._found("spectrum") == "power":
            spectrum = spectrum**2
        mel = spectrum.astype(np.float32) @ self._weights()
        return {"pixel_values": [np.log(mel + np.float32(self._found("log")))]}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the settings beside a model."""
        (Path(folder) / FRONTEND).write_text(json.dumps(self.told, indent=2) + "\n", encoding="utf-8")

    @property
    def _window(self) -> int:
        return int(self._found("window"))

    def _found(self, name: str) -> str:
        found = re.fullmatch(_FORMS[name], str(self.told[name]))
        assert found is not None
        return found[1]

    def _weights(self) -> np.ndarray:
        """(n_fft / 2 + 1, bins) triangles that are straight on the mel scale and 1 at their tops."""
        count = int(self.told["n_fft"]) // 2 + 1
        mels = _mel(np.linspace(0.0, self.sampling_rate / 2, count))[:, None]
        edges = np.linspace(_mel(self.told["mel_min_hz"]), _mel(self.told["mel_max_hz"]), self.bins + 2)
        low, top, high = edges[:-2], edges[1:-1], edges[2:]
        weights = np.maximum(0.0, np.minimum((mels - low) / (top - low), (high - mels) / (high - top)))
        weights[0] = 0.0
        single: np.ndarray = weights.astype(np.float32)
        return single


def _mel(hertz: float | np.ndarray) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

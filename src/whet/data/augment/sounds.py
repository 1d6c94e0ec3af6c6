"""Random changes of training sounds: of waves, and of the spectrograms that are made of them.

The changes are pure functions of an array and of its own random numbers; what comes out is new, of the same kind, and
finite. The waves of the training rows stay in memory, as new spectrograms are made of them in every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from whet.core import Batch, Examples, Rows
from whet.data.clips import Clips, Hearing, heard, limit
from whet.data.sound import Heard, resampled, waves
from whet.errors import RecipeError, SaveError
from whet.protocols import Draws

Draw = np.random.Generator
CHANGES = ("gain", "noise", "shift", "speed", "mask_time", "mask_bands")
"""Options of a recipe's section for sounds."""
TWICE = 2
"""Stretches of time, and bands, that are blanked out."""
NOISE_RANGE = 20.0
"""Decibels by which noise may be quieter than at its loudest."""
FILE, SHOWN, VIEWS, GAP = "augmented.wav", 3, 3, 0.3
"""What a few sounds are written to, how many, how often each, the first time unchanged, and seconds between."""
QUIETEST = 1e-5
"""Root of the mean square below which a wave counts as silence, to which no noise is added."""


def louder(wave: np.ndarray, draw: Draw, decibels: float) -> np.ndarray:
    """A wave (samples,) up to so many decibels louder or quieter; nothing goes beyond [-1, 1]."""
    factor = 10 ** (decibels * draw.uniform(-1, 1) / 20)
    peak = float(np.abs(wave).max(initial=0.0))
    return (wave * min(factor, max(1.0, 1 / peak) if peak else factor)).astype(np.float32)


def noisy(wave: np.ndarray, draw: Draw, least: float, most: float) -> np.ndarray:
    """A wave with white noise that is so many decibels quieter: between ``least`` and ``most``, 0 being as loud."""
    strength = math.sqrt(float(np.square(wave).mean())) if len(wave) else 0.0
    noise = draw.standard_normal(len(wave)).astype(np.float32)
    ratio = draw.uniform(least, most)
    return wave.copy() if strength < QUIETEST else (wave + strength * 10 ** (-ratio / 20) * noise).astype(np.float32)


def shifted(wave: np.ndarray, draw: Draw, share: float) -> np.ndarray:
    """A wave moved in time by up to a share of its length, to either side; silence fills what becomes free."""
    distance = round(share * len(wave) * draw.uniform(-1, 1))
    moved = np.zeros_like(wave)
    if distance >= 0:
        moved[distance:] = wave[: len(wave) - distance]
    else:
        moved[:distance] = wave[-distance:]
    return moved


def faster(wave: np.ndarray, draw: Draw, share: float, rate: int) -> np.ndarray:
    """A wave played up to a share faster or slower, and higher or lower with it (Ko et al. 2015, "Audio Augmentation
    for Speech Recognition")."""
    pace = 1 + share * draw.uniform(-1, 1)
    return resampled(wave, round(rate * pace), rate)


def masked(frames: np.ndarray, draw: Draw, *, times: int, widest: float, bands: int, highest: float) -> np.ndarray:
    """A spectrogram (frames, bins) in which some stretches of time and some bands of frequencies have its mean value.

    ``times`` stretches of up to a share ``widest`` of its frames each, ``bands`` of up to a share ``highest`` of its
    bins. Park et al. 2019, "SpecAugment" (arXiv 1904.08779).
    """
    changed, mean = frames.copy(), frames.mean(dtype=np.float64)
    for axis, count, share in ((0, times, widest), (1, bands, highest)):
        size = frames.shape[axis]
        for _ in range(count):
            width = int(draw.integers(int(share * size) + 1))
            start = int(draw.integers(size - width + 1))
            span = slice(start, start + width)
            changed[span if axis == 0 else (slice(None), span)] = mean
    return changed


@dataclass(frozen=True)
class SoundAugmentation:
    """Random changes of training sounds; the options are those of a recipe's section ``augment``."""

    options: Mapping[str, Any]
    sounds: list[Heard]
    """(N,) the training sounds."""
    hearing: Hearing
    seconds: float
    covered: float | None
    join: Callable[[Clips, Examples, np.ndarray], Batch]
    """Makes a batch of changed clips, which are the rows of these numbers."""
    fits: Callable[[Examples, int, int], bool] = lambda *_: True
    """Whether a row may have so many steps; else it stays as it is."""

    def collate(self, examples: Examples, indices: np.ndarray, draws: Draws) -> Batch:
        """The rows at ``indices``, changed."""
        changed = [self._wave(self.sounds[int(row)], draw) for row, draw in zip(indices, draws, strict=True)]
        for number, row in enumerate(indices):
            samples = max(self.hearing.shortest, len(changed[number].wave))
            if not self.fits(examples, int(row), self.hearing.steps(samples)):
                changed[number] = self.sounds[int(row)]
        masked_with = partial(self._read, draws)
        return self.join(heard(changed, self.hearing, self.seconds, self.covered, masked_with), examples, indices)

    def illustrate(self, examples: Examples, draws: Callable[[int, np.ndarray], Draws], folder: Path) -> str:
        """A file with a few training sounds, as they are and as they will be in the first epochs."""
        import soundfile  # noqa: PLC0415

        rows = np.unique(np.linspace(0, len(examples) - 1, SHOWN).astype(np.int64))
        pieces = []
        for row in rows:
            views = [self.sounds[int(row)]]
            views += [self._wave(views[0], draws(epoch, np.array([row]))[0]) for epoch in range(VIEWS - 1)]
            pieces += [part for view in views for part in (view.wave, np.zeros(int(GAP * view.rate), np.float32))]
        path = folder / FILE
        try:
            soundfile.write(path, np.concatenate(pieces), self.hearing.rate)
        except (OSError, soundfile.LibsndfileError) as error:
            raise SaveError(f"{path} could not be written: {error}") from None
        return f"training sounds as the model will hear them, each unchanged first: {path}"

    def _wave(self, sound: Heard, draw: Draw) -> Heard:
        told, wave = self.options, sound.wave
        if told.get("speed"):
            wave = faster(wave, draw, told["speed"], sound.rate)
        if told.get("shift"):
            wave = shifted(wave, draw, told["shift"])
        if told.get("noise") is not None:
            wave = noisy(wave, draw, told["noise"], told["noise"] + NOISE_RANGE)
        if told.get("gain"):
            wave = louder(wave, draw, told["gain"])
        return replace(sound, wave=wave)

    def _read(self, draws: Draws, number: int, read: np.ndarray) -> np.ndarray:
        """What the model reads of a clip, with blanks; the last frame stands for the silence behind it and stays."""
        widest, highest = self.options.get("mask_time", 0.0), self.options.get("mask_bands", 0.0)
        if not (widest or highest) or len(read) < 2:
            return read
        times, bands = TWICE if widest else 0, TWICE if highest else 0
        table = read[:-1].reshape(len(read) - 1, -1)
        blanked = masked(table, draws[number], times=times, widest=widest, bands=bands, highest=highest)
        return np.concatenate([blanked.reshape(read[:-1].shape), read[-1:]])


def sound_augmentation(
    options: Mapping[str, Any],
    rows: Rows,
    column: str,
    hearing: Hearing,
    seconds: float,
    covered: float | None,
    join: Callable[[Clips, Examples, np.ndarray], Batch],
    fits: Callable[[Examples, int, int], bool] = lambda *_: True,
) -> SoundAugmentation:
    """Changes of the sounds of these rows; raises RecipeError for those that cannot be."""
    if options.get("mask_bands") and hearing.reading in ("wave", "masked_wave"):
        raise RecipeError("augment.mask_bands: this model reads waves, which have no bands; leave it out")
    sounds = list(waves(rows, column, hearing.rate, limit(hearing, seconds)))
    return SoundAugmentation(options, sounds, hearing, seconds, covered, join, fits)

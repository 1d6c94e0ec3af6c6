"""Random changes of sounds: of waves, and of the spectrograms that are made of them. Pure functions of an array and of
its own random numbers; what comes out is new, of the same kind, and finite.

Knows no model and no task.
"""

from __future__ import annotations

import math

import numpy as np

from whet.data.sound import resampled

Draw = np.random.Generator
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

"""Clips as a model reads them: kept without padding, put into batches in the shape that the model wants.

Waves are padded with zeros, with a mask where the model reads one; a model that does not gets all clips in one and the
same length, so that no answer depends on the clips beside it. Spectrograms repeat their last frame, which is that of
the silence behind a clip. A clip of an image model is a fixed number of patches, spread evenly over it, which stand in
the batch one after the other; one shorter than a patch has silence on both sides. Knows no task and no labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from whet.core import Choice, Examples, Ragged, Rows
from whet.data.sound import Heard, durations, padded, waves
from whet.errors import DataError

LONGEST = 30.0
"""Seconds that are read of a clip at most unless the recipe says otherwise."""
ROOM = 1.25
"""How many times the longest training clip a clip may be."""
OVERLAP = 2
"""In how many patches each moment of a clip of the usual length stands."""
FEWEST = 3
"""Patches of a clip at least: a network that halves its picture five times answers otherwise a few frames later, and
the mean over several places hardly does. A short clip stands at the end, in the middle and at the beginning of them."""
USUAL = 0.9
"""Share of the clips that are at most as long as usual."""
FRAMES_PER_STEP = 2
"""Frames of a spectrogram that are as much work as a step of a model that reads waves, of 20 ms mostly."""


class Hearing(Protocol):
    """What turns waves into the input of a model."""

    @property
    def rate(self) -> int:
        """Samples of a second."""
        ...

    @property
    def argument(self) -> str:
        """The model's name for its input."""
        ...

    @property
    def reading(self) -> str:
        """What the model reads."""
        ...

    @property
    def shortest(self) -> int:
        """Samples of the shortest wave that it can read."""
        ...

    @property
    def longest(self) -> float | None:
        """Seconds that it reads at most."""
        ...

    @property
    def frames(self) -> int:
        """Frames of a spectrogram, or of a patch of it."""
        ...

    def steps(self, samples: int) -> int:
        """Vectors that the model makes of so many samples."""
        ...

    def features(self, wave: np.ndarray) -> np.ndarray:
        """(samples,) or (frames, bins)."""
        ...


@dataclass(frozen=True)
class Shape:
    """How clips stand in a batch."""

    argument: str
    reading: str
    width: int
    """Samples or frames of every clip, or frames of every patch; 0 where a batch is as wide as its longest clip."""
    bins: int = 1
    patches: int = 1


@dataclass(frozen=True, kw_only=True)
class Clips(Examples):
    """N clips."""

    shape: Shape
    filled: int = 0
    """Clips that were shorter than the model needs, and are filled up with silence."""
    seconds: np.ndarray
    """(N,) how long each is, before it was cut."""


def seconds_for(rows: Rows, column: str) -> tuple[float, str]:
    """How many seconds to read of a clip, and why: a quarter more than the longest training clip has."""
    longest = float(durations(rows, column).max())
    if longest * ROOM >= LONGEST:
        return LONGEST, f"the longest clip has {longest:.1f} s"
    return math.ceil(longest * ROOM * 10) / 10, f"a quarter more than the {longest:.1f} s of the longest clip"


def usual_seconds(rows: Rows, column: str) -> float:
    """How many seconds nine of ten clips have at most."""
    usual = float(np.quantile(durations(rows, column), USUAL))
    return math.ceil(min(usual, LONGEST) * 10) / 10


def limit(hearing: Hearing, wanted: float) -> float:
    """Seconds that are read of a clip: what is wanted, where the model reads as much."""
    return wanted if hearing.longest is None else min(wanted, hearing.longest)


def read(rows: Rows, column: str, hearing: Hearing, wanted: float, covered: float | None = None) -> Clips:
    """N clips of a column, their targets to be filled in; raises DataError naming those that cannot be decoded.

    Patches cover so many seconds of each together.
    """
    seconds = limit(hearing, wanted)
    return heard(waves(rows, column, hearing.rate, seconds), hearing, wanted, covered)


def heard(
    found: Iterable[Heard],
    hearing: Hearing,
    wanted: float,
    covered: float | None = None,
    change: Callable[[int, np.ndarray], np.ndarray] | None = None,
) -> Clips:
    """Clips of waves that are read already; ``change`` takes the number of a clip and what the model would read."""
    seconds = limit(hearing, wanted)
    features: list[np.ndarray] = []
    filled = cut = 0
    lengths: list[float] = []
    for number, one in enumerate(found):
        wave = one.wave[: max(hearing.shortest, int(seconds * hearing.rate))]
        filled += len(wave) < hearing.shortest
        # Resampling rounds.
        cut += one.seconds > seconds + 0.01
        lengths.append(one.seconds)
        read_of_it = _trimmed(hearing.features(_filled(wave, hearing)), hearing)
        features.append(read_of_it if change is None else change(number, read_of_it))
    shape = _shape(hearing, features, seconds, covered or seconds)
    kept = _ragged(features)
    return Clips(
        inputs={shape.argument: kept},
        targets=None,
        lengths=_work(kept, shape, hearing),
        fills={shape.argument: 0},
        truncated=cut,
        reading=str(shape),
        shape=shape,
        filled=filled,
        seconds=np.array(lengths, dtype=np.float64),
    )


def batch_of(clips: Examples, indices: np.ndarray) -> dict[str, Tensor]:
    """The clips at ``indices`` as the model reads them, and the mask over their padding where it reads one."""
    assert isinstance(clips, Clips)
    shape = clips.shape
    kept = clips.inputs[shape.argument]
    if shape.reading in ("wave", "masked_wave"):
        values = _waves(kept, indices, shape.width)
        inputs = {shape.argument: torch.from_numpy(values)}
        if shape.reading == "masked_wave":
            lengths = kept.starts[indices + 1] - kept.starts[indices]
            real = np.arange(values.shape[1]) < lengths[:, None]
            inputs["attention_mask"] = torch.from_numpy(real.astype(np.int64))
        return inputs
    clip = [kept[int(i)].reshape(-1, shape.bins) for i in indices]
    if shape.reading == "patches":
        made = np.stack([patch for one in clip for patch in _patches(one, shape.width, shape.patches)])
        return {shape.argument: torch.from_numpy(made[:, None])}
    made = np.stack([one[np.minimum(np.arange(shape.width), len(one) - 1)] for one in clip])
    whole = torch.from_numpy(made)
    return {shape.argument: whole.transpose(1, 2).contiguous() if shape.reading == "bins_by_frames" else whole}


def refuse_long(rows: Rows, clips: Clips, wanted: float) -> None:
    """Raise DataError where clips were cut whose end matters."""
    if clips.truncated:
        raise DataError(
            f"{rows.source}: {clips.truncated:,} clips are longer than the {wanted:g} s that are read, up to "
            f"{clips.seconds.max():.1f} s, and what is said at their end would be learned without its sound; cut them "
            "into pieces with a transcript each, or set task.max_seconds to more where the model can read it"
        )


def _shape(hearing: Hearing, features: Sequence[np.ndarray], seconds: float, covered: float) -> Shape:
    if hearing.reading == "masked_wave":
        return Shape(hearing.argument, hearing.reading, 0)
    if hearing.reading == "wave":
        return Shape(hearing.argument, hearing.reading, max(hearing.shortest, int(seconds * hearing.rate)))
    bins = features[0].shape[1] if features else 1
    if hearing.reading != "patches":
        return Shape(hearing.argument, hearing.reading, hearing.frames, bins)
    patch = hearing.shortest / hearing.rate
    return Shape(
        hearing.argument, hearing.reading, hearing.frames, bins, max(FEWEST, math.ceil(OVERLAP * covered / patch) - 1)
    )


def _filled(wave: np.ndarray, hearing: Hearing) -> np.ndarray:
    """A wave with silence behind it, where it is too short; before it too, where patches are read.

    Patches that are spread over that have the clip at their end, in their middle and at their beginning.
    """
    lacking = hearing.shortest - len(wave)
    return np.pad(wave, lacking) if hearing.reading == "patches" and lacking > 0 else padded(wave, hearing.shortest)


def _work(kept: Ragged, shape: Shape, hearing: Hearing) -> np.ndarray:
    """(N,) steps that the model takes for each clip."""
    if shape.reading == "masked_wave":
        return np.array([hearing.steps(int(samples)) for samples in kept.lengths], dtype=np.int64)
    steps = hearing.steps(shape.width) if shape.reading == "wave" else math.ceil(shape.width / FRAMES_PER_STEP)
    return np.full(len(kept), steps * shape.patches, dtype=np.int64)


def _trimmed(features: np.ndarray, hearing: Hearing) -> np.ndarray:
    """A spectrogram without all but one of the equal frames at its end, which stand for silence."""
    if features.ndim == 1 or hearing.reading == "patches":
        return features
    other = np.flatnonzero((features != features[-1]).any(axis=1))
    return features[: int(other[-1]) + 2] if len(other) else features[:1]


def _ragged(features: Sequence[np.ndarray]) -> Ragged:
    starts = np.concatenate([[0], np.cumsum([one.size for one in features], dtype=np.int64)]).astype(np.int64)
    values = np.empty(int(starts[-1]), dtype=np.float32)
    for one, start in zip(features, starts, strict=False):
        values[start : start + one.size] = one.ravel()
    return Ragged(values, starts)


def _waves(kept: Ragged, indices: np.ndarray, width: int) -> np.ndarray:
    """(B, samples) float32, zeros behind each wave."""
    starts, ends = kept.starts[indices], kept.starts[indices + 1]
    values = np.zeros((len(indices), width or int((ends - starts).max())), dtype=np.float32)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        values[row, : end - start] = kept.values[start:end]
    return values


def _patches(frames: np.ndarray, width: int, count: int) -> list[np.ndarray]:
    """So many patches of a spectrogram, spread evenly from its beginning to its end."""
    starts = np.linspace(0, len(frames) - width, count).round().astype(int)
    return [frames[start : start + width] for start in starts]


def told(examples: Mapping[str, Examples]) -> list[Choice]:
    """What happened to the clips of all splits."""
    clips = [part for part in examples.values() if isinstance(part, Clips)]
    total = sum(len(part) for part in clips)
    choices = []
    if cut := sum(part.truncated for part in clips):
        longest = max(float(part.seconds.max(initial=0.0)) for part in clips)
        reason = f"{cut} of {total} clips lose their end, the longest has {longest:.1f} s"
        choices.append(Choice("task.max_seconds", f"{cut} clips cut", "inferred", reason))
    if filled := sum(part.filled for part in clips):
        reason = f"{filled} of {total} clips are shorter than the model reads at a time, and are filled up with silence"
        choices.append(Choice("task.clips", f"{filled} filled up", "inferred", reason))
    return choices

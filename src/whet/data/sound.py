"""Files of sound become waves: decoded, one channel, at the model's rate. What cannot be heard is told with its row.

Knows no model and no task. soundfile and soxr are an extra, so they are imported where they are used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from whet.core import Rows
from whet.data.media import content_of, near, path_of, shown
from whet.data.problems import at, first_few
from whet.errors import DataError

PACKAGES = ("soundfile", "soxr")
SILENCE = 1e-4
"""Distance of the highest and the lowest sample, of 2, below which nothing is heard: three steps of 16 bits."""
SLACK = 0.05
"""Share of a clip that may lack at its end: headers of compressed files round."""
_UNKNOWN = 0xFFFFFF00
"""Sizes from here on stand in headers of WAV files that were written without knowing their end."""
_BLOCK = 2**20
"""Samples that are decoded at a time."""
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Heard:
    """A clip, in mono."""

    wave: np.ndarray
    """(samples,) float32 in [-1, 1]."""
    rate: int
    seconds: float
    """Of the whole clip, of which ``wave`` may be the beginning."""
    spread: float
    """Distance of the highest and the lowest sample."""
    digest: str
    """Of all samples that were decoded."""


class _UnheardError(Exception):
    """Says what is wrong with one clip."""


def require() -> None:
    """Raise DataError where the packages that read sound are absent."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise DataError(
            f'sound is read with {" and ".join(absent)}, not installed here; run: pip install "whet[audio]"'
        )


def examine(rows: Rows, column: str) -> tuple[list[str], dict[int, str]]:
    """(N,) a digest of what each file holds, and why those that cannot be heard cannot, by row."""
    require()

    def look(cell: object) -> tuple[str, str]:
        try:
            heard = _hear(rows, cell, None, keep=False)
        except _UnheardError as error:
            return "", f"{shown(cell)} {error}"
        return heard.digest, f"{shown(cell)} is silent" if heard.spread < SILENCE else ""

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(look, rows.columns[column]))
    return [digest for digest, _ in found], {row: why for row, (_, why) in enumerate(found) if why}


def durations(rows: Rows, column: str) -> np.ndarray:
    """(N,) seconds of each clip, by the headers of the files."""
    import soundfile  # noqa: PLC0415

    def look(cell: object) -> float:
        with soundfile.SoundFile(_opened(rows, cell)) as file:
            return float(file.frames / file.samplerate)

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.array(list(pool.map(look, rows.columns[column])), dtype=np.float64)


def waves(rows: Rows, column: str, rate: int, longest: float | None) -> Iterator[Heard]:
    """The clips of N rows in order, at most ``longest`` seconds of each, resampled to ``rate``.

    Raises DataError naming the rows that cannot be decoded; those that are silent are heard.
    """
    require()

    def hear(cell: object) -> Heard | str:
        try:
            heard = _hear(rows, cell, longest)
        except _UnheardError as error:
            return f"{shown(cell)} {error}"
        return replace(heard, wave=resampled(heard.wave, heard.rate, rate), rate=rate)

    wrong: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for place, heard in zip(rows.places, pool.map(hear, rows.columns[column]), strict=True):
            if isinstance(heard, str):
                wrong.append(f"{heard} ({at(rows.source, [place])})")
            elif not wrong:
                yield heard
    if wrong:
        raise DataError(
            f"{rows.source}: {len(wrong):,} of {len(rows):,} sounds cannot be read: {first_few(wrong, '; ')}"
        )


def resampled(wave: np.ndarray, before: int, after: int) -> np.ndarray:
    """A wave at another rate, float32."""
    import soxr  # noqa: PLC0415

    if before == after:
        return wave
    changed: np.ndarray = soxr.resample(wave, before, after).astype(np.float32)
    return changed


# --- one clip ---------------------------------------------------------------------------------------------------


def _opened(rows: Rows, cell: object) -> BinaryIO | str:
    held = content_of(cell)
    if isinstance(held, bytes):
        return io.BytesIO(held)
    path = path_of(rows, str(held))
    if not path.is_file():
        raise _UnheardError(f"is not there{near(path)}; looked for {path}")
    if not path.stat().st_size:
        raise _UnheardError("is empty (0 bytes)")
    return str(path)


def _hear(rows: Rows, cell: object, longest: float | None, *, keep: bool = True) -> Heard:
    """A clip, or its beginning, with its wave where that is to be kept; raises _UnheardError."""
    import soundfile  # noqa: PLC0415

    opened = _opened(rows, cell)
    lacking = _lacking_of_wav(opened)
    blocks: list[np.ndarray] = []
    digest = hashlib.blake2b(digest_size=16)
    count, low, high = 0, math.inf, -math.inf
    try:
        with soundfile.SoundFile(opened) as file:
            rate, promised = file.samplerate, file.frames
            wanted = promised if longest is None else min(promised, math.ceil(longest * rate))
            # Block by block: a podcast of hours takes gigabytes.
            while len(block := file.read(min(_BLOCK, wanted - count), dtype="float32", always_2d=True)):
                mono = block.mean(axis=1, dtype=np.float32)
                count, low, high = count + len(mono), min(low, float(mono.min())), max(high, float(mono.max()))
                if not np.isfinite(mono).all():
                    raise _UnheardError("holds numbers that are not finite")
                digest.update(mono.data)
                if keep:
                    blocks.append(mono)
    except soundfile.LibsndfileError as error:
        raise _UnheardError(f"cannot be decoded: {str(error.error_string).rstrip('.')}") from None
    if lacking or count < (1 - SLACK) * wanted:
        there = count / rate
        whole = there + (lacking or (wanted - count) / rate)
        raise _UnheardError(f"is cut short: {there:.2f} of {whole:.2f} s are there")
    if not count:
        raise _UnheardError("holds no samples")
    wave = np.concatenate(blocks) if keep else np.empty(0, np.float32)
    return Heard(wave, rate, promised / rate, high - low, digest.hexdigest())


def _lacking_of_wav(opened: BinaryIO | str) -> float:
    """Seconds that the header of a WAV file promises and the file does not hold; libsndfile does not tell."""
    if isinstance(opened, str):
        with Path(opened).open("rb") as file:
            return _lacking(file)
    lacking = _lacking(opened)
    opened.seek(0)
    return lacking


def _lacking(file: BinaryIO) -> float:
    if file.read(4) != b"RIFF":
        return 0.0
    size = file.seek(0, os.SEEK_END)
    position, per_second = 12, 0
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"fmt " and length >= 12:
            per_second = struct.unpack("<8xI", file.read(12))[0]
        if kind == b"data":
            missing = length - (size - position - 8)
            return missing / per_second if missing > 0 and length < _UNKNOWN and per_second else 0.0
        position += 8 + length + length % 2
    return 0.0


def parts(heard: Heard, longest: float) -> list[Heard]:
    """A long clip in pieces of at most ``longest`` seconds, cut where it is quietest near their ends."""
    most, rate, wave = int(longest * heard.rate), heard.rate, heard.wave
    pieces: list[np.ndarray] = []
    while len(wave) > most:
        span = max(1, rate // 10)
        first = max(0, most - max(span, most // 3))
        energy = np.convolve(np.square(wave[first:most]), np.ones(span, np.float32), mode="valid")
        cut = max(1, first + int(energy.argmin()) + span // 2)
        pieces.append(wave[:cut])
        wave = wave[cut:]
    return [replace(heard, wave=piece, seconds=len(piece) / rate) for piece in (*pieces, wave) if len(piece)]


def padded(wave: np.ndarray, samples: int) -> np.ndarray:
    """A wave with silence behind it, of at least so many samples."""
    return np.pad(wave, (0, max(0, samples - len(wave))))

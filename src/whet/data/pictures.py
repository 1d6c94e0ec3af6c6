"""Pictures: files of any kind become pixels of one size, decoded once and kept in a byte a number.

What a picture looks like is what counts: it is turned as its camera says, and what is transparent is white. Knows no
task; the sizes and the scale of the numbers are the model's own, asked of its image processor.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from whet.core import Examples, Processor, Ragged, Rows
from whet.data.media import content_of, path_of
from whet.data.media import near as near_path
from whet.errors import DataError, ModelError

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as missing:
    raise DataError(
        'pictures are read with Pillow, which is not installed; run: pip install "whet[vision]"'
    ) from missing

PIXELS = "pixel_values"
"""The model's argument."""

WORK = 256
"""Pixels that count as a token: a patch of 16 by 16. Without gradients more pictures at once are no faster on a CPU
(20 of 224 pixels beside 5, MobileNetV2 and ResNet-50), and take two to four times the memory."""

MOST_PIXELS = 178_956_970
"""More than this is a file that was made to fill the memory, or no file to train on."""

ROOM = 0.25
"""Largest share of the free memory that pictures take; more of them are kept in a file that the system deletes."""

REDUCED = 512
"""Pixels a side from which a picture is looked at in a smaller size when it is only checked."""

_EXACT = 1e-3
_CHECKED = 64
"""Pixels a side of the plain pictures by which a processor's scale is found."""
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError, OverflowError),
    *(RuntimeError, NotImplementedError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""How Pillow may answer to a damaged file."""


@dataclass(frozen=True)
class Form:
    """How the stored bytes of a picture become the model's input: ``byte * scale + offset``, channel by channel."""

    height: int
    width: int
    scale: tuple[float, ...]
    """One for each channel C: 3, or 1 for models of grey pictures."""
    offset: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a stored picture: (H, W, C)."""
        return self.height, self.width, len(self.scale)


@dataclass(frozen=True, kw_only=True)
class Pictures(Examples):
    """N pictures (H, W, C) of one size, in bytes."""

    form: Form

    def pixels(self, rows: np.ndarray) -> Tensor:
        """(B, C, H, W) bytes, in memory as (B, H, W, C): convolutions are up to twice as fast like this."""
        stored = self.inputs[PIXELS].values.reshape(-1, *self.form.shape)
        return torch.from_numpy(stored[rows]).permute(0, 3, 1, 2)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) numbers from 0 to 255 as the model reads them."""
        # Row by row: an operation over three channels at a time would not be vectorised.
        lines = (
            pixels.permute(0, 2, 3, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True).flatten(2)
        )
        scale, offset = (torch.tensor(one).repeat(self.form.width) for one in (self.form.scale, self.form.offset))
        return lines.mul_(scale).add_(offset).view(-1, *self.form.shape).permute(0, 3, 1, 2)


# --- files --------------------------------------------------------------------------------------------------------


def examine(rows: Rows, column: str) -> tuple[list[str], dict[int, str]]:
    """(N,) a digest of what each picture shows, and why those that cannot be read cannot, by row.

    Every file is decoded, large ones in a smaller size where their format allows it.
    """
    digests, broken = [], {}
    for i, cell in enumerate(rows.columns[column]):
        digest = ""
        if content_of(cell) is not None:
            try:
                picture = _decoded(rows, cell, reduced=True)
                digest = hashlib.blake2b(
                    f"{picture.size} {picture.mode} ".encode() + picture.tobytes(), digest_size=16
                ).hexdigest()
            except DataError as error:
                broken[i] = str(error)
        digests.append(digest)
    return digests, broken


def opened(rows: Rows, cell: object, channels: int) -> Image.Image:
    """The picture of a cell, upright, in red, green and blue or in grey; raises DataError that names it."""
    picture = _decoded(rows, cell)
    try:
        return _flat(ImageOps.exif_transpose(picture), "L" if channels == 1 else "RGB")
    except _DAMAGE as error:
        raise DataError(f"{_called(cell)} {_reason(error)}") from error


def _decoded(rows: Rows, cell: object, *, reduced: bool = False) -> Image.Image:
    held, name = content_of(cell), _called(cell)
    if isinstance(held, str):
        path = path_of(rows, held)
        try:
            held = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{name} is not there{near_path(path)}") from None
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}") from error
    if not held:
        raise DataError(f"{name} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that it does not refuse yet, and of tags that nobody reads.
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(held))
            if picture.width * picture.height > MOST_PIXELS:
                raise DataError(f"{name} unpacks to {picture.width:,} x {picture.height:,} pixels, which is refused")
            if reduced and min(picture.size) >= REDUCED:
                picture.draft(None, (picture.width // 8, picture.height // 8))
            picture.load()
            return picture
    except UnidentifiedImageError:
        raise DataError(f"{name} is no picture ({len(held):,} bytes)") from None
    except _DAMAGE as error:
        raise DataError(f"{name} {_reason(error)}") from error


def _called(cell: object) -> str:
    held = content_of(cell)
    name = cell.get("path") if isinstance(cell, dict) else held
    return name if isinstance(name, str) else "a picture in bytes"


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "unpacks to more pixels than are read"
    words = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"is damaged ({words})"


def _flat(picture: Image.Image, mode: str) -> Image.Image:
    """A picture of any mode in 8 bits a channel, on white where it is transparent."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        picture = _eight_bits(picture)
    if picture.mode == "P" and "transparency" not in picture.info:
        picture = picture.convert("RGB")
    elif picture.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    return picture if picture.mode == mode else picture.convert(mode)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey in 16 or 32 bits, in 8 bits: white is 65,535, or 255 or 1.0 where nothing is brighter."""
    numbers = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(numbers).all() or numbers.min(initial=0) < 0 or numbers.max(initial=0) > 65535:
        raise ValueError("its numbers are not between 0 and 65,535, so nobody can tell what is white")
    sixteen = picture.mode.startswith("I;16")
    brightest = numbers.max(initial=0)
    white = 65535 if sixteen or brightest > 255 else 1 if picture.mode == "F" and brightest <= 1 else 255
    return Image.fromarray(np.round(numbers * (255 / white)).astype(np.uint8))


# --- pixels ---------------------------------------------------------------------------------------------------------


def read_pictures(rows: Rows, column: str, processor: Processor, targets: np.ndarray | None) -> Pictures:
    """All pictures of a column, resized and cut as the model's processor does.

    One at a time: no more than one is in memory in its own size. Raises DataError that names those that cannot be
    read, ModelError where the processor leaves them in different sizes, or does what bytes cannot hold.
    """
    channels = channels_of(processor)
    cells, stored, form = rows.columns[column], np.empty((0, 0), np.uint8), None
    for i, cell in enumerate(cells):
        picture = opened(rows, cell, channels)
        pixels = _resized(picture, processor)
        if form is None:
            form = _form(picture, pixels, processor, channels)
            stored = _space(len(cells), pixels.size)
        if pixels.shape != form.shape:
            height, width = pixels.shape[:2]
            raise ModelError(
                f"the model's preprocessor leaves pictures in different sizes ({form.height} x {form.width} and "
                f"{height} x {width}), which cannot stand in one batch; choose one with --set task.size=224"
            )
        stored[i] = pixels.ravel()
    form = form or Form(1, 1, (1.0,) * channels, (0.0,) * channels)
    size = stored.shape[1]
    inputs = {PIXELS: Ragged(stored.reshape(-1), np.arange(len(cells) + 1, dtype=np.int64) * size)}
    work = np.full(len(cells), max(1, round(form.height * form.width / WORK)), dtype=np.int64)
    return Pictures(inputs, targets, work, {}, reading=repr(form), form=form)


def channels_of(processor: Processor) -> int:
    """Channels that a model reads: 1 where its processor has a single mean, else 3."""
    mean = processor.to_dict().get("image_mean")
    return 1 if isinstance(mean, list | tuple) and len(mean) == 1 else 3


def _resized(picture: Image.Image, processor: Processor) -> np.ndarray:
    """(H, W, C) bytes."""
    made = processor(images=picture, do_rescale=False, do_normalize=False, return_tensors="np")[PIXELS][0]
    pixels = np.moveaxis(np.asarray(made), 0, -1)
    return pixels if pixels.dtype == np.uint8 else np.round(pixels).clip(0, 255).astype(np.uint8)


def _form(picture: Image.Image, pixels: np.ndarray, processor: Processor, channels: int) -> Form:
    """Size and scale; the scale is what the processor makes of black and of white."""
    ends = []
    for level in (0, 255):
        plain = Image.new(picture.mode, (_CHECKED, _CHECKED), (level,) * channels if channels > 1 else level)
        made = processor(images=plain, return_tensors="np")[PIXELS][0]
        ends.append(made[:, made.shape[1] // 2, made.shape[2] // 2].astype(np.float64))
    scale, offset = (ends[1] - ends[0]) / 255, ends[0]
    expected = np.moveaxis(np.asarray(processor(images=picture, return_tensors="np")[PIXELS][0]), 0, -1)
    if expected.shape != pixels.shape or np.abs(pixels * scale + offset - expected).max() > _EXACT * 255 * scale.max():
        raise ModelError("the model's preprocessor does more than resize, cut and scale pictures; choose another model")
    return Form(pixels.shape[0], pixels.shape[1], tuple(scale.tolist()), tuple(offset.tolist()))


def _space(count: int, size: int) -> np.ndarray:
    """(count, size) bytes: in memory, or in a file of no name where they would take too much of it."""
    if count * size <= psutil.virtual_memory().available * ROOM:
        return np.empty((count, size), np.uint8)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=(count, size))


def sheet(pictures: list[np.ndarray], columns: int, path: Path) -> None:
    """Pictures (H, W, C) in bytes side by side in one file, row by row."""
    height, width = pictures[0].shape[:2]
    gap = 4
    whole = Image.new(
        "RGB", (columns * (width + gap) + gap, -(-len(pictures) // columns) * (height + gap) + gap), "white"
    )
    for i, pixels in enumerate(pictures):
        row, column = divmod(i, columns)
        one = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        whole.paste(one, (gap + column * (width + gap), gap + row * (height + gap)))
    whole.save(path)

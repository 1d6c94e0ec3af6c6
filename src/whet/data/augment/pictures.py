"""Random changes of training pictures, batch by batch: the geometry in one resampling, then colours, holes and mixes.

What happens to a picture is drawn from its own random numbers; what it is mixed with is any training picture, drawn
there too. So the rows beside it in a batch do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whet.core import Batch, Examples
from whet.data.pictures import PIXELS, Pictures, sheet
from whet.errors import SaveError
from whet.protocols import Draws

SHEET = "augmented.png"
SHOWN, VIEWS = 6, 6
"""Pictures on the sheet, and how often each stands there, unchanged the first time."""

HOLES, LONGEST_HOLE = (0.02, 1 / 3), 3.3
"""Share of the area that is erased, and how many times longer than wide, or wider than long, that is; the paper's."""
LONGEST_CUT = 4 / 3
"""The same for what is cut out, beside the shape of the picture."""
GREY = (0.299, 0.587, 0.114)
"""How bright red, green and blue look (ITU-R BT.601)."""

Box = tuple[int, int, int, int]
"""Top, bottom, left and right."""


@dataclass(frozen=True)
class _Change:
    """What happens to one picture."""

    mirrored: bool
    warp: np.ndarray | None
    """(2, 3) where each place of the new picture lies in the old one, both from -1 to 1."""
    colours: tuple[float, float, float] | None
    """Factors on brightness, contrast and saturation."""
    hole: tuple[Box, np.ndarray] | None
    """A rectangle, and the noise (C, h, w) that fills it."""


@dataclass(frozen=True)
class _Mix:
    """With what a picture is mixed."""

    partner: int
    """A training row."""
    change: _Change
    """What happens to that one before."""
    share: float
    """What stays of the first picture and of its label."""
    box: Box | None
    """The piece that the partner fills; None blends all of the two."""


@dataclass(frozen=True, kw_only=True)
class PictureAugmentation:
    """Random changes of training pictures; the options are those of a recipe's section ``augment``."""

    flip: float = 0.0
    rotate: float = 0.0
    crop: Sequence[float] | None = None
    colour: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    classes: int | None
    """C where targets are class numbers, which become shares when rows are mixed."""
    weight_of: Callable[[Tensor], float]
    """What the targets of a batch count for in a mean."""

    def collate(self, examples: Examples, indices: np.ndarray, draws: Draws) -> Batch:
        """(B, C, H, W) pixels of the rows at ``indices``, changed, and their targets."""
        assert isinstance(examples, Pictures)
        assert isinstance(examples.targets, np.ndarray)
        changes = [self._change(draw, examples) for draw in draws]
        pixels = _changed(examples.pixels(indices), changes)
        targets = torch.from_numpy(examples.targets[indices])
        if self.mixup or self.cutmix:
            mixes = [self._mix(draw, examples) for draw in draws]
            partners = np.array([mix.partner for mix in mixes])
            others = _changed(examples.pixels(partners), [mix.change for mix in mixes])
            pixels = _mixed(pixels, others, mixes)
            shares = torch.tensor([mix.share for mix in mixes])
            targets = self._shared(targets, torch.from_numpy(examples.targets[partners]), shares)
        weight = self.weight_of(targets)
        return Batch({PIXELS: examples.normalised(pixels)}, targets, weight, len(indices), 0)

    def illustrate(self, examples: Examples, draws: Callable[[int, np.ndarray], Draws], folder: Path) -> str:
        """A sheet with a few training pictures, as they are and as they will be in the first epochs."""
        assert isinstance(examples, Pictures)
        rows = np.unique(np.linspace(0, len(examples) - 1, SHOWN).astype(np.int64))
        scale, offset = (torch.tensor(one).view(1, -1, 1, 1) for one in (examples.form.scale, examples.form.offset))
        views = [examples.pixels(rows)]
        for epoch in range(VIEWS - 1):
            inputs = self.collate(examples, rows, draws(epoch, rows)).inputs[PIXELS]
            views.append(((inputs - offset) / scale).round().clamp(0, 255).to(torch.uint8))
        tiles = torch.stack(views, dim=1).flatten(0, 1).permute(0, 2, 3, 1).numpy()
        path = folder / SHEET
        try:
            sheet(list(tiles), len(views), path)
        except OSError as error:
            raise SaveError(f"{path} could not be written: {error.strerror}") from None
        return f"training pictures as the model will see them, unchanged on the left: {path}"

    def _change(self, draw: np.random.Generator, examples: Pictures) -> _Change:
        height, width, channels = examples.form.shape
        mirrored = bool(self.flip) and bool(draw.random() < self.flip)
        warp = self._warp(draw, height, width) if self.rotate or self.crop else None
        colours = None
        if self.colour:
            first, second, third = (1 + self.colour * draw.uniform(-1, 1, 3)).tolist()
            colours = (first, second, third)
        hole = None
        if self.erase and draw.random() < self.erase:
            area, shape = draw.uniform(*HOLES), _shape(draw, LONGEST_HOLE)
            tall, wide = math.sqrt(area * shape * height * width), math.sqrt(area / shape * height * width)
            box = _box(draw, tall, wide, height, width)
            top, bottom, left, right = box
            noise = draw.integers(0, 256, (channels, bottom - top, right - left)).astype(np.float32)
            hole = (box, noise)
        return _Change(mirrored, warp, colours, hole)

    def _warp(self, draw: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A turn about the middle of a piece that is cut out."""
        angle = math.radians(self.rotate) * draw.uniform(-1, 1) if self.rotate else 0.0
        wide = tall = 1.0
        across = down = 0.0
        if self.crop:
            area, shape = draw.uniform(self.crop[0], self.crop[1]), _shape(draw, LONGEST_CUT)
            wide, tall = min(1.0, math.sqrt(area * shape)), min(1.0, math.sqrt(area / shape))
            across, down = (1 - wide) * draw.uniform(-1, 1), (1 - tall) * draw.uniform(-1, 1)
        cosine, sine = math.cos(angle), math.sin(angle)
        # A turn keeps right angles in pixels, not in a square from -1 to 1.
        return np.array(
            [
                [wide * cosine, -tall * sine * height / width, across],
                [wide * sine * width / height, tall * cosine, down],
            ],
            dtype=np.float32,
        )

    def _mix(self, draw: np.random.Generator, examples: Pictures) -> _Mix:
        height, width, _ = examples.form.shape
        partner = int(draw.integers(len(examples)))
        blends = not self.cutmix or (bool(self.mixup) and bool(draw.random() < 0.5))
        alpha = self.mixup if blends else self.cutmix
        share = float(draw.beta(alpha, alpha))
        if blends:
            return _Mix(partner, self._change(draw, examples), share, None)
        side = math.sqrt(1 - share)
        box = _box(draw, side * height, side * width, height, width)
        top, bottom, left, right = box
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return _Mix(partner, self._change(draw, examples), share, box)

    def _shared(self, targets: Tensor, others: Tensor, shares: Tensor) -> Tensor:
        """Targets of mixed rows: each side's in its share."""
        if self.classes is not None:
            targets, others = (functional.one_hot(one, self.classes).float() for one in (targets, others))
        shares = shares.view(-1, *[1] * (targets.ndim - 1))
        return shares * targets + (1 - shares) * others


def _shape(draw: np.random.Generator, longest: float) -> float:
    """Of a rectangle, one side by the other: as often so many times longer as so many times shorter."""
    return math.exp(math.log(longest) * draw.uniform(-1, 1))


def _box(draw: np.random.Generator, tall: float, wide: float, height: int, width: int) -> Box:
    """A rectangle inside of the picture, anywhere."""
    tall, wide = min(height, max(1, round(tall))), min(width, max(1, round(wide)))
    top, left = int(draw.integers(height - tall + 1)), int(draw.integers(width - wide + 1))
    return top, top + int(tall), left, left + int(wide)


def _changed(pixels: Tensor, changes: Sequence[_Change]) -> Tensor:
    """(B, C, H, W) numbers from 0 to 255, each picture changed in its way."""
    numbers = pixels.float()
    mirrored = torch.tensor([change.mirrored for change in changes])
    if mirrored.any():
        numbers[mirrored] = numbers[mirrored].flip(-1)
    warps = [change.warp for change in changes if change.warp is not None]
    if warps:
        places = functional.affine_grid(torch.from_numpy(np.stack(warps)), list(numbers.shape), align_corners=False)
        numbers = functional.grid_sample(numbers, places, padding_mode="reflection", align_corners=False)
    colours = [change.colours for change in changes if change.colours is not None]
    if colours:
        numbers = _coloured(numbers, torch.tensor(colours))
    for i, change in enumerate(changes):
        if change.hole is not None:
            (top, bottom, left, right), noise = change.hole
            numbers[i, :, top:bottom, left:right] = torch.from_numpy(noise)
    return numbers


def _coloured(numbers: Tensor, factors: Tensor) -> Tensor:
    """Brighter or darker, of more or less contrast, in more or less colour; ``factors`` are (B, 3)."""
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1).unbind(1)
    numbers = numbers * brightness
    if numbers.shape[1] == len(GREY):
        grey = (numbers * torch.tensor(GREY).view(1, -1, 1, 1)).sum(1, keepdim=True)
        numbers = grey + (numbers - grey) * saturation
    else:
        grey = numbers
    middle = grey.mean((1, 2, 3), keepdim=True)
    return ((numbers - middle) * contrast + middle).clamp_(0, 255)


def _mixed(pixels: Tensor, others: Tensor, mixes: Sequence[_Mix]) -> Tensor:
    for i, mix in enumerate(mixes):
        if mix.box is None:
            pixels[i].mul_(mix.share).add_(others[i], alpha=1 - mix.share)
        else:
            top, bottom, left, right = mix.box
            pixels[i, :, top:bottom, left:right] = others[i, :, top:bottom, left:right]
    return pixels

"""Random changes of pictures: each does what it says, rows do not matter to each other, targets follow."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import ViTImageProcessorPil

from tests.data.test_pictures import held, rows
from tests.pictures import picture
from whet.data.augment.draws import draws
from whet.data.augment.pictures import PictureAugmentation
from whet.data.pictures import PIXELS, Pictures, read_pictures
from whet.tasks.image_classification import ImageClassification

COUNT = 6


@pytest.fixture(scope="module")
def examples() -> Pictures:
    plain = ViTImageProcessorPil(size={"height": 16, "width": 16}, do_rescale=False, do_normalize=False)
    table = rows(*(held(picture((60 * (i % 3) + 40, 90, 120), i)) for i in range(COUNT)))
    return read_pictures(table, "file", plain, np.arange(COUNT) % 3)


def augmentation(**options: Any) -> PictureAugmentation:
    task = ImageClassification(problem="single_label", labels=["a", "b", "c"])
    return PictureAugmentation(**options, classes=3, weight_of=task.weight_of)


def made(examples: Pictures, epoch: int = 0, indices: list[int] | None = None, **options: Any) -> tuple[Tensor, Tensor]:
    chosen = np.array(indices or range(COUNT))
    batch = augmentation(**options).collate(examples, chosen, draws(7, epoch, chosen))
    assert batch.targets is not None
    return batch.inputs[PIXELS], batch.targets


EVERYTHING: dict[str, Any] = {
    "flip": 0.5,
    "rotate": 20.0,
    "crop": [0.5, 1.0],
    "colour": 0.4,
    "erase": 0.5,
    "mixup": 0.4,
    "cutmix": 1.0,
}


@pytest.mark.parametrize("name", [*EVERYTHING, "everything"])
def test_what_becomes_of_a_row_does_not_depend_on_its_neighbours(name: str, examples: Pictures) -> None:
    options = EVERYTHING if name == "everything" else {name: EVERYTHING[name]}
    whole, targets = made(examples, **options)
    for part in ([4, 1], [0], [3, 5, 2]):
        pixels, labels = made(examples, indices=part, **options)
        assert torch.equal(pixels, whole[part])
        assert torch.equal(labels, targets[part])


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_change_changes_and_differs_from_epoch_to_epoch(name: str, examples: Pictures) -> None:
    plain = examples.normalised(examples.pixels(np.arange(COUNT)))
    first, again, second = (made(examples, epoch, **{name: EVERYTHING[name]})[0] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)
    assert first.shape == plain.shape
    assert first.min() >= 0
    assert first.max() <= 255


def test_a_flip_mirrors_and_nothing_else(examples: Pictures) -> None:
    plain = examples.normalised(examples.pixels(np.arange(COUNT)))
    assert torch.equal(made(examples, flip=1.0)[0], plain.flip(-1))


def test_a_crop_of_all_and_a_turn_of_nothing_leave_the_picture() -> None:
    change = augmentation(crop=[1.0, 1.0], rotate=90.0)
    still = change._warp(_Fixed(0.0), 10, 20)
    assert still == pytest.approx(np.array([[1, 0, 0], [0, 1, 0]]), abs=1e-6)
    # Half of the way from -90 to 90 degrees is no turn; the end is a quarter: a pixel to the right becomes one down.
    quarter = augmentation(rotate=90.0)._warp(_Fixed(1.0), 10, 20)
    assert quarter == pytest.approx(np.array([[0, -0.5, 0], [2, 0, 0]]), abs=1e-6)


class _Fixed(np.random.Generator):
    """Draws the same share of every range: 0 is its middle, 1 its end."""

    def __init__(self, share: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.share = share

    def uniform(self, low: float = 0.0, high: float = 1.0, size: object = None) -> float:  # type: ignore[override]
        return (low + high) / 2 + self.share * (high - low) / 2


def test_mixed_targets_say_how_much_of_each_class_there_is(examples: Pictures) -> None:
    pixels, targets = made(examples, cutmix=1.0)
    assert targets.sum(1) == pytest.approx(np.ones(COUNT), abs=1e-6)
    plain = examples.normalised(examples.pixels(np.arange(COUNT)))
    own = (pixels == plain).all(1).float().mean((1, 2))
    assert examples.targets is not None
    labels = torch.from_numpy(np.asarray(examples.targets))
    share = targets.gather(1, labels[:, None]).squeeze(1)
    # The partner may be of the same class.
    assert (share >= own - 1e-6).all()
    assert ((share - own).abs() < 1e-6).any()


def test_a_blend_is_the_sum_of_its_parts(examples: Pictures) -> None:
    pixels, targets = made(examples, mixup=1.0)
    plain = examples.normalised(examples.pixels(np.arange(COUNT)))
    for i in range(COUNT):
        mix = augmentation(mixup=1.0)._mix(_after_change(i), examples)
        assert torch.allclose(pixels[i], mix.share * plain[i] + (1 - mix.share) * plain[mix.partner], atol=1e-3)
    assert targets.shape == (COUNT, 3)


def _after_change(row: int) -> np.random.Generator:
    return draws(7, 0, np.array([row]))[0]


def test_soft_targets_give_the_loss_of_hard_ones_where_they_are_the_same() -> None:
    task = ImageClassification(
        problem="single_label",
        labels=["a", "b", "c"],
        class_weights={"a": 2.0, "b": 1.0, "c": 0.5},
        label_smoothing=0.1,
    )
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    hard = torch.tensor([0, 1, 2, 0])
    soft = torch.nn.functional.one_hot(hard, 3).float()
    losses = [float(task.loss({"logits": logits}, _batch(targets))) for targets in (hard, soft)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert task.weight_of(hard) == task.weight_of(soft) == pytest.approx(5.5)


def _batch(targets: Tensor) -> Any:
    from whet.core import Batch

    return Batch({}, targets, 1.0, len(targets), 0)


def test_the_sheet_shows_the_pictures_unchanged_on_the_left(examples: Pictures, tmp_path: Path) -> None:
    told = augmentation(erase=1.0).illustrate(examples, partial(draws, 0), tmp_path)
    assert str(tmp_path / "augmented.png") in told
    sheet = np.asarray(Image.open(tmp_path / "augmented.png"))
    first = examples.pixels(np.array([0]))[0].permute(1, 2, 0).numpy()
    assert (sheet[4:20, 4:20] == first).all()
    assert not (sheet[4:20, 24:40] == first).all()

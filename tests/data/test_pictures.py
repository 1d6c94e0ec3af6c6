"""Reading pictures: every mode and format, damage named by file and row, sizes and scales as the model has them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import (
    AutoImageProcessor,
    CLIPImageProcessorPil,
    ConvNextImageProcessorPil,
    MobileNetV2ImageProcessorPil,
    ViTImageProcessorPil,
)

from tests.pictures import picture, tiny_model
from whet.core import Columns, Rows
from whet.data import pictures
from whet.data.pictures import MOST_PIXELS, examine, opened, read_pictures
from whet.data.split import without_leaks
from whet.errors import DataError, ModelError
from whet.tasks.image_classification import ImageClassification

ORIENTATION = 0x0112
COLUMNS = Columns(("file",), ("label",))


def held(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rows(*cells: object, folder: Path | None = None) -> Rows:
    return Rows({"file": list(cells), "label": ["a"] * len(cells)}, "data.csv", range(2, len(cells) + 2), folder)


def seen(cell: object, channels: int = 3) -> np.ndarray:
    return np.asarray(opened(rows(cell), cell, channels))


# --- what a picture looks like ---


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(tag: int) -> None:
    upright = Image.fromarray(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3))
    undone = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undone[tag]) if tag in undone else upright
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    assert (seen(held(stored, exif=exif)) == np.asarray(upright)).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("L", (2, 2), 7), (7, 7, 7)),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("LA", (2, 2), (0, 0)), (255, 255, 255)),
        (Image.new("RGB", (2, 2), (9, 8, 7)).convert("P"), None),
        (Image.fromarray(np.full((2, 2), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((2, 2), 257 * 12, np.uint16)), (12, 12, 12)),
    ],
    ids=["bits", "grey", "opaque", "transparent", "grey and transparent", "palette", "16 bits white", "16 bits"],
)
def test_every_mode_becomes_red_green_and_blue(image: Image.Image, expected: tuple[int, int, int] | None) -> None:
    wanted = image.convert("RGB").getpixel((0, 0)) if expected is None else expected
    assert tuple(seen(held(image))[0, 0].tolist()) == wanted


def test_a_palette_with_a_transparent_colour_stands_on_white() -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 1), 1)
    found = seen(held(image, transparency=0))
    assert (found[0, 0].tolist(), found[1, 1].tolist()) == ([255, 255, 255], [200, 0, 0])


def test_inks_become_light() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = seen(held(cyan, "JPEG", quality=95))[4, 4].tolist()
    assert red < 40
    assert min(green, blue) > 150


def test_floats_are_white_at_one_and_numbers_without_a_white_are_refused() -> None:
    assert seen(held(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF"))[0, 0].tolist() == [128] * 3
    with pytest.raises(DataError, match="what is white"):
        seen(held(Image.fromarray(np.full((2, 2), 1e9, np.float32)), "TIFF"))


def test_models_of_grey_pictures_get_grey() -> None:
    assert seen(held(Image.new("RGB", (2, 3), (100, 100, 100))), channels=1).shape == (3, 2)


# --- damage ---


def test_damaged_files_are_all_named_at_once_with_their_rows(tmp_path: Path) -> None:
    whole = held(picture((200, 0, 0), 1, 64), "JPEG")
    (tmp_path / "good.jpg").write_bytes(whole)
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.png").write_text("no picture")
    (tmp_path / "torn.png").write_bytes(held(picture((0, 0, 200), 1, 64))[:-400])
    table = rows("good.jpg", "cut.jpg", "empty.png", "words.png", "torn.png", "goad.jpg", folder=tmp_path)
    with pytest.raises(DataError) as caught:
        ImageClassification().usable(table, COLUMNS)
    told = caught.value.problems[0]
    for part in (
        "5 of 6 pictures",
        "cut.jpg is damaged (image file is truncated",
        "(line 3)",
        "empty.png is empty (0 bytes) (line 4)",
        "words.png is no picture",
        "torn.png is damaged",
        "goad.jpg is not there; did you mean 'good.jpg'? (line 7)",
    ):
        assert part in told
    assert "data.incomplete=drop" in caught.value.problems[1]
    kept, dropped = ImageClassification().usable(table, COLUMNS, drop=True)
    assert (kept.columns["file"], kept.places, dropped) == (["good.jpg"], [2], 5)


def test_rows_without_a_file_or_a_label_are_told_beside_damaged_ones(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    table = Rows({"file": [None, "empty.png"], "label": ["a", None]}, "data.csv", [2, 3], tmp_path)
    with pytest.raises(DataError) as caught:
        ImageClassification().usable(table, COLUMNS)
    assert "empty.png is empty" in caught.value.problems[0]


def test_a_file_that_unpacks_to_far_too_much_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_PIXELS < 2 * 10**8
    monkeypatch.setattr(pictures, "MOST_PIXELS", 100)
    _, broken = examine(rows(held(Image.new("L", (11, 10)))), "file")
    assert "unpacks to 11 x 10 pixels" in broken[0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    _, broken = examine(rows(held(Image.new("L", (11, 10)))), "file")
    assert "unpacks to more pixels than are read" in broken[0]


# --- leaks ---


def test_the_same_picture_under_another_name_and_with_other_tags_is_no_new_test_row(tmp_path: Path) -> None:
    one, two = picture((200, 0, 0), 1), picture((200, 0, 0), 2)
    exif = Image.Exif()
    exif[0x010E] = "a remark"
    one.save(tmp_path / "a.png")
    two.save(tmp_path / "b.png")
    one.save(tmp_path / "c.png", exif=exif)
    task = ImageClassification()
    train, _ = task.usable(rows("a.png", "b.png", folder=tmp_path), COLUMNS)
    test, _ = task.usable(rows("c.png", folder=tmp_path), COLUMNS)
    kept, told = without_leaks({"train": train, "test": test}, COLUMNS)
    assert kept["train"].columns["file"] == ["b.png"]
    assert "1 row whose content also stands in data.csv was left out of training" in told[0].reason


# --- sizes and scales ---


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessorPil(size={"height": 20, "width": 30}),
        ViTImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7]),
        ConvNextImageProcessorPil(size={"shortest_edge": 24}),
        MobileNetV2ImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}),
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 24, "width": 24}),
        ViTImageProcessorPil(size={"height": 16, "width": 16}, do_normalize=False),
    ],
    ids=["oblong", "statistics", "convnext", "mobilenet", "clip", "plain"],
)
def test_batches_are_what_the_processor_makes_of_the_files(processor: Any) -> None:
    images = [picture((200, 100, 50), 1, 40).resize((50, 40)), picture((0, 100, 200), 2, 33)]
    examples = read_pictures(rows(*map(held, images)), "file", processor, None)
    found = examples.normalised(examples.pixels(np.array([1, 0]))).numpy()
    expected = processor(images=images[::-1], return_tensors="np")["pixel_values"]
    assert found == pytest.approx(expected, abs=1e-5)
    assert examples.inputs["pixel_values"].values.dtype == np.uint8
    assert len(set(examples.lengths.tolist())) == 1


def test_pictures_of_different_sizes_are_refused_with_the_way_out() -> None:
    uneven = CLIPImageProcessorPil(size={"shortest_edge": 16}, do_center_crop=False)
    table = rows(*(held(picture((1, 2, 3), 1, 40).resize(size)) for size in ((40, 30), (30, 40))))
    with pytest.raises(ModelError, match=r"different sizes .*task\.size"):
        read_pictures(table, "file", uneven, None)


def test_more_pictures_than_fit_in_memory_stand_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    table = rows(held(picture((9, 9, 9), 1)), held(picture((9, 9, 9), 2)))
    plain = read_pictures(table, "file", processor, None)
    monkeypatch.setattr(pictures, "ROOM", 0.0)
    mapped = read_pictures(table, "file", processor, None)
    assert isinstance(mapped.inputs["pixel_values"].values, np.memmap)
    assert (mapped.pixels(np.arange(2)) == plain.pixels(np.arange(2))).all()


def test_another_size_is_told_to_the_processor_and_saved_with_it(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "resnet", "resnet")
    task = ImageClassification(problem="single_label", labels=["a", "b"], size=40)
    loaded = task.open_model(str(folder))
    loaded.processor.save_pretrained(tmp_path / "saved")
    kind: Any = AutoImageProcessor
    again = kind.from_pretrained(tmp_path / "saved")
    assert again(images=picture((1, 2, 3), 1, 50), return_tensors="np")["pixel_values"].shape == (1, 3, 40, 40)


def test_a_size_that_the_model_does_not_read_is_refused(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "vit", "vit")
    task = ImageClassification(problem="single_label", labels=["a", "b"], size=40)
    with pytest.raises(ModelError, match=r"does not read pictures of 40 x 40 pixels.*leave task.size out"):
        task.open_model(str(folder))

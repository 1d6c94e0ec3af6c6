"""Cells that name or hold pictures and sounds."""

from pathlib import Path

import pytest

from tests.data.test_pictures import held
from tests.pictures import picture
from whet.core import Rows
from whet.data.kinds import task_of
from whet.data.media import files_in, media_column, medium_of_cell, shown
from whet.errors import DataError

PNG = held(picture((1, 2, 3), 0))
JPEG = held(picture((1, 2, 3), 0), "JPEG")
WAVE = b"RIFF\0\0\0\0WAVEfmt "


@pytest.mark.parametrize(
    ("cell", "medium"),
    [
        ("a/b.JPG", "picture"),
        ("b.flac", "sound"),
        ("words", None),
        (PNG, "picture"),
        (JPEG, "picture"),
        (WAVE, "sound"),
        ({"bytes": PNG, "path": None}, "picture"),
        ({"bytes": None, "path": "c.webp"}, "picture"),
        ({"bytes": b"?", "path": "d.mp3"}, "sound"),
        ({"text": "a"}, None),
        (3, None),
        (None, None),
    ],
)
def test_a_cell_tells_what_it_holds(cell: object, medium: str | None) -> None:
    assert medium_of_cell(cell) == medium


def test_the_column_of_pictures_is_found_beside_others_and_tells_the_task() -> None:
    rows = Rows({"id": ["1", "2"], "image": [{"bytes": PNG, "path": "x.png"}, None], "label": [0, 1]}, "a", [1, 2])
    assert media_column(rows) == ("image", "picture")
    assert task_of(rows) == ("image_classification", "column 'image' holds pictures")
    assert media_column(Rows({"both": ["a.png", "b.wav"]}, "a", [1, 2])) is None


def test_tables_show_names_or_sizes_never_bytes() -> None:
    cells: list[object] = [PNG, {"bytes": PNG, "path": "x.png"}, "y.png", 3]
    assert [shown(cell) for cell in cells] == [f"{len(PNG):,} bytes", "x.png", "y.png", "3"]


def test_all_pictures_of_a_folder_are_found_and_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "deep/er/c.gif", "words.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path, "picture")] == ["a.jpg", "b.png", "c.gif"]
    with pytest.raises(DataError, match=r"holds no sounds; known endings are \.wav"):
        files_in(tmp_path, "sound")

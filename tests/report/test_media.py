"""Pictures and sounds inside of a page: small, found where the rows name them, and left out where they are gone."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from whet.report import media
from whet.report.media import Shelf


def test_a_picture_becomes_a_small_one(tmp_path: Path) -> None:
    (tmp_path / "set" / "ants").mkdir(parents=True)
    Image.new("RGBA", (900, 300), (255, 0, 0, 0)).save(tmp_path / "set" / "ants" / "a.png")
    shelf = Shelf({"data": {"train": str(tmp_path / "set")}}, "test")
    # Of a folder of classes the rows keep the path that was typed, wherever that was.
    for name in ("ants/a.png", "set/ants/a.png", "../elsewhere/set/ants/a.png", str(tmp_path / "set/ants/a.png")):
        uri = shelf.picture(name)
        assert uri is not None
        assert uri.startswith("data:image/jpeg;base64,")
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as small:
            assert small.size == (144, 48)
            # What is transparent is white.
            assert small.getpixel((9, 9)) == (255, 255, 255)


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "letter.txt").write_text("secret")
    shelf = Shelf({"data": {"train": str(tmp_path / "rows.csv")}}, "test")
    assert [shelf.picture(name) for name in ("broken.png", "letter.txt", "gone.png", None, 7)] == [None] * 5


def test_sounds_have_room_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.wav", "c.aiff"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    (tmp_path / "long.wav").write_bytes(b"x" * (media.LARGEST_SOUND + 1))
    monkeypatch.setattr(media, "LARGEST_PAGE", 1500)
    shelf = Shelf({"data": {"train": "hub:somebody/sounds", "test": str(tmp_path / "rows.csv")}}, "test")
    assert str(shelf.sound("a.wav")).startswith("data:audio/wav;base64,eHh4")
    # The page is full, the sound too long, of a kind that no browser plays.
    assert [shelf.sound(name) for name in ("b.wav", "long.wav", "c.aiff", "a.txt")] == [None] * 4

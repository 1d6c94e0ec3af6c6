"""Files of sound: what is heard of them, and what is told of those that cannot be heard."""

from pathlib import Path

import numpy as np
import pytest

from tests import sounds
from whet.core import Rows
from whet.data import sound
from whet.errors import DataError

soundfile = pytest.importorskip("soundfile")


def rows_of(folder: Path, *cells: object) -> Rows:
    return Rows({"file": list(cells)}, "table.csv", [i + 2 for i in range(len(cells))], folder)


def heard(folder: Path, cell: object, *, rate: int = sounds.RATE, longest: float | None = None) -> sound.Heard:
    return next(sound.waves(rows_of(folder, cell), "file", rate, longest))


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", None), ("a.flac", None), ("a.wav", "PCM_U8"), ("a.wav", "FLOAT")]
)
def test_a_wave_comes_back_as_it_was_written(name: str, subtype: str | None, tmp_path: Path) -> None:
    wave = sounds.tone(440, 0.3)
    sounds.write(tmp_path / name, wave, subtype=subtype)
    found = heard(tmp_path, name)
    assert found.wave.dtype == np.float32
    assert np.abs(found.wave - wave).max() < (0.01 if subtype == "PCM_U8" else 1e-4)
    assert found.seconds == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_compressed_files_are_heard(name: str, tmp_path: Path) -> None:
    sounds.write(tmp_path / name, sounds.tone(440, 1.0, rate=16000), rate=16000)
    found = heard(tmp_path, name, rate=16000)
    spectrum = np.abs(np.fft.rfft(found.wave[2000:10000]))
    assert abs(spectrum.argmax() * 16000 / 8000 - 440) < 4


def test_channels_become_their_mean_and_other_rates_the_wanted_one(tmp_path: Path) -> None:
    left, right = sounds.tone(440, 0.5, rate=16000), sounds.tone(440, 0.5, rate=16000, seed=1)
    sounds.write(tmp_path / "a.wav", np.stack([left, right], axis=1), rate=16000)
    same = heard(tmp_path, "a.wav", rate=16000)
    assert np.abs(same.wave - (left + right) / 2).max() < 1e-4
    half = heard(tmp_path, "a.wav", rate=8000)
    assert (half.rate, len(half.wave)) == (8000, 4000)
    assert np.abs(half.wave[200:-200] - same.wave[::2][200:-200]).mean() < 0.02


def test_bytes_alone_and_with_a_path_are_heard_as_files_are(tmp_path: Path) -> None:
    path = sounds.write(tmp_path / "a.wav", sounds.tone(440, 0.2))
    data = path.read_bytes()
    for cell in (data, {"bytes": data, "path": "a.wav"}, {"bytes": None, "path": "a.wav"}):
        assert np.array_equal(heard(tmp_path, cell).wave, heard(tmp_path, "a.wav").wave)


def test_only_the_beginning_of_a_long_clip_is_read_and_its_length_is_known(tmp_path: Path) -> None:
    sounds.write(tmp_path / "a.wav", sounds.tone(440, 2.0))
    found = heard(tmp_path, "a.wav", longest=0.5)
    assert (len(found.wave), found.seconds) == (sounds.RATE // 2, 2.0)


def broken(folder: Path) -> dict[str, str]:
    """Files that cannot be heard, and words of what is told of each."""
    whole = sounds.write(folder / "whole.wav", sounds.tone(440, 1.0)).read_bytes()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is no sound")
    (folder / "short.wav").write_bytes(whole[: len(whole) // 4])
    sounds.write(folder / "silent.wav", np.zeros(4000, np.float32))
    sounds.write(folder / "nothing.wav", np.zeros(0, np.float32))
    wave = sounds.tone(440, 0.1)
    wave[7] = np.nan
    sounds.write(folder / "nan.wav", wave, subtype="FLOAT")
    flac = sounds.write(folder / "cut.flac", sounds.tone(440, 3.0)).read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 3])
    return {
        "empty.wav": "is empty (0 bytes)",
        "text.wav": "cannot be decoded",
        "short.wav": "is cut short: 0.25 of 1.00 s",
        "silent.wav": "is silent",
        "nothing.wav": "holds no samples",
        "nan.wav": "not finite",
        "cut.flac": "cut.flac",
        "whole.wave": "is not there; did you mean 'whole.wav'?",
    }


def test_every_file_that_cannot_be_heard_is_told_with_its_reason(tmp_path: Path) -> None:
    expected = broken(tmp_path)
    digests, faults = sound.examine(rows_of(tmp_path, "whole.wav", *expected), "file")
    assert sorted(faults) == list(range(1, len(expected) + 1))
    for row, (name, words) in enumerate(expected.items(), 1):
        assert name in faults[row]
        assert words in faults[row]
    assert digests[0]


def test_digests_are_those_of_the_sound_not_of_the_file(tmp_path: Path) -> None:
    wave = (sounds.tone(440, 0.2) * 2**15).astype(np.int16).astype(np.float32) / 2**15
    for name in ("a.wav", "b.flac"):
        sounds.write(tmp_path / name, wave)
    sounds.write(tmp_path / "c.wav", sounds.tone(450, 0.2))
    first, second, other = sound.examine(rows_of(tmp_path, "a.wav", "b.flac", "c.wav"), "file")[0]
    assert first == second != other


def test_streams_that_do_not_know_their_end_are_whole(tmp_path: Path) -> None:
    data = bytearray(sounds.write(tmp_path / "a.wav", sounds.tone(440, 0.2)).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "stream.wav").write_bytes(data)
    assert sound.examine(rows_of(tmp_path, "stream.wav"), "file")[1] == {}


def test_what_is_broken_since_it_was_looked_at_is_told_with_its_line(tmp_path: Path) -> None:
    sounds.write(tmp_path / "a.wav", sounds.tone(440, 0.2))
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(DataError, match=r"1 of 2 sounds cannot be read: b.wav cannot be decoded.*\(line 3\)"):
        list(sound.waves(rows_of(tmp_path, "a.wav", "b.wav"), "file", sounds.RATE, None))


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sound, "PACKAGES", ("soundfile", "absent_package"))
    with pytest.raises(DataError, match=r'absent_package, not installed here; run: pip install "whet\[audio\]"'):
        sound.examine(rows_of(tmp_path, "a.wav"), "file")


def test_long_clips_are_cut_where_they_are_quiet() -> None:
    wave = np.concatenate([sounds.tone(440, 0.9), np.zeros(800, np.float32), sounds.tone(440, 0.7)])
    whole = sound.Heard(wave, sounds.RATE, len(wave) / sounds.RATE, 1.0, "")
    pieces = sound.parts(whole, 1.2)
    assert [round(piece.seconds, 2) for piece in pieces] == [0.95, 0.75]
    assert np.array_equal(np.concatenate([piece.wave for piece in pieces]), wave)
    assert all(piece.seconds <= 1.2 for piece in pieces)
    assert len(sound.parts(whole, 2.0)) == 1


def test_durations_come_from_headers(tmp_path: Path) -> None:
    for name, length in (("a.wav", 0.25), ("b.flac", 1.5)):
        sounds.write(tmp_path / name, sounds.tone(440, length))
    assert sound.durations(rows_of(tmp_path, "a.wav", "b.flac"), "file").tolist() == [0.25, 1.5]

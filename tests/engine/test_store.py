"""Rows of tensors that are kept without padding: what comes back, what is ignored, what is deleted."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.jobs import files_of_at_most
from whet.engine import store as store_module
from whet.engine.replay import Form
from whet.engine.store import DIGEST, Segment, Store, Writer, make_room
from whet.errors import SaveError

RAGGED = Form(("rows", "length", 3), torch.float32)
FIXED = Form(("rows", 4, 2), torch.float32)
POOLED = Form(("rows", 1, 3), torch.bfloat16)
NUMBERED = Form(("rows",), torch.int64)
FORMS = (RAGGED, FIXED, POOLED, NUMBERED)
HOUR = 3600


def named(*names: str) -> np.ndarray:
    """Digests that are told apart by a letter."""
    return np.array([name.encode() * DIGEST.itemsize for name in names], dtype=DIGEST)


def padded(lengths: Sequence[int], forms: Sequence[Form] = FORMS, seed: int = 0) -> list[Tensor]:
    """A batch of tensors of these forms with zeros in place of padding."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tensors = []
    for form in forms:
        values = torch.randn(form.shape(len(lengths), max(lengths)), generator=generator) * 100
        if "length" in form.axes:
            values = values * real.view(*real.shape, *[1] * (values.ndim - 2))
        tensors.append(values.to(form.dtype))
    return tensors


def written(
    folder: Path | None, names: str = "abc", lengths: Sequence[int] = (2, 5, 3), forms: Sequence[Form] = FORMS
) -> tuple[Store, list[Tensor]]:
    """A store with one segment of these rows, and what is in it."""
    store = Store(forms, folder)
    tensors = padded(lengths, forms, seed=len(names))
    writer = Writer(store, np.array(lengths))
    writer.add(named(*names), np.array(lengths), tensors)
    writer.finish()
    return store, tensors


def segment_of(folder: Path) -> Path:
    """The only segment of a key."""
    (path,) = folder.iterdir()
    return path


def assert_equal(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


# --- what comes back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_rows_come_back_in_any_order_padded_to_any_length(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "key" if place == "disk" else None
    store, tensors = written(folder)
    if folder is not None:
        store = Store(FORMS, folder)
    places = store.find(named("c", "a", "c"))
    for length in (5, 9):
        found = store.gather(places, length)
        expected = [t[[2, 0, 2]] for t in tensors]
        expected[0] = torch.nn.functional.pad(expected[0], (0, 0, 0, length - 5))
        assert_equal(found, expected)


def test_padding_is_not_stored_whatever_it_is(tmp_path: Path) -> None:
    lengths = np.array([1, 4])
    (values,) = padded(lengths.tolist(), [RAGGED])
    dirty = values.clone()
    dirty[0, 1:] = torch.nan
    store = Store([RAGGED], tmp_path)
    writer = Writer(store, lengths)
    writer.add(named("a", "b"), lengths, [dirty])
    writer.finish()
    assert_equal(store.gather(store.find(named("a", "b")), 4), [values])
    assert (segment_of(tmp_path) / "0.bin").stat().st_size == (1 + 4) * 3 * 4 == store.bytes_of(lengths)


def test_a_batch_may_come_from_several_segments(tmp_path: Path) -> None:
    _, first = written(tmp_path / "key", "abc", (2, 5, 3))
    _, second = written(tmp_path / "key", "de", (4, 1))
    store = Store(FORMS, tmp_path / "key")
    found = store.gather(store.find(named("d", "b", "e", "a")), 5)
    second[0] = torch.nn.functional.pad(second[0], (0, 0, 0, 1))
    expected = [torch.stack([two[0], one[1], two[1], one[0]]) for one, two in zip(first, second, strict=True)]
    assert_equal(found, expected)


def test_many_batches_make_one_segment(tmp_path: Path) -> None:
    store = Store(FORMS, tmp_path)
    writer = Writer(store, np.array([2, 5, 3]))
    first, second = padded([2, 5], seed=1), padded([3], seed=2)
    writer.add(named("a", "b"), np.array([2, 5]), first)
    writer.add(named("c"), np.array([3]), second)
    writer.finish()
    found = Store(FORMS, tmp_path)
    assert len(found.segments) == 1
    assert_equal(found.gather(found.find(named("a", "b")), 5), first)
    assert_equal(found.gather(found.find(named("c")), 3), second)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert Store(FORMS, tmp_path / "key").find(named("a", "b")).tolist() == [[-1, -1]] * 2
    store, _ = written(tmp_path / "key")
    assert store.find(named("z", "b", "A")).tolist() == [[-1, -1], [0, 1], [-1, -1]]


def test_rounded_values_survive_bit_for_bit(tmp_path: Path) -> None:
    values = torch.tensor([[[1 / 3, -0.0, 3e38]], [[torch.inf, 1e-40, 2.0]]]).to(torch.bfloat16)
    lengths = np.array([1, 1])
    writer = Writer(Store([POOLED], tmp_path), lengths)
    writer.add(named("a", "b"), lengths, [values])
    writer.finish()
    store = Store([POOLED], tmp_path)
    (found,) = store.gather(store.find(named("a", "b")), 1)
    assert torch.equal(found.view(torch.int16), values.view(torch.int16))


# --- several at once --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="tells how much of files is in memory")
def test_of_large_files_little_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resident() -> int:
        line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssFile:"))
        return int(line.split()[1]) * 1024

    rows, form = 4096, Form(("rows", 1, 4096), torch.float32)
    store = Store([form], tmp_path / "key")
    writer = Writer(store, np.ones(rows, dtype=np.int64))
    values = torch.arange(rows, dtype=torch.float32)[:, None, None].expand(rows, 1, 4096)
    digests = np.array([f"{row:016d}".encode() for row in range(rows)], dtype=DIGEST)
    writer.add(digests, np.ones(rows, dtype=np.int64), [values])
    writer.finish()
    places = np.stack([np.zeros(rows, dtype=np.int64), np.random.default_rng(0).permutation(rows)], axis=1)
    after = []
    for most in (2**30, 2**23):
        monkeypatch.setattr(store_module, "RESIDENT", most)
        for batch in np.array_split(places, 64):
            (found,) = store.gather(batch, 1)
            assert torch.equal(found[:, 0, 0], torch.from_numpy(batch[:, 1]).float())
        after.append(resident())
    # Of 64 MiB.
    assert after[0] - after[1] > 50 * 2**20


def test_two_that_write_the_same_rows_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    lengths = np.array([2, 5, 3])
    tensors = padded(lengths.tolist())
    stores = [Store(FORMS, tmp_path / "key") for _ in range(2)]
    writers = [Writer(store, lengths) for store in stores]
    for rows in ([0, 1], [2]):
        for writer in writers:
            part = [t[rows] for t in tensors]
            part[0] = part[0][:, : int(lengths[rows].max())]
            writer.add(named("a", "b", "c")[rows], lengths[rows], part)
    assert Store(FORMS, tmp_path / "key").segments == []
    for writer in writers:
        writer.finish()
    both = Store(FORMS, tmp_path / "key")
    assert len(both.segments) == 2
    for store in (*stores, both):
        assert_equal(store.gather(store.find(named("a", "b", "c")), 5), tensors)


def test_a_segment_that_another_run_deletes_stays_readable(tmp_path: Path) -> None:
    store, tensors = written(tmp_path / "key")
    shutil.rmtree(tmp_path / "key")
    assert_equal(store.gather(store.find(named("a", "b", "c")), 5), tensors)


# --- what is ignored --------------------------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def scribbled(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"\xff" * 300)


@pytest.mark.parametrize("name", ["segment.json", "digests.npy", "lengths.npy", "0.bin", "3.bin"])
@pytest.mark.parametrize("damage", [cut_short, emptied, scribbled, Path.unlink])
def test_a_damaged_segment_is_ignored(tmp_path: Path, name: str, damage: object) -> None:
    written(tmp_path / "key")
    assert callable(damage)
    damage(segment_of(tmp_path / "key") / name)
    written(tmp_path / "key", "de", (4, 1))
    store = Store(FORMS, tmp_path / "key")
    assert store.find(named("a", "d"))[:, 0].tolist() == [-1, 0]


def test_a_segment_of_other_forms_or_another_number_of_rows_is_ignored(tmp_path: Path) -> None:
    written(tmp_path / "key", forms=[RAGGED])
    assert Store([FIXED], tmp_path / "key").segments == []
    header = segment_of(tmp_path / "key") / "segment.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"rows": 2}))
    assert Store([RAGGED], tmp_path / "key").segments == []


def test_a_half_written_segment_is_ignored_and_an_abandoned_one_leaves_nothing(tmp_path: Path) -> None:
    lengths = np.array([2, 5, 3])
    writer = Writer(Store(FORMS, tmp_path), lengths)
    writer.add(named("a", "b", "c"), lengths, padded(lengths.tolist()))
    assert len(list(tmp_path.iterdir())) == 1
    assert Store(FORMS, tmp_path).segments == []
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_what_else_lies_there_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a segment")
    (tmp_path / "empty").mkdir()
    assert Store(FORMS, tmp_path).segments == []


@pytest.mark.parametrize("name", ["missing", "notes.txt", "x" * 300])
def test_a_folder_that_cannot_be_read_holds_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("not a folder")
    assert Store(FORMS, tmp_path / name).segments == []


def test_rows_that_others_own_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "key")

    def refuse(*_: object) -> None:
        raise PermissionError("not the owner")

    monkeypatch.setattr(os, "utime", refuse)
    assert len(Store(FORMS, tmp_path / "key").segments) == 1


# --- where the disk refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [5, 2000], ids=["at the end", "at once"])
def test_a_disk_that_refuses_is_told_and_what_was_written_goes_away(tmp_path: Path, rows: int) -> None:
    lengths = np.full(rows, 9)
    writer = Writer(Store([RAGGED], tmp_path), lengths)
    digests = np.array([number.to_bytes(16, "big") for number in range(1, rows + 1)], dtype=DIGEST)

    def write() -> None:
        writer.add(digests, lengths, padded(lengths.tolist(), [RAGGED]))
        writer.finish()

    with files_of_at_most(256), pytest.raises(SaveError, match="cannot be written"):
        write()
    assert Store([RAGGED], tmp_path).segments == []
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SaveError, match="cannot be written"):
        Writer(Store(FORMS, tmp_path / "file" / "key"), np.array([1]))


# --- room -------------------------------------------------------------------------------------------------------


def aged(folder: Path, **hours: float) -> int:
    """Segments by their key, used last so many hours ago; returns the bytes of each."""
    for key, ago in hours.items():
        written(folder / key, "a", (4,), [RAGGED])
        os.utime(segment_of(folder / key), (time.time() - ago * HOUR,) * 2)
    return sum(file.stat().st_size for file in segment_of(folder / min(hours)).iterdir())


def keys(folder: Path) -> set[str]:
    """Keys that still have a segment."""
    return {path.parent.name for path in folder.glob("*/*")}


def test_the_segment_that_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    size = aged(tmp_path, old=2, older=3, oldest=4, new=1)
    assert make_room(tmp_path, size, 4 * size, keep=tmp_path / "other")
    assert keys(tmp_path) == {"old", "older", "new"}
    assert make_room(tmp_path, 2 * size, 4 * size, keep=tmp_path / "other")
    assert keys(tmp_path) == {"old", "new"}
    assert make_room(tmp_path, 2 * size, 4 * size, keep=tmp_path / "other")
    assert keys(tmp_path) == {"old", "new"}


def test_reading_a_segment_keeps_it(tmp_path: Path) -> None:
    size = aged(tmp_path, old=2, older=3)
    Store([RAGGED], tmp_path / "older")
    assert make_room(tmp_path, size, 2 * size, keep=tmp_path / "other")
    assert keys(tmp_path) == {"older"}


def test_the_present_key_is_never_deleted(tmp_path: Path) -> None:
    size = aged(tmp_path, present=9, other=1)
    assert make_room(tmp_path, size, 2 * size, keep=tmp_path / "present")
    assert keys(tmp_path) == {"present"}


def test_nothing_is_deleted_in_vain(tmp_path: Path) -> None:
    size = aged(tmp_path, present=9, other=1)
    assert not make_room(tmp_path, 2 * size, 2 * size, keep=tmp_path / "present")
    assert not make_room(tmp_path, 3 * size, 2 * size, keep=tmp_path / "none")
    assert keys(tmp_path) == {"present", "other"}


def test_no_room_where_none_is_allowed_or_on_the_disk_or_no_folder_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not make_room(tmp_path, 1, 0, keep=tmp_path / "key")
    assert not make_room(tmp_path / "file", 1, 10**9, keep=tmp_path / "file" / "key")
    assert not make_room(tmp_path / ("x" * 300), 1, 10**9, keep=tmp_path)
    assert make_room(tmp_path / "new", 1, 10**9, keep=tmp_path / "new" / "key")
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert make_room(tmp_path, 500, 10**9, keep=tmp_path / "key")
    assert not make_room(tmp_path, 501, 10**9, keep=tmp_path / "key")


def test_what_a_dead_run_left_half_written_goes_after_a_day(tmp_path: Path) -> None:
    for name, hours in ((".alive.part", 1), (".dead.part", 25)):
        (tmp_path / "key" / name).mkdir(parents=True)
        os.utime(tmp_path / "key" / name, (time.time() - hours * HOUR,) * 2)
    assert make_room(tmp_path, 1, 10**9, keep=tmp_path / "key")
    assert [path.name for path in (tmp_path / "key").iterdir()] == [".alive.part"]


def test_a_segment_in_memory_is_as_long_as_what_was_added() -> None:
    store = Store([RAGGED], None)
    writer = Writer(store, np.array([2, 5, 3]))
    writer.add(named("a"), np.array([2]), padded([2], [RAGGED]))
    writer.finish()
    assert isinstance(store.segments[0], Segment)
    assert store.segments[0].values[0].shape == (2 * 3,)

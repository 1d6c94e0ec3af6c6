"""Rows of tensors without padding, found by the content of the row: in memory-mapped files, or in memory.

::

    FOLDER/<key>/<segment>/
        segment.json      forms and number of rows
        digests.npy       (n,) 16 bytes for each row: what it was computed from
        lengths.npy       (n,) tokens of each row
        0.bin  1.bin      one file per tensor: the rows one after the other

A segment never changes after it was written and renamed, so several runs can read and write at once: two that compute
the same rows at the same time write two segments, and one that is deleted stays readable for those that have it open.
Where room is needed, the segment that was used longest ago goes first.
"""

import contextlib
import json
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whet.engine.replay import Form
from whet.errors import SaveError

DIGEST = np.dtype("S16")
_HEADER, _DIGESTS, _LENGTHS = "segment.json", "digests.npy", "lengths.npy"
_ABANDONED = 24 * 3600
"""Seconds after which a half-written segment is nobody's any more."""
RESIDENT = 2**28
"""Bytes of mapped files that stay in this process's memory, about: the system keeps the others where it has room."""
AROUND = 2**21
"""Bytes that Linux may map for each place that is read, as files lie in its memory in large pieces."""


class Segment:
    """Some rows that were computed together, in flat tensors: one per form, mapped from a file or in memory."""

    def __init__(
        self,
        forms: Sequence[Form],
        digests: np.ndarray,
        lengths: np.ndarray,
        values: Sequence[Tensor],
        mapped: Sequence[mmap.mmap] = (),
    ) -> None:
        """``mapped`` is what the values are mapped by, where they lie in files."""
        self.forms = forms
        self.digests = digests
        self.lengths = lengths
        self.values = values
        self._mapped = mapped
        self._read = 0
        self.order = np.argsort(digests)
        """Positions of the rows by their digests, for searching."""
        self._starts = np.concatenate([[0], np.cumsum(lengths)])

    def gather(self, rows: np.ndarray, length: int) -> list[Tensor]:
        """The rows at these positions as (B, ...) tensors, padded with zeros to ``length``."""
        gathered = [self._gather(*pair, rows, length) for pair in zip(self.values, self.forms, strict=True)]
        self._read += sum(max(tensor.nbytes, len(rows) * AROUND) for tensor in gathered)
        if self._read > RESIDENT and sum(len(one) for one in self._mapped) > RESIDENT:
            self._read = 0
            for one in self._mapped:
                # Windows cannot; everywhere else nothing is lost, as nothing was written.
                with contextlib.suppress(AttributeError):
                    one.madvise(mmap.MADV_DONTNEED)
        return gathered

    def _gather(self, values: Tensor, form: Form, rows: np.ndarray, length: int) -> Tensor:
        if "length" not in form.axes:
            return values.view(-1, *form.shape(1, 1))[torch.from_numpy(rows)].flatten(0, 1)
        inner = form.shape(1, 1)[1:]
        lengths = self.lengths[rows]
        before = np.cumsum(lengths) - lengths
        within = np.arange(int(lengths.sum())) - np.repeat(before, lengths)
        read = torch.from_numpy(np.repeat(self._starts[rows], lengths) + within)
        written = torch.from_numpy(np.repeat(np.arange(len(rows)) * length, lengths) + within)
        padded = values.new_zeros(len(rows) * length, *inner[1:])
        padded[written] = values.view(-1, *inner[1:])[read]
        return padded.view(form.shape(len(rows), length))


class Store:
    """All segments of one key. ``folder`` is that key's own; None keeps everything in memory."""

    def __init__(self, forms: Sequence[Form], folder: Path | None) -> None:
        self.forms = forms
        self.folder = folder
        self.segments: list[Segment] = []
        for path in [] if folder is None else _inside(folder):
            if (segment := _open(path, forms)) is not None:
                self.segments.append(segment)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """(N, 2) segment and position of the rows with these digests; -1 where there is none."""
        places = np.full((len(digests), 2), -1, dtype=np.int64)
        for number, segment in enumerate(self.segments):
            order = segment.order
            found = np.minimum(np.searchsorted(segment.digests, digests, sorter=order), len(order) - 1)
            position = order[found]
            here = (segment.digests[position] == digests) & (places[:, 0] < 0)
            places[here] = np.stack([np.full(here.sum(), number), position[here]], axis=1)
        return places

    def gather(self, places: np.ndarray, length: int) -> list[Tensor]:
        """The rows at these places as (B, ...) tensors, padded with zeros to ``length``."""
        if (places[:, 0] == places[0, 0]).all():
            only: Segment = self.segments[int(places[0, 0])]
            return only.gather(places[:, 1], length)
        tensors = [torch.zeros(form.shape(len(places), length), dtype=form.dtype) for form in self.forms]
        for number in np.unique(places[:, 0]):
            here = np.flatnonzero(places[:, 0] == number)
            for whole, part in zip(tensors, self.segments[number].gather(places[here, 1], length), strict=True):
                whole.view(len(places), -1)[torch.from_numpy(here)] = part.reshape(len(here), -1)
        return tensors

    def bytes_of(self, lengths: np.ndarray) -> int:
        """What rows of these lengths take."""
        return sum(_numbers(form, lengths) * form.dtype.itemsize for form in self.forms)


class Writer:
    """Fills one segment, batch by batch; raises SaveError where the disk refuses."""

    def __init__(self, store: Store, lengths: np.ndarray) -> None:
        self._store = store
        self._digests: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._part: Path | None = None
        self._filled = [0] * len(store.forms)
        self._values: list[Tensor] = []
        if store.folder is None:
            self._values = [torch.empty(_numbers(form, lengths), dtype=form.dtype) for form in store.forms]
            return
        with _refusals(store.folder):
            store.folder.mkdir(parents=True, exist_ok=True)
            self._part = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=store.folder))
            self._files = [(self._part / f"{i}.bin").open("wb") for i in range(len(store.forms))]

    def add(self, digests: np.ndarray, lengths: np.ndarray, tensors: Sequence[Tensor]) -> None:
        """Append the rows of a batch; ``tensors`` are (B, ...), padded."""
        for number, (form, tensor) in enumerate(zip(self._store.forms, tensors, strict=True)):
            flat = tensor.detach().to("cpu")
            if "length" in form.axes:
                flat = flat[torch.from_numpy(np.arange(tensor.shape[1]) < lengths[:, None])]
            flat = flat.contiguous().view(-1)
            if self._part is None:
                self._values[number][self._filled[number] : self._filled[number] + len(flat)] = flat
            else:
                with _refusals(self._part):
                    self._files[number].write(flat.view(torch.uint8).numpy().data)
            self._filled[number] += len(flat)
        self._digests.append(digests)
        self._lengths.append(lengths)

    def finish(self) -> None:
        """Make what was added part of the store, and durable where it is on the disk."""
        digests, lengths = np.concatenate(self._digests), np.concatenate(self._lengths)
        forms = self._store.forms
        if self._part is None:
            values = [v[:n] for v, n in zip(self._values, self._filled, strict=True)]
            self._store.segments.append(Segment(forms, digests, lengths, values))
            return
        assert self._store.folder is not None
        final = self._store.folder / self._part.name.strip(".").removesuffix(".part")
        with _refusals(self._part):
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            for name, numbers in ((_DIGESTS, digests), (_LENGTHS, lengths)):
                with (self._part / name).open("wb") as file:
                    np.save(file, numbers)
                    file.flush()
                    os.fsync(file.fileno())
            (self._part / _HEADER).write_text(json.dumps(_header(forms, len(digests))), encoding="utf-8")
            self._part.rename(final)
        segment = _open(final, forms)
        if segment is None:
            raise SaveError(f"{final}: what was written cannot be read back")
        self._store.segments.append(segment)

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._part is not None:
            for file in self._files:
                with contextlib.suppress(OSError):
                    file.close()
            shutil.rmtree(self._part, ignore_errors=True)


def make_room(folder: Path, needed: int, limit: int, keep: Path) -> bool:
    """Delete the segments used longest ago until ``needed`` more bytes fit below ``limit``; False where they cannot.

    Those below ``keep`` stay. Never takes more than half of the disk's free room. Segments that others delete at the
    same moment do no harm.
    """
    segments: list[tuple[float, int, Path]] = []
    for path in (path for key in _inside(folder) for path in _inside(key)):
        with contextlib.suppress(OSError):
            changed = path.stat().st_mtime
            if path.name.endswith(".part"):
                if time.time() - changed > _ABANDONED:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            segments.append((changed, sum(file.stat().st_size for file in path.iterdir()), path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free // 2
    except OSError:
        return False
    used = sum(size for _, size, _ in segments)
    others = sorted(segment for segment in segments if segment[2].parent != keep)
    freed = sum(size for _, size, _ in others)
    if used - freed + needed > limit or needed > free + freed // 2:
        return False
    for _, size, path in others:
        if used + needed <= limit and needed <= free:
            break
        # Under another name first: what is half deleted must not look like a segment.
        hidden = path.with_name(f".{path.name}.part")
        with contextlib.suppress(OSError):
            path.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        used -= size
        free += size // 2
    return used + needed <= limit and needed <= free


def _inside(folder: Path) -> list[Path]:
    """What stands in a folder; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _open(path: Path, forms: Sequence[Form]) -> Segment | None:
    """The segment at a path; None where it is not whole, of other forms, or gone."""
    try:
        header = json.loads((path / _HEADER).read_text(encoding="utf-8"))
        digests, lengths = _array(path / _DIGESTS), _array(path / _LENGTHS)
        if header != _header(forms, len(digests)) or len(lengths) != len(digests) or not len(digests):
            return None
        values, mapped = [], []
        for number, form in enumerate(forms):
            numbers = _numbers(form, lengths)
            file = path / f"{number}.bin"
            if file.stat().st_size != numbers * form.dtype.itemsize:
                return None
            with file.open("rb") as opened:
                mapped.append(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY))
            values.append(torch.frombuffer(mapped[-1], dtype=form.dtype, count=numbers))
    except (OSError, ValueError, RuntimeError):
        return None
    # The time of the last use decides what goes first; of what others own, they decide.
    with contextlib.suppress(OSError):
        os.utime(path)
    return Segment(forms, digests.astype(DIGEST), lengths, values, mapped)


def _array(path: Path) -> np.ndarray:
    # Not np.load, which takes a damaged file for one of other kinds.
    with path.open("rb") as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(forms: Sequence[Form], rows: int) -> dict[str, object]:
    return {"rows": rows, "forms": [[list(form.axes), str(form.dtype), form.parts] for form in forms]}


def _numbers(form: Form, lengths: np.ndarray) -> int:
    """How many numbers rows of these lengths have."""
    return int(lengths.sum() if "length" in form.axes else len(lengths)) * int(np.prod(form.shape(1, 1)))


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SaveError(f"{path} cannot be written: {error}") from error

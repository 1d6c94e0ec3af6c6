"""The frozen beginning of a model, computed once: by whom its outputs are kept, found again and trusted.

What is stored is keyed by content: the frozen weights, the architecture, the arithmetic and the versions of the
libraries make the key of a store; what the model reads of a row (its token numbers) makes the key of the row in it.
So epochs, stages, seeds and runs share what is equal, and nothing stale can be found.
"""

import hashlib
import json
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import psutil
import torch
import transformers
from torch import Tensor, nn

from whet.core import Batch, Examples, Mask, Ragged
from whet.data.batch import sorted_batches
from whet.engine.arithmetic import Precision
from whet.engine.cut import Probe, find_prefix, reads_as_found
from whet.engine.device import tokens_at_once
from whet.engine.job import Job
from whet.engine.predict import flat
from whet.engine.replay import NoCutError, Prefix
from whet.engine.store import DIGEST, Store, Writer, make_room
from whet.errors import RecipeError, SaveError
from whet.events import NotStored, Stored, Storing
from whet.model.freeze import frozen_depth
from whet.model.parts import architecture

Side: TypeAlias = Literal["train", "validation"]

WORTHWHILE = 0.1
"""Least share of a forward pass for which outputs are stored."""

OFTEN = 1.5
"""How often rows have to be read at least for some layers' outputs to be stored unasked; those of all layers always
are, as they are few numbers and are computed in large batches."""

MEMORY = 0.25
"""Largest share of the free memory that outputs may take where there is no room on the disk."""

DRAWS = 200
"""Rows that are tried for a small batch that tells two lengths apart."""

STOPPED = "a stop was requested"

TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}
"""Relative distance of stored and fresh outputs that is rounding: their batches differ."""


FOLDER, LIMIT = "WHET_CACHE", "WHET_CACHE_GB"
"""Environment variables: where outputs are kept, and how many gigabytes of them."""
GIGABYTES = 10.0


def cache_folder() -> Path:
    """Where this user keeps outputs of frozen layers, and what was measured of this machine."""
    if given := os.environ.get(FOLDER):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whet"


def cache_limit() -> int:
    """Bytes of outputs that this user keeps; raises RecipeError where the variable holds no number."""
    given = os.environ.get(LIMIT, "")
    try:
        gigabytes = float(given) if given else GIGABYTES
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise RecipeError(f"{LIMIT}: '{given}' is no number of gigabytes; set one, such as 10, or unset it")
    return int(gigabytes * 1e9)


@dataclass(frozen=True)
class Cached:
    """A model whose frozen beginning is read instead of computed."""

    prefix: Prefix
    store: Store
    places: Mapping[Side, np.ndarray]
    """(N, 2) where the outputs of every row are."""

    def forward(self, side: Side, batch: Batch, lengths: np.ndarray, indices: np.ndarray) -> Any:
        """The model's outputs for a batch; ``lengths`` and ``indices`` are those of its rows."""
        device = next(iter(batch.inputs.values())).device
        values = [value.to(device) for value in self.store.gather(self.places[side][indices], int(lengths.max()))]
        return self.prefix.replay(batch.inputs, lengths, values)


def open_cache(
    job: Job, mask: Mask, used: Mapping[Side, np.ndarray], step: int, passes: float = OFTEN
) -> Generator[Storing | Stored | NotStored, None, Cached | None]:
    """Store what the frozen layers return for the rows in ``used``, unless it is stored already.

    Training rows will be read ``passes`` times, on the average. The model is in the modes of training with this mask.
    Returns None where nothing can be stored, which is told where layers are frozen, and where a stop was requested
    meanwhile. Several processes share the rows that go to the disk; what one of them cannot use none of them uses.
    """
    depth = frozen_depth(job.parts, mask)
    if not depth or job.settings.cache == "off":
        return None
    if job.augmentation is not None:
        yield NotStored(step, "augment changes the training rows in every epoch")
        return None
    if job.settings.cache == "auto" and passes < OFTEN and depth < len(job.parts.blocks):
        yield NotStored(step, "each row is read about once while these layers are frozen")
        return None
    started = time.perf_counter()
    prefix, refusal = _find_prefix(job, mask)
    if prefix is None:
        yield NotStored(step, refusal)
        return None
    key = prefix_key(job.model, mask, prefix, job.arithmetic.key)
    digests = {side: row_digests(_examples(job, side), rows) for side, rows in used.items()}
    lengths = {side: _examples(job, side).lengths[rows] for side, rows in used.items()}
    store, refusal = _choose_store(job, prefix, key, digests, lengths)
    if store is None:
        yield NotStored(step, refusal)
        return None
    reused = sum(int((store.find(part)[:, 0] >= 0).sum()) for part in digests.values())
    for side in used:
        outcome = yield from _fill(job, prefix, store, side, used[side], digests[side], step)
        if outcome == STOPPED:
            return None
        if outcome:
            yield NotStored(step, outcome)
            return None
        if job.processes.count > 1 and store.folder is not None:
            store = Store(prefix.stored, store.folder)
    places = {side: np.full((len(_examples(job, side)), 2), -1, dtype=np.int64) for side in used}
    for side, rows in used.items():
        places[side][rows] = store.find(digests[side])
    cached = Cached(prefix, store, places)
    if refusal := _agreed(job, _distrust(job, cached, used)):
        yield NotStored(step, refusal)
        return None
    count = sum(len(part) for part in used.values())
    size = sum(store.bytes_of(part) for part in lengths.values())
    seconds = time.perf_counter() - started
    yield Stored(step, depth, len(job.parts.blocks), count, reused, size, store.folder, prefix.share, seconds)
    return cached


def _agreed(job: Job, refusal: str) -> str:
    """The first process's refusal that has one; empty where all are content."""
    return next((told for told in job.processes.gather(refusal) if told), "")


def _find_prefix(job: Job, mask: Mask) -> tuple[Prefix | None, str]:
    """What can be computed once and for all, or why nothing is."""
    prefix, refusal = None, ""
    try:
        with job.arithmetic.active(job.device):
            prefix = find_prefix(job.model, mask, _probes(job))
        if prefix.share < WORTHWHILE:
            refusal = f"the frozen layers are only {prefix.share:.0%} of the work"
    except NoCutError as error:
        refusal = str(error)
    refusal = _agreed(job, refusal)
    return None if refusal else prefix, refusal


def prefix_key(model: nn.Module, mask: Mask, prefix: Prefix, arithmetic: str) -> str:
    """What the stored outputs depend on besides the row: every frozen number, the architecture, the arithmetic."""
    digest = hashlib.sha256()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    forms = [[list(form.axes), str(form.dtype), form.parts] for form in prefix.stored]
    told: dict[str, object] = {
        "model": architecture(model),
        "versions": versions,
        "arithmetic": arithmetic,
        "forms": forms,
    }
    told |= {"reads": prefix.reads, "modules": prefix.modules, "sources": prefix.sources}
    digest.update(json.dumps(told, sort_keys=True).encode())
    # Statistics of a norm that trains change with every step, and lie behind what is stored.
    trained = {name.rpartition(".")[0] for name in mask}
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if name.rpartition(".")[0] not in trained]
    for name, tensor in [*model.named_parameters(), *buffers]:
        if name not in mask:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def row_digests(examples: Examples, rows: np.ndarray) -> np.ndarray:
    """(len(rows),) what the model reads of each row, in 16 bytes."""
    columns = [(name.encode(), examples.inputs[name]) for name in sorted(examples.inputs)]
    reading = examples.reading.encode()
    return np.array([_row_digest(reading, columns, int(row)) for row in rows], dtype=DIGEST)


def _row_digest(reading: bytes, columns: list[tuple[bytes, Ragged]], row: int) -> bytes:
    digest = hashlib.blake2b(reading, digest_size=DIGEST.itemsize)
    for name, values in columns:
        numbers = values[row]
        digest.update(b"%s %s %d " % (name, numbers.dtype.str.encode(), len(numbers)))
        digest.update(numbers.data)
    return digest.digest()


def _examples(job: Job, side: Side) -> Examples:
    return job.train if side == "train" else job.validation


def _probes(job: Job) -> tuple[Probe, Probe]:
    """Two rows and three rows, whose longest differ where any do."""
    for values in job.train.inputs.values():
        if len(np.unique(values.lengths)) > 1 and (values.lengths != job.train.lengths).any():
            few, many = _apart(job.train.lengths, values.lengths)
            return _probe(job, job.train, few), _probe(job, job.train, many)
    order = np.argsort(job.train.lengths, kind="stable")
    middle = order[len(order) // 2 :][:3]
    longest = job.train.lengths[middle].max()
    few, examples = order, job.train
    # Training rows that are cut to a limit may all have its length, and validation rows may not.
    for side in (job.validation, job.train):
        others = np.flatnonzero(side.lengths != longest)
        if len(others):
            few, examples = others[np.argsort(side.lengths[others], kind="stable")][-2:], side
    return _probe(job, examples, np.resize(few, 2)), _probe(job, job.train, np.resize(middle, 3))


def _apart(lengths: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two rows and three rows whose longest differ in both lengths, and of which neither can be taken for the other.

    A model that reads two sequences returns tensors as long as the one and as long as the other.
    """
    generator = np.random.default_rng(0)
    uneven = np.flatnonzero(lengths != others)
    best, found = -1, (uneven[:2], uneven[:3])
    for _ in range(DRAWS):
        few, many = generator.choice(uneven, 2), generator.choice(len(lengths), 3)
        sides = [(int(side[few].max()), int(side[many].max())) for side in (lengths, others)]
        told = sum(a != b for a, b in sides) + (sides[0] != sides[1])
        if told > best:
            best, found = told, (few, many)
        if best == 3:
            break
    return found


def _probe(job: Job, examples: Examples, rows: np.ndarray) -> Probe:
    batch = job.task.collate(examples, rows).to(job.device)

    def observe(outputs: Any) -> list[Tensor]:
        return [job.task.loss(outputs, batch), torch.from_numpy(flat(job.task.predict(outputs, batch)[0]))]

    return Probe(batch.inputs, examples.lengths[rows], observe)


def _choose_store(
    job: Job, prefix: Prefix, key: str, digests: Mapping[Side, np.ndarray], lengths: Mapping[Side, np.ndarray]
) -> tuple[Store | None, str]:
    """A store that can hold the rows, or why there is none."""
    folder = job.cache_folder if job.settings.cache == "auto" else None
    if folder is not None:
        store = Store(prefix.stored, folder / key)
        missing = sum(store.bytes_of(lengths[side][store.find(digests[side])[:, 0] < 0]) for side in digests)
        # What stays and what goes is decided once.
        if job.processes.on_main(lambda: not missing or make_room(folder, missing, job.cache_limit, keep=folder / key)):
            return store, ""
    store = Store(prefix.stored, None)
    # In memory every process keeps all rows.
    needed = sum(store.bytes_of(part) for part in lengths.values()) * job.processes.count
    room = job.processes.broadcast(psutil.virtual_memory().available * MEMORY)
    if needed <= room:
        return store, ""
    return None, (
        f"the outputs take {needed / 1e9:.1f} GB, and neither {LIMIT} with the free disk nor a quarter of the free "
        f"memory ({room / 1e9:.1f} GB) holds them"
    )


def _fill(
    job: Job, prefix: Prefix, store: Store, side: Side, rows: np.ndarray, digests: np.ndarray, step: int
) -> Generator[Storing, None, str]:
    """Compute and store what is missing of some rows; returns why it was not done, empty where it was."""
    missing = np.flatnonzero(store.find(digests)[:, 0] < 0)
    # Rows that read alike are computed once.
    missing = missing[np.unique(digests[missing], return_index=True)[1]]
    if job.processes.count > 1 and store.folder is not None:
        # As the first process sees the folder: another run may be writing to it.
        missing = job.processes.broadcast(missing)[job.processes.rank :: job.processes.count]
    outcome = ""
    if len(missing):
        try:
            outcome = yield from _write(job, prefix, store, side, rows[missing], digests[missing], step)
        except (NoCutError, SaveError) as error:
            outcome = str(error)
    return _agreed(job, outcome)


def _write(
    job: Job, prefix: Prefix, store: Store, side: Side, rows: np.ndarray, digests: np.ndarray, step: int
) -> Generator[Storing, None, str]:
    """Compute rows and store them as one segment; as ``_fill``."""
    examples = _examples(job, side)
    lengths = examples.lengths[rows]
    writer = Writer(store, lengths)
    done = 0
    try:
        for chosen in sorted_batches(lengths, tokens_at_once(job.device)):
            if job.stop.reason is not None:
                break
            batch = _probe(job, examples, rows[chosen])
            with torch.inference_mode(), job.arithmetic.active(job.device):
                outputs = prefix.outputs(batch.inputs, batch.lengths)
                if not reads_as_found(prefix, batch, outputs):
                    raise NoCutError("which position of a row is read depends on what stands there")
            writer.add(digests[chosen], lengths[chosen], outputs)
            done += len(chosen)
            yield Storing(step, done, len(rows))
        if done:
            writer.finish()
    except BaseException:
        writer.abandon()
        raise
    if not done:
        writer.abandon()
    return "" if done == len(rows) else STOPPED


def _distrust(job: Job, cached: Cached, used: Mapping[Side, np.ndarray]) -> str:
    """Why stored outputs are not to be read; empty where they are what the frozen layers return."""
    if any((cached.places[side][rows] < 0).any() for side, rows in used.items()):
        return "outputs that other processes have stored are not to be found; have they one file system?"
    try:
        trusted = _trusted(job, cached, used["train"])
    except NoCutError as error:
        return str(error)
    return "" if trusted else "outputs depend on the rows beside them in the batch"


def _trusted(job: Job, cached: Cached, rows: np.ndarray) -> bool:
    """Are the stored outputs of a few rows, short and long ones, what the frozen layers return in another batch?"""
    order = rows[np.argsort(job.train.lengths[rows], kind="stable")]
    few = np.unique(np.concatenate([order[:2], order[len(order) // 2 :][:1], order[-1:]]))
    lengths = job.train.lengths[few]
    batch = job.task.collate(job.train, few).to(job.device)
    with torch.inference_mode(), job.arithmetic.active(job.device):
        fresh = cached.prefix.outputs(batch.inputs, lengths)
    stored = cached.store.gather(cached.places["train"][few], int(lengths.max()))
    real = torch.from_numpy(np.arange(int(lengths.max())) < lengths[:, None])
    for form, a, b in zip(cached.prefix.stored, stored, fresh, strict=True):
        found, expected = (t.cpu()[real] if "length" in form.axes else t.cpu() for t in (a, b))
        distance = float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-30))
        if not distance <= TOLERANCE[job.arithmetic.precision]:
            return False
    return True

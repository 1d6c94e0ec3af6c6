"""Kills runs of whet at random moments, resumes them, and compares what comes out with a run that was never killed.

    python bench/kills.py --kills 100

Needs the embedded model, a CPU, and no network. Every run is `python -m whet train` or `whet resume` on a few rows and
is ended with SIGKILL: at any moment of it, inside a save (while a `.part` folder lies below checkpoints/), right after
its folder was made, while it stores outputs of frozen layers, or while it finishes. What remains is resumed, perhaps
killed again, and so on; when the run has finished, all tensors of its model and its scores must be those of the
uninterrupted run, bit for bit.

A run that is killed before its folder has a recipe is begun anew. A run that is killed after it has finished counts no
kill. The plan of the kills follows from --seed; what the processes have done by then depends on the machine.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "examples" / "data" / "support_messages.csv"
METHODS = ("full", "lora", "last_blocks")
OPTIONS = {"epochs": 2, "batch_size": 8, "evaluate_every": 3, "checkpoint_every": 2}
"""Small, and saved often; the evaluations and the saves fall on different steps."""
MOMENTS = {"any": 6, "save": 8, "start": 1, "store": 2, "end": 1}
"""When a process is killed, and how often one is drawn beside the others."""
MOST = 6
"""Kills of one run, after which it is left alone."""
PARTS = 5
"""A kill inside a save waits for the first to the fifth folder that is being written or deleted."""
START, STORE, END = 0.1, 0.5, 2.0
"""Seconds in which a kill falls after the folder of the run, of stored outputs, and of the model was made."""
POLL = 0.0005
"""Seconds between two looks at a folder."""
LIMIT = 1200.0
"""Seconds after which a process is stuck."""


@dataclass(frozen=True)
class Setting:
    """What all runs of a method share."""

    method: str
    rows: Path
    scratch: Path

    def folder(self, name: str) -> Path:
        """Where a run of this name lies."""
        return self.scratch / f"{self.method}-{name}"

    def command(self, folder: Path) -> list[str]:
        """What begins a run, or goes on with it where there is one."""
        if folder.exists():
            return ["resume", str(folder), "--quiet"]
        options = [word for key, value in OPTIONS.items() for word in ("--set", f"training.{key}={value}")]
        return ["train", str(self.rows), "--method", self.method, "--out", str(folder), "--quiet", *options]


@dataclass(frozen=True)
class Whole:
    """A run that was not killed."""

    folder: Path
    cache: Path
    seconds: float
    """Of the whole process."""
    save: float
    """Seconds of one of its saves."""


@dataclass(frozen=True)
class Plan:
    """When to kill a process."""

    moment: str
    parts: int
    """Which folder that is written or deleted is waited for, counted from 1."""
    share: float
    """Where in the stretch of time that belongs to the moment, from 0 to 1."""

    @classmethod
    def draw(cls, generator: random.Random) -> "Plan":
        """A random one; always as many numbers are drawn."""
        (moment,) = generator.choices(list(MOMENTS), list(MOMENTS.values()))
        return cls(moment, generator.randint(1, PARTS), generator.random())


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    killed: bool
    """By us, before the run had finished."""
    inside: bool
    """It was killed while it wrote or deleted a checkpoint."""
    seconds: float


@dataclass
class Tally:
    """What happened to the runs of a method."""

    method: str
    kills: int = 0
    inside: int = 0
    """Kills of these that fell inside a save."""
    processes: int = 0
    anew: int = 0
    """Runs that were begun anew because their folder had no recipe yet."""
    runs: int = 0
    """Runs that came to their end and were compared."""
    differences: list[str] = field(default_factory=list)


def finished(folder: Path) -> bool:
    """Whether a run came to its end; its metrics are written last."""
    return (folder / "metrics.json").is_file()


def parts(folder: Path) -> frozenset[str]:
    """Name of every checkpoint that is being written or deleted, or was when a process died."""
    try:
        return frozenset(path.name for path in (folder / "checkpoints").iterdir() if path.suffix == ".part")
    except FileNotFoundError:
        return frozenset()


def _dated(folder: Path) -> dict[str, int]:
    """The same, while no process runs, with the time of the last change."""
    return {name: (folder / "checkpoints" / name).stat().st_ctime_ns for name in parts(folder)}


def run_whole(setting: Setting, name: str = "whole", measured: Path | None = None) -> Whole:
    """Run without a kill and take the times; raises SystemExit where the run fails."""
    folder, cache = setting.folder(name), _fresh_cache(setting, name, measured)
    begun: dict[str, float] = {}
    saves: list[float] = []

    def look() -> bool:
        now, present = time.perf_counter(), parts(folder)
        saves.extend(now - begun.pop(name) for name in begun.keys() - present)
        begun.update(dict.fromkeys(present - begun.keys(), now))
        return False

    started = time.perf_counter()
    with _started(setting, folder, cache) as process:
        _until(look, process)
    seconds = time.perf_counter() - started
    if process.returncode or not finished(folder):
        raise SystemExit(f"the uninterrupted run failed: {_said(folder)}")
    # Saves and deletions take turns, and deletions are short.
    return Whole(folder, cache, seconds, sorted(saves)[3 * len(saves) // 4] if saves else 0.0)


def run_killed(setting: Setting, folder: Path, cache: Path, plan: Plan | None, whole: Whole) -> Ended:
    """Begin a run, or go on with it, and kill the process as planned; without a plan it comes to its end."""
    before = _dated(folder)
    started = time.perf_counter()
    with _started(setting, folder, cache) as process:
        if plan is not None and _until(_sight(plan, folder, cache), process):
            stretches = {"any": whole.seconds, "save": whole.save, "start": START, "store": STORE, "end": END}
            end = time.perf_counter() + plan.share * stretches[plan.moment]
            _until(lambda: time.perf_counter() >= end, process)
            process.kill()
        else:
            _until(lambda: False, process)
    killed = plan is not None and process.returncode == -signal.SIGKILL and not finished(folder)
    inside = killed and bool(_dated(folder).items() - before.items())
    return Ended(process.returncode, killed, inside, time.perf_counter() - started)


def _sight(plan: Plan, folder: Path, cache: Path) -> Callable[[], bool]:
    """What is waited for before the stretch of time begins in which the kill falls."""
    present, seen = parts(folder), 0

    def nth_part() -> bool:
        nonlocal present, seen
        before, present = present, parts(folder)
        seen += len(present - before)
        return seen >= plan.parts

    sights: dict[str, Callable[[], bool]] = {
        "any": lambda: True,
        "save": nth_part,
        "start": folder.exists,
        "store": lambda: _stores(cache),
        "end": (folder / "model").exists,
    }
    return sights[plan.moment]


def _until(seen: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Look until something is seen; False where the process ends before. Raises SystemExit where nothing happens."""
    deadline = time.monotonic() + LIMIT
    while process.poll() is None:
        if seen():
            return True
        if time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"a process did not end within {LIMIT:.0f} seconds: {process.args!r}")
        time.sleep(POLL)
    return False


def _started(setting: Setting, folder: Path, cache: Path) -> subprocess.Popen[bytes]:
    """A process that runs this checkout's whet, without accelerator and network; what it says goes to a file."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "WHET_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "whet", *setting.command(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=setting.scratch,
            env=environment,
        )


def _said(folder: Path) -> str:
    """The last of what the processes of a run said."""
    said = folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace")[-600:]
    return " ".join(said.split())


def _stores(cache: Path) -> bool:
    return any(path.is_dir() for path in cache.iterdir())


def _fresh_cache(setting: Setting, name: str, measured: Path | None) -> Path:
    """A cache without stored outputs, with what was measured of the machine where ``measured`` holds that.

    Two new runs may else choose another arithmetic, and would differ without any kill.
    """
    cache = setting.folder(f"{name}-cache")
    cache.mkdir()
    for file in measured.iterdir() if measured else ():
        if file.is_file():
            shutil.copy(file, cache)
    return cache


def difference(whole: Path, other: Path) -> str | None:
    """The first thing in which the models or the scores of two finished runs differ; None where they are the same."""
    one, two = (
        {path.name: load_file(path) for path in sorted((run / "model").glob("*.safetensors"))} for run in (whole, other)
    )
    if not one or one.keys() != two.keys():
        return f"model/ holds {sorted(two)} instead of {sorted(one)}"
    for file, tensors in one.items():
        if tensors.keys() != two[file].keys():
            return f"{file}: other tensors: {sorted(tensors.keys() ^ two[file].keys())[:3]}"
        for name, tensor in tensors.items():
            if not same_bits(tensor, two[file][name]):
                return f"{file}: {name} {_distance(tensor, two[file][name])}"
    scores: list[dict[str, Any]] = [
        json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in (whole, other)
    ]
    for side in ("validation", "test"):
        if not scores[0][side] or scores[0][side] != scores[1][side]:
            return f"metrics.json: {side} is {scores[1][side]} instead of {scores[0][side]}"
    return None


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same to the last bit."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def _distance(one: Tensor, other: Tensor) -> str:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f"is {other.dtype} {tuple(other.shape)} instead of {one.dtype} {tuple(one.shape)}"
    apart = (one.double() - other.double()).abs()
    return f"differs in {int((apart != 0).sum())} of {one.numel()} numbers, by up to {float(apart.max()):.2g}"


def run_broken(setting: Setting, name: str, whole: Whole, tally: Tally, generator: random.Random, kills: int) -> None:
    """One run that is killed up to so many times, resumed to its end, and compared with the whole one."""
    folder, cache, left = setting.folder(name), _fresh_cache(setting, name, whole.cache), kills
    while not finished(folder):
        verb = setting.command(folder)[0]
        plan = _fitting(Plan.draw(generator), verb, whole, cache) if left else None
        ended = run_killed(setting, folder, cache, plan, whole)
        tally.processes += 1
        if ended.killed and plan is not None:
            left -= 1
            tally.kills += 1
            tally.inside += ended.inside
            where = "inside a save" if ended.inside else "outside of saves"
            print(f"  {folder.name}: {verb} killed {where} after {ended.seconds:.2f} s ({plan.moment})", flush=True)
            if not (folder / "recipe.yaml").is_file():
                print(f"  {folder.name}: has no recipe yet, so it is begun anew", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
                tally.anew += 1
        elif not finished(folder):
            tally.differences.append(f"{folder.name}: {verb} ended with {ended.code}: {_said(folder)}")
            return
    tally.runs += 1
    found = difference(whole.folder, folder)
    print(f"  {folder.name}: finished, {found or 'bit-equal'}", flush=True)
    if found:
        tally.differences.append(f"{folder.name}: {found}")
        return
    for done in (folder, cache):
        shutil.rmtree(done)


def _fitting(plan: Plan, verb: str, whole: Whole, cache: Path) -> Plan:
    """The plan, at any moment where its own one has passed already or never comes."""
    passed = {"start": verb == "resume", "store": _stores(cache) or not _stores(whole.cache)}
    return replace(plan, moment="any") if passed.get(plan.moment) else plan


def torment(method: str, kills: int, rows: Path, scratch: Path, seed: int) -> Tally:
    """So many kills of runs of a method; ends early at the first difference."""
    setting, tally = Setting(method, rows, scratch), Tally(method)
    whole = run_whole(setting)
    # Where two whole runs differ already, no kill is to blame.
    again = run_whole(setting, "again", whole.cache)
    # The first run measured the machine.
    whole = replace(whole, seconds=min(whole.seconds, again.seconds), save=min(whole.save, again.save))
    print(f"{method}: uninterrupted {whole.seconds:.1f} s, save {whole.save:.2f} s", flush=True)
    if found := difference(whole.folder, again.folder):
        tally.differences.append(f"two uninterrupted runs differ: {found}")
    number = 0
    while tally.kills < kills and not tally.differences:
        number += 1
        generator = random.Random(f"{seed} {method} {number}")
        run_broken(setting, str(number), whole, tally, generator, min(MOST, kills - tally.kills))
    return tally


def write_rows(path: Path, count: int, seed: int) -> Path:
    """Some of the bundled support messages."""
    with DATA.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *random.Random(seed).sample(rows, count)])
    return path


def table(tallies: list[Tally]) -> str:
    """One line for each method."""
    heads = ("method", "kills", "inside saves", "processes", "begun anew", "runs compared", "result")
    lines = [heads] + [
        (
            t.method,
            *map(str, (t.kills, t.inside, t.processes, t.anew, t.runs)),
            "; ".join(t.differences) or "all bit-equal",
        )
        for t in tallies
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads) - 1)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[-1]]) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of all methods together")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="a folder whose contents stay; a temporary one if not named")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whet-kills-") as temporary:
        scratch = (asked.scratch or Path(temporary)).resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        if any(scratch.iterdir()):
            raise SystemExit(f"{scratch} is not empty; name a new folder with --scratch")
        rows = write_rows(scratch / "rows.csv", asked.rows, asked.seed)
        counts = [len(range(i, asked.kills, len(asked.methods))) for i in range(len(asked.methods))]
        tallies = [torment(m, count, rows, scratch, asked.seed) for m, count in zip(asked.methods, counts, strict=True)]
    print(f"\n{table(tallies)}")
    sys.exit(any(tally.differences for tally in tallies))


if __name__ == "__main__":
    main()

"""What a comparison of eight methods costs beside one full fine-tune, and what its choice loses against trying all.

    python bench/compare.py --data DIR --sets sst2 trec --out compare.json

DIR holds a folder per data set with train.csv, test.csv and, where there is one, dev.csv. For each set ``whet train``
with method full runs before and after ``whet compare``, so that both sides of the ratio meet the same load; wall and
processor time are told. ``--exhaustive`` adds a comparison that drops nobody, whose best test score is what the choice
is measured against: its runs are the very runs of the other one. ``--trainer`` does the eight by hand with
``transformers.Trainer``, one process each; methods that the peer does not know are taken to cost what its lora costs.
What is in the file already is not measured again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from contenders import BATCH, MAX_LENGTH, Peer, Run, peer_answer, peer_command, whet_command
from rows import prepare

METHODS = ("full", "head", "last_blocks", "lora", "bitfit", "adapter", "lp_ft", "layernorm")
EPOCHS = 3
RATES = {"full": 5e-5, "lora": 6e-4, "head": 3e-3, "last_blocks": 2e-4}
"""Of the Trainer: whet's defaults, so that both take the same steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["sst2", "trec"])
    parser.add_argument("--rows", type=int, help="Training rows, of all; the other sides shrink alike.")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument("--trainer", action="store_true")
    parser.add_argument("--keep", type=Path, help="Where the folders of the comparisons go; nowhere if not named.")
    parser.add_argument("--out", type=Path, default=Path("compare.json"))
    arguments = parser.parse_args()
    known: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as scratch:
            files = prepare(arguments.data / name, Path(scratch) / "rows", arguments.rows)
            for key, command, folder in _jobs(name, files, Path(arguments.keep or scratch), arguments):
                if key not in known:
                    known[key] = _measured(command, folder, Path(scratch))
                    arguments.out.write_text(json.dumps(known, indent=1))
                    print(key, known[key], flush=True)
        _tell(name, known, arguments.methods)


def _jobs(
    name: str, files: dict[str, Path], keep: Path, arguments: argparse.Namespace
) -> list[tuple[str, list[str], Path | None]]:
    """What is to be measured, in this order: a name, the arguments of Python, and the folder that it leaves."""
    full = [keep / f"{name}-full-{number}" for number in (1, 2)]
    compared, exhaustive = keep / f"{name}-compare", keep / f"{name}-exhaustive"
    jobs: list[tuple[str, list[str], Path | None]] = [
        (f"{name} full 1", _full(files, full[0]), full[0]),
        (f"{name} compare", _compare(files, compared, arguments.methods), compared),
        (f"{name} full 2", _full(files, full[1]), full[1]),
    ]
    if arguments.exhaustive:
        command = [*_compare(files, exhaustive, arguments.methods), "--exhaustive"]
        jobs.append((f"{name} exhaustive", command, exhaustive))
    if arguments.trainer:
        for method, rate in RATES.items():
            peer = peer_command(Run(files, method, EPOCHS, 0), Peer("documented", rate))
            jobs.append((f"{name} trainer {method}", peer, None))
    return jobs


def _full(files: dict[str, Path], out: Path) -> list[str]:
    return whet_command(Run(files, "full", EPOCHS, 0), out)


def _compare(files: dict[str, Path], out: Path, methods: list[str]) -> list[str]:
    command = [
        "-m",
        "whet",
        "compare",
        str(files["train"]),
        "--methods",
        ",".join(methods),
        "--out",
        str(out),
        "--json",
    ]
    for setting in (
        f"data.validation={files['validation']}",
        f"data.test={files['test']}",
        "data.text=text",
        "data.label=label",
        "task.name=text_classification",
        f"task.max_length={MAX_LENGTH}",
        f"training.epochs={EPOCHS}",
        f"training.batch_size={BATCH}",
    ):
        command += ["--set", setting]
    return command


def _measured(command: list[str], folder: Path | None, scratch: Path) -> dict[str, Any]:
    """Seconds on the wall and of the processors, and what came out of it."""
    with tempfile.TemporaryDirectory(dir=scratch) as cache:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Nothing that was stored before helps.
            env={**os.environ, "WHET_CACHE": cache},
        )
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: dict[str, Any] = {"wall": round(wall, 1), "processor": round(processor, 1)}
    if folder is None:
        return found | {"test": peer_answer(done.stdout.decode())["test"]}
    told = json.loads(done.stdout)
    if "candidates" not in told:
        return found | {"test": told["test"]["accuracy"]}
    runs = {one["name"]: one["attempts"][0] for one in told["candidates"]}
    return found | {
        "best": told["verdict"]["best"],
        "cheapest": told["verdict"]["cheapest"],
        "tests": {name: run["test"]["accuracy"] for name, run in runs.items() if run["test"]},
        "steps": {name: run["step"] for name, run in runs.items()},
        "seconds": {name: round(run["seconds"], 1) for name, run in runs.items()},
    }


def _tell(name: str, known: dict[str, Any], methods: list[str]) -> None:
    """Print the two figures of a data set: what the comparison costs, and what its choice loses."""
    full = [known[key] for number in (1, 2) if (key := f"{name} full {number}") in known]
    compared = known.get(f"{name} compare")
    if not full or compared is None:
        return
    for clock in ("wall", "processor"):
        one = sum(run[clock] for run in full) / len(full)
        print(f"{name}: {clock} time of comparing {len(methods)} methods / of one full: {compared[clock] / one:.2f}")
    if exhaustive := known.get(f"{name} exhaustive"):
        best = max(exhaustive["tests"], key=lambda method: exhaustive["tests"][method])
        for chosen in dict.fromkeys((compared["best"], compared["cheapest"])):
            lost = 100 * (exhaustive["tests"][best] - exhaustive["tests"][chosen])
            print(f"{name}: test accuracy of the choice, {chosen}, is {lost:.2f} points below the best of all, {best}")
    peers = {method: known[key] for method in RATES if (key := f"{name} trainer {method}") in known}
    if "lora" in peers:
        for clock in ("wall", "processor"):
            by_hand = sum(peers.get(method, peers["lora"])[clock] for method in methods)
            print(f"{name}: {clock} time by hand with the Trainer / comparing: {by_hand / compared[clock]:.1f}")


if __name__ == "__main__":
    main()

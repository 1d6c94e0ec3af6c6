"""Gradual unfreezing and linear probing then full fine-tuning, with stored outputs of the frozen layers and without.

    python bench/stages.py --data DIR/sst2 --rows 480 --epochs 20 --pairs 3

Both sides are whet with the same schedule; one has ``training.cache=off``. They take turns in fresh processes, and the
first of a pair changes. Compared are the seconds of the stages in which layers are frozen, what is stored included, and
the accuracy on the test rows.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import rows as rows_of
from processes import run

METHODS = ("gradual", "lp_ft")
SIDES = ("train", "validation", "test")


def measure(files: dict[str, Path], method: str, epochs: int, seed: int, cache: bool, threads: int | None) -> list[Any]:
    """Seconds of each stage, its name, and the accuracy on the test rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        options = [*(f"data.{side}={files[side]}" for side in SIDES[1:]), f"training.epochs={epochs}", f"seed={seed}"]
        options += [] if cache else ["training.cache=off"]
        sets = [part for option in options for part in ("--set", option)]
        command = ["-m", "whet", "train", str(files["train"]), "--method", method, "--out", str(place / "run")]
        run([*command, "--quiet", *sets], place, threads=threads)
        stages: dict[str, float] = {}
        stage = ""
        for line in (place / "run" / "events.jsonl").read_text().splitlines():
            event = json.loads(line)
            stage = event["stage"] if event["event"] == "StageChanged" else stage
            if event["event"] in ("Step", "Stored", "Evaluated"):
                stages[stage] = stages.get(stage, 0.0) + event["seconds"]
        metrics = json.loads((place / "run" / "metrics.json").read_text())
        return [stages, metrics["test"]["accuracy"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.csv, test.csv and dev.csv")
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--threads", type=int, help="default: what is best")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = rows_of.prepare(asked.data.resolve(), Path(folder) / "rows", asked.rows)
        for method in asked.methods:
            ratios = []
            for seed in range(asked.pairs):
                order = (True, False) if seed % 2 == 0 else (False, True)
                found = {side: measure(files, method, asked.epochs, seed, side, asked.threads) for side in order}
                stored, computed = found[True], found[False]
                frozen = [name for name in stored[0] if name != "all"]
                with_cache, without = (sum(side[0][name] for name in frozen) for side in (stored, computed))
                ratios.append(without / with_cache)
                stages = ", ".join(f"{name} {computed[0][name]:.1f} -> {stored[0][name]:.1f} s" for name in frozen)
                print(
                    f"{method} seed {seed}: {ratios[-1]:.2f}x ({stages}); accuracy {computed[1]:.3f} -> {stored[1]:.3f}"
                )
            print(f"{method}: median {statistics.median(ratios):.2f}x", flush=True)


if __name__ == "__main__":
    main()

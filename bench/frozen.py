"""How much time stored outputs of a frozen body save on pictures and sounds: in a first run, and in the next ones.

    OMP_NUM_THREADS=1 python bench/frozen.py --data DIR --models DIR

DIR hold ants_bees/, cifar10_folder/ and esc10/, and the models that are named below. Each pair trains a head over some
epochs three times, one run after the other: nothing stored, stored for the first time, and found from the run before.
Reported are medians over the pairs of how many times faster the latter two are: in training (steps, evaluations,
storing) and in all (reading the rows and measuring the test rows and the baseline too).
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import whet

SETS = {
    "ants_bees": ("ants_bees", "mobilenetv2-0.35-224-imagenet-backbone"),
    "cifar10": ("cifar10_folder", "mobilenetv2-0.35-224-imagenet-backbone"),
    "esc10": ("esc10/metadata.csv", "yamnet-audioset"),
}
RUNS = {"off": "off", "first": "auto", "next": "auto"}
"""What each run of a pair is told of the cache."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True)
    add("--models", type=Path, required=True)
    add("--sets", nargs="+", default=list(SETS), choices=SETS)
    add("--epochs", type=int, default=5)
    add("--pairs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in asked.sets:
            data, model = asked.data / SETS[name][0], asked.models / SETS[name][1]
            recipe = {"data": str(data), "model": str(model), "method": "head", "training": {"epochs": asked.epochs}}
            # What is measured of the machine, and what is imported, belongs to no run.
            os.environ["WHET_CACHE"] = str(folder / "measured")
            _timed(recipe, "off", folder, steps=1)
            pairs = [_pair(recipe, folder) for _ in range(asked.pairs)]
            for part in ("training", "all"):
                ratios = {run: median(pair["off"][part] / pair[run][part] for pair in pairs) for run in RUNS}
                seconds = {run: median(pair[run][part] for pair in pairs) for run in RUNS}
                told = ", ".join(f"{run} {ratios[run]:.1f}x ({seconds[run]:.1f} s)" for run in RUNS)
                print(f"{name}, {asked.epochs} epochs, {part}: {told}", flush=True)
            parts = {run: {kind: median(p[run][kind] for p in pairs) for kind in pairs[0][run]} for run in RUNS}
            print(f"  rows {pairs[0]['off']['rows']:.0f}; seconds: {json.dumps(parts)}", flush=True)


def _pair(recipe: dict[str, Any], folder: Path) -> dict[str, dict[str, float]]:
    """Seconds of the runs of a pair, by what they went to."""
    stored = folder / "stored"
    shutil.copytree(folder / "measured", stored)
    os.environ["WHET_CACHE"] = str(stored)
    found = {run: _timed(recipe, cache, folder) for run, cache in RUNS.items()}
    shutil.rmtree(stored)
    return found


def _timed(recipe: dict[str, Any], cache: str, folder: Path, **training: Any) -> dict[str, float]:
    out, started = folder / "run", time.perf_counter()
    raw = {**recipe, "training": {**({} if training else recipe["training"]), "cache": cache, **training}}
    run = whet.train(raw, out=out, quiet=True)
    whole = time.perf_counter() - started
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    kinds = {kind: sum(e["seconds"] for e in events if e["event"] == kind) for kind in ("Step", "Evaluated", "Stored")}
    splits = json.loads((run.folder / "data.json").read_text())["splits"]
    rows = sum(split["rows"] for split in splits.values())
    shutil.rmtree(out)
    return {
        **kinds,
        "training": sum(kinds.values()),
        "all": whole,
        "rows": rows,
    }


if __name__ == "__main__":
    main()

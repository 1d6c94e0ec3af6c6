"""How long whet says that a run will take, before it begins and after its first steps, beside what it took.

    python bench/duration.py --data DIR

DIR holds sst2/ and trec/. The runs follow each other in fresh processes with one cache: each teaches the next one how
fast this machine is, and the first knows nothing. Run it on an idle machine; the seconds are those of steps,
evaluations and storing.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import rows as rows_of
from processes import run
from rich.console import Console
from rich.table import Table

EPOCHS = 2
RUNS = {
    "sst2": [
        *((method, 16) for method in ("full", "head", "lora", "last_blocks", "bitfit", "adapter", "lp_ft", "gradual")),
        *(("prefix", 16), ("full", 32), ("lora", 8)),
    ],
    "trec": [("full", 16), ("lora", 16), ("last_blocks", 16)],
}
"""Method and batch size of each run."""
NEAR = {"before": 20.0, "after": 5.0}
"""Per cent that are counted as near."""


def measure(files: dict[str, Path], method: str, batch_size: int, scratch: Path) -> dict[str, float]:
    """Seconds of a run, and by how many per cent they were foreseen to be more."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        out = Path(folder) / "run"
        options = [f"data.{side}={files[side]}" for side in ("validation", "test")]
        options += [f"training.epochs={EPOCHS}", f"training.batch_size={batch_size}"]
        sets = [part for option in options for part in ("--set", option)]
        # In one place, so that what is learnt of the machine stays; of stored outputs nothing does.
        for stored in (scratch / "caches" / "whet").glob("*/"):
            shutil.rmtree(stored)
        command = ["-m", "whet", "train", str(files["train"]), "--method", method, "--out", str(out), *sets]
        run(command, scratch, threads=None)
        metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    took, told = metrics["seconds"], metrics["predicted"]
    before, after = told["seconds"], told["seconds_after_first_steps"]
    return {"took": took, "before": 100 * (before / took - 1), "after": 100 * (after / took - 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=700, help="training rows of each set")
    asked = parser.parse_args()
    table = Table("set", "method", "batch", "took", "foreseen", "after first steps")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, runs in RUNS.items():
            files = rows_of.prepare(asked.data.resolve() / name, scratch / name, asked.rows)
            for method, batch_size in runs:
                one = measure(files, method, batch_size, scratch)
                found.append(one)
                errors = [f"{one[when]:+.0f} %" for when in NEAR]
                table.add_row(name, method, str(batch_size), f"{one['took']:.1f} s", *errors)
                print(f"{name} {method} {batch_size}: {one['took']:.1f} s, {' '.join(errors)}", flush=True)
    Console(width=100).print(table)
    for when, near in NEAR.items():
        sizes = [abs(one[when]) for one in found]
        count = sum(size <= near for size in sizes)
        print(f"{when}: median {statistics.median(sizes):.1f} %, within {near:.0f} %: {count} of {len(sizes)}")


if __name__ == "__main__":
    main()

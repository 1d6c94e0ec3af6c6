"""Time and memory of method head from ten thousand rows to a million: does the cost grow with the rows alone?

    python bench/many_rows.py --rows 10000 100000 1000000

Short texts are made up (4 to 9 words of a small vocabulary, two classes), so one epoch of the embedded model is mostly
its frozen body. Every number of rows is a fresh process. Peak memory is the largest resident size of the process; the
rate is rows of training by the seconds that the run tells, which hold the steps, the evaluation and what was stored.
"""

import argparse
import csv
import json
import random
import tempfile
from pathlib import Path

from processes import run

WORDS = {
    "good": ["bright", "lovely", "warm", "clever", "fresh", "kind"],
    "bad": ["dull", "broken", "cold", "noisy", "stale", "rude"],
}
FILLING = [
    "the",
    "a",
    "room",
    "film",
    "meal",
    "staff",
    "view",
    "price",
    "story",
    "was",
    "very",
    "quite",
    "today",
    "here",
]
VALIDATION = 500
SEED = 0


def make(path: Path, rows: int, seed: int) -> None:
    """A file of so many short texts with their class."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(rows):
            label = draw.choice(list(WORDS))
            words = [*draw.choices(FILLING, k=draw.randint(3, 7)), draw.choice(WORDS[label]), str(number + seed)]
            draw.shuffle(words)
            writer.writerow([" ".join(words), label])


def measure(rows: int, batch_size: int, threads: int | None) -> dict[str, float]:
    """Peak, seconds and size on the disk of one epoch over so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for side, count in (("train", rows), ("validation", VALIDATION), ("test", VALIDATION)):
            make(place / f"{side}.csv", count, seed={"train": 0, "validation": 10**8, "test": 2 * 10**8}[side])
        sides = [f"data.{side}={place / side}.csv" for side in ("validation", "test")]
        options = [*sides, "training.epochs=1", f"training.batch_size={batch_size}"]
        sets = [part for option in options for part in ("--set", option)]
        command = ["-m", "whet", "train", str(place / "train.csv"), "--method", "head", "--out", str(place / "run")]
        ended = run([*command, "--quiet", *sets], place, threads=threads)
        metrics = json.loads((place / "run" / "metrics.json").read_text())
        return {
            "rows": rows,
            "process_seconds": round(ended.seconds, 1),
            "run_seconds": metrics["seconds"],
            "peak_mb": round(ended.peak_bytes / 1e6),
            "accuracy": metrics["test"]["accuracy"],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, help="default: what is best")
    asked = parser.parse_args()
    print(f"{'rows':>9}  {'whole process':>13}  {'run':>8}  {'rows/s':>7}  {'peak':>8}  accuracy", flush=True)
    for rows in asked.rows:
        found = measure(rows, asked.batch_size, asked.threads)
        print(
            f"{rows:>9,}  {found['process_seconds']:>11,.1f} s  {found['run_seconds']:>6,.1f} s  "
            f"{rows / found['run_seconds']:>7,.0f}  {found['peak_mb']:>5,.0f} MB  {found['accuracy']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Test accuracy of whet beside transformers.Trainer on the same rows, model, epochs and batch size.

    python bench/accuracy.py --data DIR --seeds 0 1 2 --out accuracy.json

DIR holds a folder per data set with train.csv, test.csv and, where there is one, dev.csv. Every run is a process of its
own; whet and its peer alternate. The peer is tuned as an expert would: AdamW, linear decay after 10 % warm-up, rows
grouped by length, padding per batch, the best epoch by validation accuracy restored.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DATA_SETS = {"sst2": ("text", "label"), "trec": ("text", "label")}
EPOCHS, BATCH = 3, 16
PEER_RATES = (3e-5, 5e-5, 1e-4)
"""The peer's learning rate is the best of these on the validation rows of the first seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(DATA_SETS))
    parser.add_argument("--methods", nargs="+", default=["full", "lora"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("accuracy.json"))
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as scratch:
            files = split_once(arguments.data / name, Path(scratch))
            first, *others = arguments.seeds
            searched = {rate: peer(files, rate, first) for rate in PEER_RATES}
            rate = max(searched, key=lambda tried: searched[tried]["validation"])
            print(f"{name}: learning rate of the peer {rate}, from {searched}", flush=True)
            scores: dict[str, list[float]] = {"Trainer full": [searched[rate]["test"]]}
            for seed in arguments.seeds:
                for method in arguments.methods:
                    scores.setdefault(f"whet {method}", []).append(whet(files, method, seed, Path(scratch)))
                if seed in others:
                    scores["Trainer full"].append(peer(files, rate, seed)["test"])
                print(name, seed, scores, flush=True)
            results[name] = scores
    for name, scores in results.items():
        for who, values in scores.items():
            print(f"{name:8} {who:16} mean {statistics.mean(values):.4f}  {' '.join(f'{v:.4f}' for v in values)}")
    arguments.out.write_text(json.dumps(results, indent=1))


def split_once(folder: Path, scratch: Path) -> dict[str, Path]:
    """The same three files for both sides: a tenth of train is validation where there is no dev.csv."""
    files = {"train": folder / "train.csv", "validation": folder / "dev.csv", "test": folder / "test.csv"}
    if not files["validation"].is_file():
        with files["train"].open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
        for name, kept in (("train", [r for i, r in enumerate(rows) if i % 10]), ("validation", rows[::10])):
            files[name] = scratch / f"{name}.csv"
            with files[name].open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([header, *kept])
    return files


def whet(files: dict[str, Path], method: str, seed: int, scratch: Path) -> float:
    """Test accuracy of one run of whet with the method's own defaults."""
    out = scratch / f"{method}-{seed}"
    command = [
        sys.executable,
        "-m",
        "whet",
        "train",
        str(files["train"]),
        "--method",
        method,
        "--json",
        "--out",
        str(out),
    ]
    for setting in (
        f"data.validation={files['validation']}",
        f"data.test={files['test']}",
        "data.text=text",
        "data.label=label",
        f"training.epochs={EPOCHS}",
        f"training.batch_size={BATCH}",
        f"seed={seed}",
    ):
        command += ["--set", setting]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return float(json.loads(done.stdout)["test"]["accuracy"])


def peer(files: dict[str, Path], rate: float, seed: int) -> dict[str, float]:
    """Validation and test accuracy of one run of the Trainer."""
    given = json.dumps({"files": {name: str(path) for name, path in files.items()}, "rate": rate, "seed": seed})
    command = [sys.executable, str(Path(__file__).with_name("trainer_peer.py")), given]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    scores: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return scores


if __name__ == "__main__":
    main()

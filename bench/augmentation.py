"""Does augmentation help where rows are few? The same runs with and without it, over seeds that draw other rows.

    python bench/augmentation.py --data DIR

DIR holds sst2/ (train.csv, test.csv) and cifar10_folder/ (train/CLASS/, test/CLASS/). Every seed draws its own few
training rows; both sides get the same ones. Reported are the mean difference in test accuracy and its 95 % interval
over the seeds (Student's t), whether it helps or not.
"""

import argparse
import csv
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import whet

TEXT_CHANGES = {
    "swap, delete, typos": {"swap": 0.1, "delete": 0.1, "typos": 0.05},
    "synonyms": {"synonyms": 0.1},
}
PICTURE_CHANGES = {
    "flip, crop, colour": {"flip": 0.5, "crop": [0.6, 1.0], "colour": 0.3},
    "mixup": {"flip": 0.5, "mixup": 0.2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True)
    add("--picture-model", help="folder of an image model; without it only texts are measured")
    add("--seeds", type=int, default=5)
    add("--rows", type=int, default=100, help="training texts; 0 measures pictures only")
    add("--pictures", type=int, default=20, help="training pictures of each class")
    add("--epochs", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if asked.rows:
            texts = {
                seed: _texts(asked.data / "sst2", folder / f"texts-{seed}", asked.rows, seed)
                for seed in range(asked.seeds)
            }
            _compare(f"sst2, {asked.rows} rows", texts, TEXT_CHANGES, {"training": {"epochs": asked.epochs}}, folder)
        if asked.picture_model:
            pictures = {
                seed: _pictures(asked.data / "cifar10_folder", folder / f"pictures-{seed}", asked.pictures, seed)
                for seed in range(asked.seeds)
            }
            recipe = {"model": asked.picture_model, "training": {"epochs": asked.epochs}}
            _compare(f"cifar10, {asked.pictures} pictures a class", pictures, PICTURE_CHANGES, recipe, folder)


def _compare(
    name: str, data: Mapping[int, Any], changes: Mapping[str, Any], recipe: Mapping[str, Any], folder: Path
) -> None:
    plain = [_accuracy(told, seed, {}, recipe, folder) for seed, told in data.items()]
    print(f"{name}: without {np.mean(plain):.4f} ({', '.join(f'{one:.4f}' for one in plain)})", flush=True)
    for told, options in changes.items():
        changed = [_accuracy(rows, seed, options, recipe, folder) for seed, rows in data.items()]
        gains = np.array(changed) - np.array(plain)
        half = float(stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
        mean, half = 100 * gains.mean(), 100 * half
        gain = f"{mean:+.1f} points, 95 % interval {mean - half:+.1f} to {mean + half:+.1f}"
        print(f"  {told}: {np.mean(changed):.4f}, {gain}", flush=True)


def _accuracy(data: Mapping[str, str], seed: int, options: Any, recipe: Mapping[str, Any], folder: Path) -> float:
    out = folder / "run"
    run = whet.train({**recipe, "data": data, "method": "full", "augment": options, "seed": seed}, out=out, quiet=True)
    accuracy = float(run.test["accuracy"])
    shutil.rmtree(out)
    return accuracy


def _texts(source: Path, into: Path, count: int, seed: int) -> dict[str, str]:
    into.mkdir()
    with (source / "train.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    chosen = np.random.default_rng(seed).permutation(len(rows))
    for name, numbers in (("train", chosen[:count]), ("validation", chosen[count : 2 * count])):
        with (into / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *(rows[i] for i in numbers)])
    return {
        "train": str(into / "train.csv"),
        "validation": str(into / "validation.csv"),
        "test": str(source / "test.csv"),
        "text": "text",
        "label": "label",
    }


def _pictures(source: Path, into: Path, count: int, seed: int) -> dict[str, str]:
    draw = np.random.default_rng(seed)
    for kind in sorted((source / "train").iterdir()):
        files = sorted(kind.iterdir())
        chosen = draw.permutation(len(files))
        for side, numbers in (("train", chosen[:count]), ("validation", chosen[count : count + count // 2])):
            (into / side / kind.name).mkdir(parents=True)
            for i in numbers:
                shutil.copy(files[i], into / side / kind.name)
    shutil.copytree(source / "test", into / "test")
    return {"train": str(into)}


if __name__ == "__main__":
    main()

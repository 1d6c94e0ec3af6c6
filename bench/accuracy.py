"""Test accuracy of whet beside transformers.Trainer on the same rows, model, epochs and batch size.

    python bench/accuracy.py --data DIR --seeds 0 1 2 --out accuracy.json

DIR holds a folder per data set with train.csv, test.csv and, where there is one, dev.csv. Every run is a process of its
own; whet and its peer alternate. The peer is tuned as an expert would: AdamW, linear decay after 10 % warm-up, rows
grouped by length, padding per batch, the best epoch by validation accuracy restored.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from contenders import Peer, Run, peer_answer, peer_command, whet_command
from rows import prepare

DATA_SETS = ("sst2", "trec")
EPOCHS = 3
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
            files = prepare(arguments.data / name, Path(scratch) / "rows")
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


def whet(files: dict[str, Path], method: str, seed: int, scratch: Path) -> float:
    """Test accuracy of one run of whet with the method's own defaults."""
    command = whet_command(Run(files, method, EPOCHS, seed), scratch / f"{method}-{seed}")
    return float(json.loads(_output(command))["test"]["accuracy"])


def peer(files: dict[str, Path], rate: float, seed: int) -> dict[str, float]:
    """Validation and test accuracy of one run of the Trainer."""
    answer = peer_answer(_output(peer_command(Run(files, "full", EPOCHS, seed), Peer("tuned", rate))))
    return {name: answer[name] for name in ("validation", "test")}


def _output(command: list[str]) -> str:
    done = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode()


if __name__ == "__main__":
    main()

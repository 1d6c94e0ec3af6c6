"""What whet predicts that a run needs beside what it really takes, and beside what others predict.

    python bench/memory.py --out memory.json [--models minilm bert-base ...] [--limit 20]

Every run is a fresh process on the CPU, with cold caches but for the speed of this machine's products, of a few steps;
what it took is the largest resident size that the kernel saw, imports, saving, and the comparison of the saved model
included. Other load on the machine does not disturb it. Predictions are made before:

    arithmetic     ``whet plan``: from shapes alone, no weight is read
    measured       ``whet plan --measure``: a few steps over a half and a whole batch, in a process of their own
    accelerate     ``accelerate estimate-memory``, the line for fp32 and Adam
    rule of thumb  16 bytes for each number that trains and 4 for each frozen one

The models other than ``minilm`` have random weights in the shapes of BERT base, of a Llama of 0.5 billion numbers, of a
small ViT and of a ResNet-50. What was measured stands in a journal beside --out (.jsonl): a benchmark that was broken
off goes on there.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from processes import Journal, run
from rich.console import Console
from rich.table import Table

WORDS = ["the", "a", "film", "book", "day", "was", "so", "very", "good", "bad", "it", "and", "kind", "dull", "long"]
STEPS = 3
OTHERS = 16
"""Validation rows."""
TEXTS = {
    "minilm": [(8, 64), (16, 128), (32, 256)],
    "bert-base": [(4, 64), (8, 128), (16, 128)],
    "llama-0.5b": [(1, 64), (2, 128)],
}
PICTURES = {"vit-small": [(4, 224), (16, 224)], "resnet-50": [(4, 224), (16, 224)]}
METHODS = {
    "minilm": ["full", "head", "last_blocks", "lora", "bitfit", "adapter", "p_tuning", "ia3"],
    "bert-base": ["full", "head", "last_blocks", "lora", "bitfit", "layernorm", "qlora"],
    "llama-0.5b": ["head", "last_blocks", "lora", "qlora", "ia3"],
    "vit-small": ["full", "head", "last_blocks", "lora"],
    "resnet-50": ["full", "head", "last_blocks", "bitfit"],
}
WAYS = ("arithmetic", "measured", "accelerate", "rule")


@dataclass(frozen=True)
class Case:
    """One run."""

    model: str
    method: str
    batch: int
    length: int
    """Tokens of a row, or pixels a side."""


def cases(models: Sequence[str]) -> Iterator[Case]:
    """All of them, one shape after the other, so that a benchmark that is broken off has seen every model."""
    shapes = {**TEXTS, **PICTURES}
    for number in range(max(map(len, shapes.values()))):
        for model in models:
            for batch, length in shapes[model][number : number + 1]:
                yield from (Case(model, method, batch, length) for method in METHODS[model])


class Bench:
    """One call of the benchmark."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self.asked = asked
        self.scratch = scratch
        self.journal = Journal(asked.out.with_suffix(".jsonl"))
        self.folders: dict[str, Path] = {}
        self.speeds = self._speeds()

    def measure(self) -> list[dict[str, Any]]:
        """Everything that is not in the journal yet; ``--out`` is written anew after every run."""
        found: list[dict[str, Any]] = []
        for case in list(cases(self.asked.models))[: self.asked.limit]:
            of = asdict(case)
            try:
                predicted = {
                    "arithmetic": self.journal.once({"way": "arithmetic", **of}, partial(self._planned, case, False)),
                    "measured": self.journal.once({"way": "measured", **of}, partial(self._planned, case, True)),
                }
                taken = self.journal.once({"way": "taken", **of}, partial(self._taken, case))
            except SystemExit as error:
                print(f"{case}: {error}", flush=True)
                continue
            sizes = {way: told["bytes"] for way, told in predicted.items()}
            others = predicted["arithmetic"]
            found.append({**of, **sizes, "accelerate": others["accelerate"], "rule": others["rule"], **taken})
            errors = ", ".join(f"{way} {100 * (found[-1][way] / taken['taken'] - 1):+.1f} %" for way in WAYS)
            print(
                f"{case.model} {case.method} {case.batch} x {case.length}: {taken['taken'] / 1e6:.0f} MB; {errors}",
                flush=True,
            )
            self.asked.out.write_text(json.dumps(found, indent=1))
        return found

    def _recipe(self, case: Case) -> dict[str, Any]:
        data = self._texts(case) if case.model in TEXTS else self._pictures(case)
        model = {} if case.model == "minilm" else {"model": str(self._model(case.model))}
        lengths = {"max_length": case.length} if case.model in TEXTS else {}
        task = "text_classification" if case.model in TEXTS else "image_classification"
        return {
            "data": data,
            **model,
            "task": {"name": task, **lengths},
            "method": case.method,
            "training": {"batch_size": case.batch, "steps": STEPS},
        }

    def _speeds(self) -> Path:
        """What whet measures of this machine's arithmetic, once for all: it decides how attention is computed."""
        program = "from whet.engine.arithmetic import measured; from whet.engine.cache import cache_folder; "
        run(["-c", program + "measured(cache_folder())"], self.scratch / "speeds", threads=1)
        return self.scratch / "speeds" / "caches" / "whet" / "arithmetic.json"

    def _knowing(self, folder: Path) -> Path:
        """A cache that knows of the machine's arithmetic."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.speeds, folder)
        return folder

    def _planned(self, case: Case, measure: bool) -> dict[str, Any]:
        # Each way has a memory of its own: what the one measures of a process the other must not know.
        os.environ["WHET_CACHE"] = str(self._knowing(self.scratch / f"caches-{measure}"))
        from whet.verbs.plan import plan

        made = plan(self._recipe(case), methods=[case.method], measure=measure)
        if case.method in made.refused:
            raise SystemExit(made.refused[case.method])
        planned = made.methods[0]
        from whet.planning.memory import rule_of_thumb

        return {
            "bytes": planned.fit.memory.total,
            "terms": planned.fit.memory.terms,
            "estimated": planned.estimated,
            "rule": rule_of_thumb(planned.trainable, planned.total - planned.trainable),
            "accelerate": self._accelerate(case),
        }

    def _accelerate(self, case: Case) -> int:
        """The largest number of the line for fp32 in the table that it prints."""
        import torch
        from accelerate.commands.estimate import estimate_training_usage
        from accelerate.utils import calculate_maximum_sizes
        from transformers import AutoConfig, AutoModel

        with torch.device("meta"):
            model = AutoModel.from_config(AutoConfig.from_pretrained(self._model(case.model)))
        total, _ = calculate_maximum_sizes(model)
        return int(max(estimate_training_usage(total, "float32").values()))

    def _taken(self, case: Case) -> dict[str, Any]:
        """What a real run takes."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            place = Path(folder)
            recipe = place / "recipe.yaml"
            recipe.write_text(json.dumps(self._recipe(case)))
            self._knowing(place / "caches" / "whet")
            ended = run(["-m", "whet", "train", str(recipe), "--json", "--out", str(place / "run")], place, threads=1)
            metrics = json.loads((place / "run" / "metrics.json").read_text())
        return {"taken": ended.peak_bytes, "told": metrics["peak_memory_bytes"]}

    # models and rows

    def _model(self, name: str) -> Path:
        if name not in self.folders:
            made = run(
                [str(Path(__file__).parent / "shapes.py"), name, str(self.scratch / name)], self.scratch, threads=1
            )
            self.folders[name] = Path(made.output.splitlines()[-1])
        return self.folders[name]

    def _texts(self, case: Case) -> dict[str, Any]:
        generator = random.Random(0)
        files = {}
        for side, count in (("train", case.batch * STEPS), ("validation", OTHERS)):
            files[side] = self.scratch / f"{side}-{case.batch}-{case.length}.csv"
            rows = (" ".join(generator.choices(WORDS, k=case.length)) for _ in range(count))
            lines = [f"{text} {number},{('yes', 'no')[number % 2]}" for number, text in enumerate(rows)]
            files[side].write_text("\n".join(["text,label", *lines]) + "\n")
        return {**{side: str(path) for side, path in files.items()}, "test_share": 0.0}

    def _pictures(self, case: Case) -> dict[str, Any]:
        from PIL import Image

        folder = self.scratch / f"pictures-{case.batch}-{case.length}"
        generator = np.random.default_rng(0)
        if not folder.is_dir():
            for side, count in (("train", case.batch * STEPS), ("validation", OTHERS)):
                for number in range(count):
                    path = folder / side / ("yes", "no")[number % 2] / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    small = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                    Image.fromarray(small).resize((case.length, case.length)).save(path)
        return {"train": str(folder), "test_share": 0.0}


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each way: median and 95th percentile of the error, and how far it was too low at the worst."""
    told = {}
    for way in WAYS:
        errors = [one[way] / one["taken"] - 1 for one in found]
        size = [abs(error) for error in errors]
        told[way] = {
            "median": statistics.median(size),
            "percentile_95": float(np.percentile(size, 95)),
            "too_low": -min(0.0, min(errors)),
        }
    return told


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """Print the errors by model, and those of all runs."""
    table = Table(
        title=f"Errors of predicted peak memory in {len(found)} runs: median / 95th percentile / most too low"
    )
    for column in ("model", "runs", "taken", *WAYS):
        table.add_column(column, justify="left" if column == "model" else "right")
    groups = {
        name: [one for one in found if one["model"] == name] for name in dict.fromkeys(one["model"] for one in found)
    }
    for name, some in {**groups, "all": list(found)}.items():
        sizes = sorted(one["taken"] for one in some)
        cells = []
        for told in summary(some).values():
            cells.append(" / ".join(f"{100 * told[key]:.1f} %" for key in ("median", "percentile_95", "too_low")))
        table.add_row(name, str(len(some)), f"{sizes[0] / 1e9:.2f} to {sizes[-1] / 1e9:.2f} GB", *cells)
    Console(width=160).print(table)


def main() -> None:
    known = [*TEXTS, *PICTURES]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=known, choices=known)
    parser.add_argument("--limit", type=int, help="how many runs; all of them if not named")
    parser.add_argument("--scratch", type=Path, help="a folder that stays, for models and rows")
    asked = parser.parse_args()
    asked.out = asked.out.resolve()
    # Plans are made here for runs with one thread.
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="whet-memory-") as folder:
        scratch = (asked.scratch or Path(folder)).resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        found = Bench(asked, scratch).measure()
    if found:
        show(found)


if __name__ == "__main__":
    main()

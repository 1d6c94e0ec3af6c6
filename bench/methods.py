"""What every method learns on the same rows: test accuracy, time, memory, share that trains, size of what is left.

    python bench/methods.py --data DIR

DIR holds sst2/ and trec/ with train.csv, test.csv and, where there is one, dev.csv. Every run is a fresh process with
cold caches on the CPU, by default with one thread, with the method's own defaults and the embedded MiniLM. All methods
see the same training rows (of sst2 a seeded part of 2,000) and all validation and test rows; the seeds are those of
heads, orders and dropout. The first seed of all methods comes first, so what is there early is a whole table.

The page that --page names is written anew after every run, with intervals over seeds (Student's t, 95 %). Differences
are taken seed by seed. What was measured stands in a journal beside --out (.jsonl): a run that was broken off goes on
there, and after a change of one method's file only that method is measured again.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import rows as rows_of
from contenders import BATCH, Run, whet_command
from processes import ROOT, Journal, run
from scipy import stats

from whet import catalog
from whet.core import Defaults

ROWS = {"sst2": 2000}
"""Training rows, where not all are taken."""
SETTINGS = {"mask": ['method.train=["*.attention.*", "*.pooler.*", "classifier.*"]']}
"""What a method has to be told. Attention alone: Touvron et al. 2022 (arXiv 2203.09795)."""
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")
LONGEST = 128
"""Tokens of a row that are read: more than any row of these sets has, and few enough for virtual ones beside them."""
PAGE = ROOT / "docs" / "explanation" / "methods-measured.md"
REFERENCE = "full"
CONFIDENCE = 0.95
ADAPTERS = ("adapter", "ia3", "lora", "p_tuning", "prefix", "prompt", "qlora")
"""Methods that leave an adapter."""
EXPECTED = {"adapter": 0.5, "lora": 1.0, "bitfit": 2.0, "gradual": 0.0, "lp_ft": 0.0}
"""Most points of accuracy that a method loses against ``full`` by its paper."""


@dataclass
class Cell:
    """The runs of one method on one data set, by seed."""

    name: str
    method: str
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)

    def median(self, measure: str) -> float:
        return statistics.median(float(found[measure]) for found in self.runs.values())

    @property
    def accuracies(self) -> list[float]:
        """In per cent."""
        return [100 * float(found["test"]) for found in self.runs.values()]

    def beside(self, other: "Cell") -> list[float]:
        """Points of accuracy that this is better, for each seed that both have."""
        both = self.runs.keys() & other.runs.keys()
        return [100 * (self.runs[seed]["test"] - other.runs[seed]["test"]) for seed in sorted(both)]


class Bench:
    """One call of the benchmark."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self.asked = asked
        self.scratch = scratch
        self.journal = Journal(asked.out.with_suffix(".jsonl"))
        self.versions = {name: metadata.version(name) for name in PACKAGES}
        self.files = {
            name: rows_of.prepare(asked.data / name, scratch / name, asked.rows.get(name), others=False)
            for name in asked.sets
        }
        self.counts = {
            name: {side: len(rows_of.read(path)) for side, path in files.items()} for name, files in self.files.items()
        }

    def measure(self) -> list[Cell]:
        """Run everything that is not in the journal yet, or only take what is there."""
        cells = [Cell(name, method) for name in self.asked.sets for method in self.asked.methods]
        for seed in self.asked.seeds:
            for cell in cells:
                try:
                    found = self._run(cell, seed)
                except SystemExit as error:
                    # The others can be measured all the same.
                    print(f"{cell.name} {cell.method} seed {seed} failed: {error}", flush=True)
                    continue
                if found is None:
                    continue
                cell.runs[seed] = found
                told = f"{100 * found['test']:.1f} % in {found['cpu_seconds']:.0f} s of the processor"
                print(f"{cell.name} {cell.method} seed {seed}: {told}", flush=True)
                self.asked.page.write_text(page(cells, self.asked, self.counts, self.versions), encoding="utf-8")
        return cells

    def _run(self, cell: Cell, seed: int) -> dict[str, Any] | None:
        defaults: Defaults = catalog.load("method", cell.method).defaults
        epochs = self.asked.epochs or defaults.epochs
        training = Run(self.files[cell.name], cell.method, epochs, seed, max_length=LONGEST)
        settings = [*SETTINGS.get(cell.method, []), *self.asked.set]
        about = {
            "set": cell.name,
            "files": rows_of.fingerprint(training.files),
            "method": cell.method,
            "epochs": training.epochs,
            "seed": seed,
            "settings": settings,
            "threads": self.asked.threads,
            "versions": self.versions,
            "code": _code(cell.method),
        }
        if self.asked.page_only:
            return self.journal.known(about)
        return self.journal.once(about, partial(self._measured, training, settings))

    def _measured(self, training: Run, settings: list[str]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            out = Path(folder) / "run"
            ended = run(whet_command(training, out, settings), Path(folder), threads=self.asked.threads)
            metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
            recipe = (out / "recipe.yaml").read_text(encoding="utf-8")
            return {
                "test": metrics["test"]["accuracy"],
                "validation": metrics["validation"]["accuracy"],
                "cpu_seconds": ended.cpu_seconds,
                "whole_seconds": ended.seconds,
                "peak_bytes": ended.peak_bytes,
                "trainable": metrics["trainable_parameters"],
                "total": metrics["total_parameters"],
                "weight_bytes": sum(path.stat().st_size for path in (out / "model").glob("*.safetensors")),
                "baselines": {name: scores["accuracy"] for name, scores in metrics["baselines"].items()},
                "recipe": recipe,
            }


# --- the page -----------------------------------------------------------------------------------------------------


def page(
    cells: Sequence[Cell], asked: argparse.Namespace, counts: dict[str, dict[str, int]], versions: dict[str, str]
) -> str:
    """What was measured so far, in Markdown."""
    seeds = ", ".join(map(str, asked.seeds))
    done, wanted = sum(len(cell.runs) for cell in cells), len(cells) * len(asked.seeds)
    lines = [
        "# What every method learns",
        "",
        "Written by `bench/methods.py`; this command repeats it, and goes on where it was broken off:",
        "",
        "```",
        _command(asked),
        "```",
        "",
        *([f"So far {done} of {wanted} runs are there.", ""] if done < wanted else []),
        f"The embedded all-MiniLM-L6-v2 (22.7 M parameters), batches of {BATCH} rows, each method with its own "
        f"defaults, {asked.threads} thread{'s' if asked.threads != 1 else ''}, seeds {seeds}. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "*Accuracy* is that of the test rows, in per cent, with the 95 % interval of its mean over the seeds "
        "(Student's t); *beside full* is the difference in points, seed by seed, with its interval. Neither holds "
        "what other test rows would say: the standard error of a single accuracy is told above each table. *Time* "
        "is that of the processor for the whole process, from its imports to the run folder, and *beside full* the "
        "same as a ratio; *memory* is the largest resident size. *Trains* is the share of all numbers in the model, "
        "with whatever the method inserts; *left* is the size of the saved weights, for an adapter without those of "
        "its base.",
        "",
    ]
    for name in asked.sets:
        lines += _table(name, [cell for cell in cells if cell.name == name and cell.runs], counts[name])
    return "\n".join([*lines, *_expectations(cells, asked.sets)]) + "\n"


def _table(name: str, cells: Sequence[Cell], counts: dict[str, int]) -> list[str]:
    if not cells:
        return []
    reference = next((cell for cell in cells if cell.method == REFERENCE), None)
    middle = statistics.median(statistics.mean(cell.accuracies) for cell in cells) / 100
    error = 100 * (middle * (1 - middle) / counts["test"]) ** 0.5
    baselines = next(iter(cells[0].runs.values()))["baselines"]
    told = ", ".join(f"{name} {100 * accuracy:.1f}" for name, accuracy in baselines.items())
    lines = [
        f"## {name}",
        "",
        f"{counts['train']:,} training, {counts['validation']:,} validation and {counts['test']:,} test rows. "
        f"Without fine-tuning: {told}. Standard error of a single accuracy: {error:.1f} points.",
        "",
        "| method | seeds | accuracy | beside full | time, s | beside full | memory, MB | trains | left, MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for cell in sorted(cells, key=lambda cell: -statistics.mean(cell.accuracies)):
        gains = cell.beside(reference) if reference is not None and cell is not reference else []
        ratio = cell.median("cpu_seconds") / reference.median("cpu_seconds") if reference is not None else None
        cells_of_row = (
            f"`{cell.method}`",
            str(len(cell.runs)),
            _spread(cell.accuracies),
            _range(gains) if gains else "",
            f"{cell.median('cpu_seconds'):.0f}",
            f"{ratio:.2f}" if ratio is not None else "",
            f"{cell.median('peak_bytes') / 1e6:,.0f}",
            f"{cell.median('trainable') / cell.median('total'):.2%}",
            f"{cell.median('weight_bytes') / 1e6:,.2f}",
        )
        lines.append("| " + " | ".join(cells_of_row) + " |")
    return [*lines, ""]


def _expectations(cells: Sequence[Cell], sets: Sequence[str]) -> list[str]:
    """What the papers lead one to expect, and whether it was so."""
    lines = ["## What was expected", "", "| expected | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    by_name = {(cell.name, cell.method): cell for cell in cells if cell.runs}
    for method, points in EXPECTED.items():
        words = f"within {points:g} points of `full`" if points else "not below `full`"
        found = [_judged(by_name.get((name, method)), by_name.get((name, REFERENCE)), points) for name in sets]
        lines.append(f"| `{method}` {words} | " + " | ".join(found) + " |")
    found = [_lowest({m: by_name[name, m] for m in ADAPTERS if (name, m) in by_name}) for name in sets]
    lines.append("| `prompt` lowest of those that leave an adapter | " + " | ".join(found) + " |")
    return lines


def _judged(cell: Cell | None, reference: Cell | None, points: float) -> str:
    """Whether a method loses no more than so many points, as far as the seeds can tell."""
    gains = cell.beside(reference) if cell is not None and reference is not None else []
    if not gains:
        return "not measured"
    mean = statistics.mean(gains)
    if len(gains) < 2:
        return f"one seed says nothing of it ({mean:+.1f})"
    half = _half(gains)
    if mean - half >= -points:
        word = "holds"
    elif mean >= -points:
        word = "holds on the mean, not beyond the noise"
    else:
        word = "does not hold on the mean, not beyond the noise" if mean + half >= -points else "does not hold"
    return f"{word} ({mean:+.1f})"


def _lowest(adapters: dict[str, Cell]) -> str:
    means = {method: statistics.mean(cell.accuracies) for method, cell in adapters.items()}
    if "prompt" not in means or len(means) < 2:
        return "not measured"
    lowest = min(means, key=lambda method: means[method])
    if min(len(cell.runs) for cell in adapters.values()) < 2:
        return f"one seed says nothing of it (lowest: `{lowest}`)"
    return (
        "holds on the mean"
        if lowest == "prompt"
        else f"does not hold: `{lowest}` {means[lowest] - means['prompt']:+.1f}"
    )


def _half(values: Sequence[float]) -> float:
    """Half the width of the interval of a mean."""
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile) * statistics.stdev(values) / len(values) ** 0.5


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {_half(values):.1f}" if len(values) > 1 else mean


def _range(gains: Sequence[float]) -> str:
    mean = statistics.mean(gains)
    if len(gains) < 2:
        return f"{mean:+.1f}"
    return f"{mean:+.1f} ({mean - _half(gains):+.1f} to {mean + _half(gains):+.1f})"


# --- what was asked -----------------------------------------------------------------------------------------------


def main() -> None:
    """Measure what the journal lacks and write the page."""
    asked = _asked()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            cells = Bench(asked, Path(scratch)).measure()
        except KeyboardInterrupt:
            raise SystemExit("stopped; the same command goes on where this one was") from None
    asked.out.write_text(json.dumps([vars(cell) for cell in cells], indent=1), encoding="utf-8")
    print(f"written: {asked.page}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    every = list(catalog.names("method"))
    add("--data", type=Path, required=True, help="folder with a folder per data set")
    add("--out", type=Path, default=Path("methods.json"), help="results; the journal lies beside it")
    add("--page", type=Path, default=PAGE, help="the page that is written")
    add("--sets", nargs="+", default=["sst2", "trec"], metavar="SET")
    add("--methods", nargs="+", default=every, choices=every, metavar="METHOD")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--rows", nargs="*", default=None, metavar="SET=N", help=f"training rows; default {_listed(ROWS)}, else all")
    add("--epochs", type=int, help="default: those of each method")
    add("--threads", type=int, default=1, help="of every process (default 1)")
    add("--page-only", action="store_true", help="measure nothing: write the page of what the journal holds")
    add("--set", action="append", default=[], metavar="A.B=C", help="a value of all recipes")
    asked = parser.parse_args()
    asked.rows = dict(ROWS) if asked.rows is None else dict(_pair(parser, one) for one in asked.rows)
    asked.data, asked.out, asked.page = asked.data.resolve(), asked.out.resolve(), asked.page.resolve()
    return asked


def _pair(parser: argparse.ArgumentParser, given: str) -> tuple[str, int]:
    name, _, count = given.partition("=")
    if not count.isdecimal() or not int(count):
        parser.error(f"--rows '{given}': write it as SET=N, such as {_listed(ROWS)}")
    return name, int(count)


def _command(asked: argparse.Namespace) -> str:
    """What to type for the same measurement, wherever the data is."""

    def told() -> Iterator[str]:
        yield "python bench/methods.py --data DIR"
        if asked.rows != ROWS:
            yield f"--rows {_listed(asked.rows)}"
        if sorted(asked.sets) != ["sst2", "trec"]:
            yield f"--sets {' '.join(asked.sets)}"
        if sorted(asked.methods) != sorted(catalog.names("method")):
            yield f"--methods {' '.join(asked.methods)}"
        if asked.seeds != [0, 1, 2]:
            yield f"--seeds {' '.join(map(str, asked.seeds))}"
        if asked.epochs:
            yield f"--epochs {asked.epochs}"
        if asked.threads != 1:
            yield f"--threads {asked.threads}"
        for setting in asked.set:
            yield f"--set {setting}"

    return " ".join(told())


def _listed(values: dict[str, int]) -> str:
    return " ".join(f"{name}={count}" for name, count in values.items())


def _code(method: str) -> str:
    """SHA-256 of whet's code without the other methods."""
    digest = hashlib.sha256()
    methods = ROOT / "src" / "whet" / "methods"
    for path in sorted((ROOT / "src").rglob("*.py")):
        if path.parent != methods or path.stem in (method, "__init__"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()

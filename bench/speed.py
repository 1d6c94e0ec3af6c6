"""Time and memory of whet beside transformers.Trainer on the same rows, model, epochs and batch size.

    python bench/speed.py --data DIR --out speed.json

DIR holds sst2/ and ag_news/ with train.csv, test.csv and, where there is one, dev.csv. Every run is a fresh process
with cold caches, on the CPU; whet and its peers take turns, pair after pair, and the order is turned round in every
other pair. A pair's number is the seed of its runs. Only ratios within a pair are shown; --out has the seconds too.

The peer runs in two ways. "documented" follows the text classification guide of transformers: fp32, padding per batch,
random order, whatever else is the default. "tuned" is an expert's: rows grouped by length (validation and test too),
fused AdamW, large batches for evaluation, and the fastest number of threads and precision (bf16 only where the
processor has it), found in one epoch of few rows. Both freeze by requires_grad=False or use peft, train the parameters
that whet trains, evaluate after each epoch and restore the best.

Work: from the rows to the test scores. It holds opening the model, tokenising, training, the validation after each
epoch with whatever is saved, and the test. Imports are left out. For the peer the clock starts when its rows are in
memory; for whet when it opens the file of training rows, and stops when the answers for the test rows are on disk. So
reading the rows, saving the model and comparing the saved one with the trained one count against whet. Its two
baselines are work that the peer does not do; they are in the whole process only.

Whole process: from its start to its end, imports and all. Peak memory: the largest resident size of the process.

Share of the limit: the arithmetic that the method needs at least, on real tokens, divided by work time and by the
fastest large matrix product of this machine. It is the product of three: useful tokens (real / padded), algorithm
(needed / computed operations, counted in a run of its own that is not timed), kernel (all the rest).

What was measured stands in a journal beside --out (.jsonl): a run that was broken off goes on there.
"""

import argparse
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import rows as rows_of
from contenders import MAX_LENGTH, WAYS, Peer, Run, peer_answer, peer_command, whet_answer, whet_command
from limit import Amount, Shape, least
from processes import ROOT, Journal, run
from results import WHET, Cell, show, summary
from tokenizers import Tokenizer

from whet.methods.lora import Lora

HERE = Path(__file__).resolve().parent
EPOCHS = {"head": 5, "last_blocks": 3, "full": 3, "lora": 3}
RATES = {"head": 2e-3, "last_blocks": 2e-4, "full": 5e-5, "lora": 5e-4}
"""Learning rates of the peer: what its users take."""
ROWS = {"minilm": {"ag_news": 2000}, "bert-base": {"sst2": 256, "ag_news": 256}}
"""Training rows, where not all are taken."""
BLOCKS = 2
"""Blocks that train with method last_blocks."""
SIDES = ("train", "validation", "test")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets")
PROBED_ROWS = 320
"""Training rows of the epoch that finds the best number of threads."""
BUSY = 0.5
"""Load of the machine above which the ratios are noise."""


class Bench:
    """One call of the benchmark."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self.asked = asked
        self.scratch = scratch
        self.journal = Journal(asked.out.with_suffix(".jsonl"))
        self.code = _code()
        self.versions = {name: metadata.version(name) for name in PACKAGES}
        # Somebody who limits the threads of a shell means it.
        self.threads: int | None = asked.threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or None
        self.machine = self.journal.once(self._about("machine", threads=self.threads), self._machine)
        made = self._output([str(HERE / "shapes.py"), asked.model_shape, str(scratch / "model")])
        self.model = Path(made.splitlines()[-1])
        self.tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(asked.max_length)
        self.contenders = [WHET, *asked.peers]

    def measure(self) -> list[Cell]:
        """Run everything that is not in the journal yet; ``--out`` is written anew after every pair."""
        cells = [self._cell(name, method) for name in self.asked.sets for method in self.asked.methods]
        for pair in range(self.asked.pairs):
            for cell in cells:
                for contender in self.contenders if pair % 2 == 0 else reversed(self.contenders):
                    cell.runs[contender].append(self._timed(cell, contender, pair))
                ratios = ", ".join(f"{peer} / whet {cell.pairs(peer, 'work_seconds')[-1]:.2f}" for peer in cell.peers)
                print(f"{cell.name} {cell.method} pair {pair + 1}: work of {ratios}", flush=True)
                self.asked.out.write_text(json.dumps(summary(cells, self.machine), indent=1))
        return cells

    def _cell(self, name: str, method: str) -> Cell:
        """A cell with everything that is known without a clock."""
        rows = self.asked.rows or ROWS[self.asked.model_shape].get(name)
        cell = Cell(name, method, self._least(self._files(name, rows), method), {one: [] for one in self.contenders})
        counted = self._files(name, min(rows or self.asked.count_rows, self.asked.count_rows))
        for contender in self.contenders:
            training = self._run(counted, method, 0)
            about = self._about("count", set=name, **self._told(contender, training, self.threads, bf16=False))
            found = self.journal.once(about, partial(self._count, contender, training))
            cell.counts[contender] = {**found, "least_flops": self._least(counted, method)}
        return cell

    def _timed(self, cell: Cell, contender: str, pair: int) -> dict[str, Any]:
        """One run; the clock is that of the process around it, and its own for its work."""
        files = self._files(cell.name, self.asked.rows or ROWS[self.asked.model_shape].get(cell.name))
        training = self._run(files, cell.method, pair)
        threads, bf16 = self._fastest(cell) if contender == "tuned" else (self.threads, False)
        about = self._about("run", set=cell.name, **self._told(contender, training, threads, bf16))
        return self.journal.once(about, lambda: self._clocked(contender, training, threads, bf16))

    def _clocked(self, contender: str, training: Run, threads: int | None, bf16: bool) -> dict[str, Any]:
        if _code() != self.code:
            raise SystemExit(
                "the code of whet or of its peer was changed meanwhile; measure a copy that nobody edits: "
                "git worktree add ../whet-bench, then run its bench/speed.py"
            )
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            place = Path(folder)
            watched = training.files["train"] if contender == WHET else None
            command = self._command(contender, training, place / "run", bf16)
            ended = run(command, place, threads=threads, watched=watched)
            answer = whet_answer(place / "run", ended.opened) if contender == WHET else peer_answer(ended.output)
        for name, path in training.files.items():
            if answer[f"{name}_rows"] != len(rows_of.read(path)):
                raise SystemExit(
                    f"{contender} took {answer[f'{name}_rows']} of the rows in {path.name}, not all of them"
                )
        measured = {"whole_seconds": ended.seconds, "peak_bytes": ended.peak_bytes}
        return {**answer, **measured, "threads": threads or self.machine["threads"], "bf16": bf16}

    def _fastest(self, cell: Cell) -> tuple[int | None, bool]:
        """Threads and precision with which the tuned peer is fastest."""
        cores = int(self.machine["cores"])
        counts = [self.threads] if self.threads else sorted({max(1, cores // 2), cores, len(os.sched_getaffinity(0))})
        ways = [
            (count, bf16) for count in counts for bf16 in ([True, False] if self.machine["native_bf16"] else [False])
        ]
        few = replace(self._run(self._files(cell.name, PROBED_ROWS), cell.method, 0), epochs=1)
        seconds = []
        for count, bf16 in ways:
            about = self._about("probe", set=cell.name, **self._told("tuned", few, count, bf16))
            seconds.append(self.journal.once(about, partial(self._clocked, "tuned", few, count, bf16))["work_seconds"])
        return ways[seconds.index(min(seconds))]

    def _count(self, contender: str, training: Run) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            place = Path(folder)
            command = self._command(contender, training, place / "run", bf16=False)
            run([str(HERE / "count.py"), str(place / "counts.json"), *command], place, threads=self.threads)
            counts: dict[str, Any] = json.loads((place / "counts.json").read_text())
            return counts

    def _machine(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._output([str(HERE / "machine.py")]))
        return found

    def _output(self, command: list[str]) -> str:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            return run(command, Path(folder), threads=self.threads).output

    # what is run

    def _files(self, name: str, rows: int | None) -> dict[str, Path]:
        into = self.scratch / f"{name}-{rows or 'all'}"
        if into.is_dir():
            return {side: into / f"{side}.csv" for side in SIDES}
        return rows_of.prepare(self.asked.data / name, into, rows)

    def _run(self, files: dict[str, Path], method: str, seed: int) -> Run:
        model = None if self.asked.model_shape == "minilm" else self.model
        return Run(files, method, self.asked.epochs[method], seed, model, self.asked.max_length, BLOCKS)

    def _peer(self, way: str, method: str, bf16: bool) -> Peer:
        return Peer(way, self.asked.rates[method], bf16, self.asked.tuned_arguments if way == "tuned" else {})

    def _command(self, contender: str, training: Run, out: Path, bf16: bool) -> list[str]:
        if contender == WHET:
            return whet_command(training, out, self.asked.set)
        return peer_command(training, self._peer(contender, training.method, bf16))

    def _told(self, contender: str, training: Run, threads: int | None, bf16: bool) -> dict[str, Any]:
        """Everything that a run depends on, without the folders that differ from call to call."""
        told = asdict(training) | {"files": rows_of.fingerprint(training.files), "model": self.asked.model_shape}
        own = (
            {"settings": self.asked.set} if contender == WHET else asdict(self._peer(contender, training.method, bf16))
        )
        return {**told, **own, "contender": contender, "threads": threads, "code": self.code}

    def _about(self, what: str, **told: Any) -> dict[str, Any]:
        return {"what": what, "versions": self.versions, **told}

    def _least(self, files: dict[str, Path], method: str) -> float:
        sides = {side: rows_of.read(path) for side, path in files.items()}
        tokens = {
            side: sum(len(row.ids) for row in self.tokenizer.encode_batch([text for text, _ in rows]))
            for side, rows in sides.items()
        }
        shape = Shape.of(self.model, len({label for _, label in sides["train"]}))
        amount = Amount(tokens, {side: len(rows) for side, rows in sides.items()})
        return least(shape, amount, method, epochs=self.asked.epochs[method], blocks=BLOCKS, rank=Lora().rank)


def main() -> None:
    asked = _asked()
    if (load := os.getloadavg()[0]) > BUSY:
        print(f"the machine is busy (load {load:.1f}): ratios of these runs are noise", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            bench = Bench(asked, Path(scratch))
            cells = bench.measure()
        except KeyboardInterrupt:
            raise SystemExit("stopped; the same command goes on where this one was") from None
    show(cells, bench.machine)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with a folder per data set")
    add("--out", type=Path, default=Path("speed.json"), help="results; the journal lies beside it (default speed.json)")
    add("--sets", nargs="+", default=["sst2", "ag_news"], metavar="SET")
    add("--methods", nargs="+", default=list(EPOCHS), choices=list(EPOCHS), metavar="METHOD", help=", ".join(EPOCHS))
    add("--peers", nargs="+", default=list(WAYS), choices=WAYS, metavar="PEER", help=", ".join(WAYS))
    add("--pairs", type=int, default=5, help="runs of each contender (default 5)")
    add("--rows", type=int, help="seeded part with so many training rows; default all, of ag_news 2000")
    add("--threads", type=int, help="for all; default OMP_NUM_THREADS, else what is best")
    add("--model-shape", default="minilm", choices=["minilm", "bert-base", "vit-small"], help="default minilm")
    add("--max-length", type=int, default=MAX_LENGTH, help=f"tokens read of a row (default {MAX_LENGTH})")
    add("--epochs", nargs="+", default=[], metavar="METHOD=N", help=f"default {_listed(EPOCHS)}")
    add("--rates", nargs="+", default=[], metavar="METHOD=RATE", help=f"of the peer; default {_listed(RATES)}")
    add("--count-rows", type=int, default=1600, help="training rows on which operations are counted (default 1600)")
    add("--set", action="append", default=[], metavar="A.B=C", help="a value of whet's recipe")
    add("--tuned-arguments", type=json.loads, default={}, metavar="JSON", help="TrainingArguments of the tuned peer")
    asked = parser.parse_args()
    if asked.model_shape == "vit-small":
        parser.error("--model-shape vit-small: reads pictures, this bench has texts; choose minilm or bert-base")
    asked.epochs = {**EPOCHS, **_pairs(parser, asked.epochs, int)}
    asked.rates = {**RATES, **_pairs(parser, asked.rates, float)}
    for name in ("pairs", "rows", "threads", "count_rows", "max_length"):
        if (value := vars(asked)[name]) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')}: {value} is less than 1")
    asked.data, asked.out = asked.data.resolve(), asked.out.resolve()
    return asked


def _pairs(parser: argparse.ArgumentParser, given: list[str], kind: type[int] | type[float]) -> dict[str, float]:
    found = {}
    for one in given:
        method, _, value = one.partition("=")
        try:
            found[method] = kind(value)
        except ValueError:
            parser.error(f"'{one}': write it as METHOD=NUMBER, such as full={RATES['full']:g}")
        if method not in EPOCHS or found[method] <= 0:
            parser.error(f"'{one}': methods are {', '.join(EPOCHS)}, and the number is above 0")
    return found


def _listed(values: dict[str, Any]) -> str:
    return " ".join(f"{method}={value:g}" for method, value in values.items())


def _code() -> str:
    """SHA-256 of whet's code and of the peer's."""
    digest = hashlib.sha256()
    for path in [*sorted((ROOT / "src").rglob("*.py")), HERE / "trainer_peer.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()

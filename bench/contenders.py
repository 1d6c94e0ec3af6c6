"""How whet and its peer are told the same run, and how their answers are read. Knows no measure of speed but theirs."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BATCH = 16
MAX_LENGTH = 512
WAYS = ("documented", "tuned")
"""The two ways in which the peer is written."""


@dataclass(frozen=True)
class Run:
    """One training run, whoever does it."""

    files: dict[str, Path]
    method: str
    epochs: int
    seed: int
    model: Path | None = None
    """A folder; None is the model that whet embeds."""
    max_length: int = MAX_LENGTH
    blocks: int = 2
    """Blocks that train with method last_blocks."""


@dataclass(frozen=True)
class Peer:
    """How the Trainer is told that run; its keys are those of ``trainer_peer.Setup``."""

    way: str
    rate: float
    bf16: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


def whet_command(run: Run, out: Path, settings: list[str] | None = None) -> list[str]:
    """The arguments of Python that let whet do a run with its own defaults, below which ``settings`` are laid."""
    command = ["-m", "whet", "train", str(run.files["train"]), "--method", run.method, "--json", "--out", str(out)]
    if run.model is not None:
        command += ["--model", str(run.model)]
    for setting in (
        f"data.validation={run.files['validation']}",
        f"data.test={run.files['test']}",
        "data.text=text",
        "data.label=label",
        "task.name=text_classification",
        f"task.max_length={run.max_length}",
        f"training.epochs={run.epochs}",
        f"training.batch_size={BATCH}",
        f"seed={run.seed}",
        *([f"method.count={run.blocks}"] if run.method == "last_blocks" else []),
        *(settings or []),
    ):
        command += ["--set", setting]
    return command


def peer_command(run: Run, peer: Peer) -> list[str]:
    """The arguments of Python that let the Trainer do a run."""
    told = {**asdict(run), **asdict(peer), "batch_size": BATCH}
    return [str(HERE / "trainer_peer.py"), json.dumps(told, default=str)]


def whet_answer(out: Path, opened: float) -> dict[str, float]:
    """What a finished run folder of whet says, in the words of the peer.

    Its work began when the file of training rows was ``opened``, and ended when the answers for the test rows were on
    disk. In between it saved the model and compared it with the one in memory: that counts.
    """
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    splits = json.loads((out / "data.json").read_text(encoding="utf-8"))["splits"]
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    if not opened:
        raise SystemExit("whet never opened the file of training rows; when its work began is unknown")
    return {
        "validation": metrics["validation"]["accuracy"],
        "test": metrics["test"]["accuracy"],
        "work_seconds": (out / "predictions.parquet").stat().st_mtime - opened,
        "step_seconds": _seconds(events, "Step"),
        "validation_seconds": _seconds(events, "Evaluated"),
        "trainable": metrics["trainable_parameters"],
        **{f"{name}_rows": split["rows"] for name, split in splits.items()},
    }


def peer_answer(output: str) -> dict[str, float]:
    """What the peer printed last."""
    answer: dict[str, float] = json.loads(output.splitlines()[-1])
    return answer


def _seconds(events: list[dict[str, Any]], kind: str) -> float:
    return float(sum(event["seconds"] for event in events if event["event"] == kind))

"""``torchrun -m whet``: one run in two processes, as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import whet

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "whet"]
STEPS = {"steps": 400, "evaluate_every": 200, "batch_size": 8}


def started(*arguments: object) -> subprocess.Popen[str]:
    source = str(Path(whet.__file__).parents[1])
    return subprocess.Popen(
        [*TORCHRUN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )


def train(data: Path, model: Path, out: Path) -> subprocess.Popen[str]:
    settings = [f"--set=training.{name}={value}" for name, value in STEPS.items()]
    return started("train", data, "--model", model, "--method", "full", "--out", out, *settings)


def events(folder: Path) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_run_says_things_once_and_goes_on_after_it_was_ended(tiny_model: Path, reviews: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    uninterrupted = train(reviews, tiny_model, whole)
    out, _ = uninterrupted.communicate(timeout=300)
    assert uninterrupted.returncode == 0
    assert [out.count(words) for words in ("Decided for you", "this model, test", "saved in")] == [1, 1, 1]
    steps = [event["step"] for event in events(whole) if event["event"] == "Step"]
    assert steps == list(range(1, STEPS["steps"] + 1))

    stopped = train(reviews, tiny_model, broken)
    deadline = time.monotonic() + 120
    while not any(event["event"] == "Step" for event in events(broken)) and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped.send_signal(signal.SIGTERM)
    _, err = stopped.communicate(timeout=120)
    assert err.count("Go on with: whet resume") == 1
    last = events(broken)[-1]
    assert (last["event"], last["reason"], last["resumable"]) == ("Stopped", "asked to terminate", True)
    assert not (broken / "metrics.json").exists()

    resumed = started("resume", broken)
    out, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0
    assert out.count(f"going on from the checkpoint of step {last['step']}") == 1
    assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir())
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, broken))
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "absent.csv"], "absent.csv does not exist"),
        (["train", "absent.csv", "--set", "training.epoch=1"], "unknown option; did you mean 'epochs'?"),
        (["predict", "run", "a text"], "'whet predict' works in one process"),
    ],
)
def test_a_mistake_is_told_once_and_all_processes_end_with_2(arguments: list[str], words: str) -> None:
    ended = started(*arguments)
    _, err = ended.communicate(timeout=120)
    assert err.count(words) == 1
    # What the launcher says of each of them.
    assert err.count("exitcode  : 2") == 2

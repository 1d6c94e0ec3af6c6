"""whet tune: what one types, what is printed, and what is refused before torch is loaded."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import whet as package
from tests.cli.conftest import Whet, assert_told

SHORT = ("--set", "training.epochs=1", "--trials", "2", "--quiet")


def test_a_search_prints_what_it_found_as_json(whet: Whet, folder: Path, tiny_model: Path, reviews: Path) -> None:
    ended = whet(
        "tune", reviews, "--model", tiny_model, "--method", "lora", "--space", "method.rank=2,4", "--out", "t",
        "--json", "--lang", "ko", *SHORT,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["trials"] == 2
    assert set(found["best"]["settings"]) == {"method.rank"}
    assert "accuracy" in found["test"]
    assert "설정 탐색" in (folder / "t" / "tune.html").read_text()
    assert "whet tune" in (folder / "t" / "tune.html").read_text()
    again = whet("tune", "--resume", "t")
    assert again.code == 2
    assert_told(again, "has finished", "--trials 4")
    assert whet("train", "t/best.yaml", "--out", "run", "--quiet").code == 0


def test_the_range_test_prints_a_curve(whet: Whet, folder: Path, tiny_model: Path, reviews: Path) -> None:
    ended = whet("tune", reviews, "--model", tiny_model, "--method", "full", "--lr-find", "--out", "rates")
    assert ended.code == 0, ended.err
    assert "Suggested" in ended.out
    assert (folder / "rates" / "learning_rates.svg").is_file()


def test_mistakes_are_told_before_anything_is_read(whet: Whet, folder: Path) -> None:
    assert_told(whet("tune"), "name a data file or a recipe", "--resume")
    assert_told(whet("tune", "absent.csv", "--space", "rank=4,8"), "write it as PATH=VALUES")
    ended = whet("tune", "absent.csv", "--method", "lora", "--space", "method.rank=0,8")
    assert ended.code == 2
    assert_told(ended, "method.rank: 0")
    assert_told(whet("tune", "absent.csv", "--timeout", "soon"), "'soon' is no time", "20m")
    assert_told(whet("tune", "absent.csv", "--jobs", 0, "--trials", -1), "jobs: 0", "trials: -1")
    assert_told(whet("tune", "a.csv", "--resume", "t"), "--resume", "leave the data")
    assert_told(whet("tune", "--resume", "absent"), "absent holds no search")
    idle = whet("tune", "--resume", "t", "--method", "lora", "--jobs", 2, "--lr-find")
    assert_told(idle, "--method", "--jobs", "--lr-find", "what was begun")
    assert_told(whet("tune", "absent.csv", "--lr-find", "--trials", 3, "--space", "x=1,2"), "--trials", "--space")


def test_a_finding_is_printed_before_the_run_and_explained(
    whet: Whet, folder: Path, tiny_model: Path, reviews: Path
) -> None:
    given = ("--model", tiny_model, "--method", "full", "--set", "training.epochs=1")
    ended = whet("train", reviews, *given, "--set", "training.learning_rate=0.01", "--out", "high")
    assert ended.code == 0
    assert "R001 warning: training.learning_rate 0.01 is 200 times what method 'full' needs" in ended.out
    stored = json.loads((folder / "high" / "findings.json").read_text())
    assert [finding["id"] for finding in stored["findings"]] == ["R001"]
    assert "R001" not in whet("train", reviews, *given, "--out", "usual").out
    assert json.loads((folder / "usual" / "findings.json").read_text()) == {"findings": []}
    said = whet("explain", "R001").out
    assert said.startswith("The learning rate is far from what the method needs.")
    assert "Options" not in said


def stepped(folder: Path) -> bool:
    """Whether a trial has taken a step."""
    return any("Step" in log.read_text() for log in folder.glob("t/trials/*/events.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_everything_and_says_how_to_go_on(
    whet: Whet, folder: Path, tiny_model: Path, reviews: Path, jobs: int
) -> None:
    command = [sys.executable, "-m", "whet", "tune", reviews, "--model", tiny_model, "--method", "full"]
    command += ["--set", "training.epochs=300", "--trials", "3", "--jobs", jobs, "--out", "t", "--no-baseline"]
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    process = subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not stepped(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, out + err
    assert "whet tune --resume t" in " ".join(err.split())
    left = json.loads((folder / "t" / "tune.json").read_text())
    assert {trial["state"] for trial in left["trials"]} == {"running"}
    assert [path for path in (folder / "t").glob("trials/*/checkpoints/*") if path.is_dir()]

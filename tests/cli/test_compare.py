"""The comparison on the command line."""

import json
from pathlib import Path

from tests.cli.conftest import Whet, assert_told

SHORT = ("--set", "training.batch_size=4", "--budget", "8steps", "--rates", "0.01")


def test_compare_prints_leaderboard_verdict_and_what_to_do_next(whet: Whet, reviews: Path, tiny_model: Path) -> None:
    ended = whet("compare", reviews, "--methods", "full,head", "--models", tiny_model, *SHORT, "--out", "c")
    assert ended.code == 0, ended.err
    for words in ("round 1 of 1: full, head", "95 of 100", "tfidf", "8 steps each", "whet predict c/candidates/"):
        assert words in ended.out, ended.out
    chosen = json.loads(Path("c/comparison.json").read_text())["verdict"]["cheapest"]
    assert whet("predict", f"c/candidates/{chosen}/seed-0", "the film was kind").code == 0
    again = whet("compare", reviews, "--methods", "full", "--out", "c")
    assert again.code == 2
    assert_told(again, "c exists and is never overwritten", "whet resume c")
    assert_told(whet("resume", "c"), "c has finished")


def test_compare_as_json(whet: Whet, reviews: Path, tiny_model: Path) -> None:
    ended = whet("compare", reviews, "--methods", "head", "--models", tiny_model, *SHORT, "--out", "c", "--json")
    told = json.loads(ended.out)
    assert told["folder"] == "c"
    assert told["verdict"]["best"] == "head"
    assert told["command"].startswith("whet compare ")
    assert "--methods head" in told["command"]


def test_mistakes_of_compare(whet: Whet, reviews: Path) -> None:
    assert_told(whet("compare"), "--resume FOLDER")
    assert_told(whet("compare", reviews, "--methods", "lorra"), "'lorra' is not known; did you mean 'lora'?")
    assert_told(whet("compare", reviews, "--rates", "fast"), "--rates: 'fast' are no numbers")
    assert_told(whet("compare", reviews, "--budget", "soon"), "--budget: 'soon'")
    assert_told(whet("compare", "--resume", "absent"), "absent")
    assert_told(whet("compare", "--resume", "c", "--seeds", 3, "--budget", "20m"), "--seeds", "--budget")

"""The verdict in words: never a winner inside the noise."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from whet.core import Finding
from whet.report import leaderboard
from whet.report.verdict import WORDS, Language, sentences
from whet.run.comparison import Against, Attempt, Candidate, Comparison, Interval, Verdict


def candidate(name: str, seconds: float, state: str = "finished", reason: str = "") -> Candidate:
    attempt = Attempt(
        seed=0,
        folder=f"candidates/{name}/seed-0",
        state=state,  # type: ignore[arg-type]
        step=100 if state == "finished" else 12,
        steps=100,
        validation={"accuracy": 0.85},
        test={"accuracy": 0.9} if state == "finished" else None,
        seconds=seconds,
        peak_memory_bytes=10**9,
        reason=reason,
    )
    return Candidate(name, name, "tiny", {}, [attempt], trainable=10, total=100, stored_bytes=1000)


VERDICT = Verdict(
    best="full",
    clear=False,
    cheapest="lora",
    scores={"full": Interval(0.9, 0.89, 0.91), "lora": Interval(0.895, 0.885, 0.905)},
    against=[Against("lora", Interval(0.005, -0.004, 0.014), 0.31, same=True)],
    beats_baselines=True,
    findings=[],
)
COMPARISON = Comparison(
    data="reviews.csv",
    metric="accuracy",
    more_is_better=True,
    budget="100 steps each",
    command="whet compare reviews.csv",
    rows={"train": 800, "validation": 100, "test": 1821},
    measured="test",
    candidates=[
        candidate("full", 100.0),
        candidate("lora", 40.0),
        candidate("head", 5.0, "dropped", "0.1 behind full"),
        candidate("bitfit", 1.0, "failed", "the layers of llama have no biases"),
    ],
    baselines={"majority": {"accuracy": 0.5}, "tfidf": {"accuracy": 0.8}},
    seconds=150.0,
    verdict=VERDICT,
)
CLEAR = replace(
    VERDICT,
    clear=True,
    cheapest="full",
    against=[Against("lora", Interval(0.02, 0.008, 0.03), 0.0004, same=False)],
)


def told(comparison: Comparison, language: Language = "en") -> str:
    return " ".join(sentences(comparison, language))


def test_inside_the_noise_there_is_no_winner_and_the_cheapest_is_advised() -> None:
    said = told(COMPARISON)
    assert "There is no winner" in said
    assert "wins" not in said
    assert "lora cannot be told apart" in said
    assert "Take lora" in said
    assert "40 s against 1 min 40 s for full" in said
    assert "McNemar p = 0.31" in said
    assert "inside the noise" in said
    assert "head after 12 of 100 steps" in said
    assert "bitfit failed: the layers of llama have no biases." in said
    assert "one seed" in said
    assert "the best of them is tfidf with 0.8000" in said


def test_a_clear_lead_is_a_win() -> None:
    said = told(replace(COMPARISON, verdict=CLEAR))
    assert said.startswith("full wins: accuracy 0.9000 (0.8900 to 0.9100) on 1,821 test rows.")
    assert "McNemar p < 0.001" in said
    assert "no winner" not in said


def test_baselines_that_are_not_beaten_are_named() -> None:
    near = replace(COMPARISON, baselines={**COMPARISON.baselines, "features": {"accuracy": 0.89}})
    assert "NOT better by more than noise than features (0.8900)" in told(near)


def test_one_alone_is_no_winner_over_others_on_the_test_rows() -> None:
    alone = replace(VERDICT, clear=True, cheapest="full", against=[], scores={"full": Interval(0.9, 0.89, 0.91)})
    said = told(replace(COMPARISON, verdict=alone))
    assert "the only one that came to the end" in said
    assert "What they would have come to, --exhaustive tells." in said
    assert "wins" not in said


def test_what_is_not_finished_and_what_was_found_are_told() -> None:
    assert "not finished" in told(replace(COMPARISON, verdict=None))
    finding = Finding("R001", "warning", "full: rate 0.01 is 200 times too high", "loss 2.3", "1e-4")
    found = replace(COMPARISON, verdict=replace(VERDICT, findings=[finding]))
    assert "R001, a likely cause of its score: full: rate 0.01 is 200 times too high; try 1e-4." in told(found)
    assert "no test rows" in told(replace(COMPARISON, measured="validation"))


def test_less_can_be_better() -> None:
    flipped = replace(
        COMPARISON,
        metric="loss",
        more_is_better=False,
        baselines={"pretrained": {"loss": 2.0}},
        verdict=replace(CLEAR, scores={"full": Interval(0.3, 0.28, 0.32), "lora": Interval(0.32, 0.3, 0.34)}),
    )
    assert "the best of them is pretrained with 2.0000" in told(flipped)


@pytest.mark.parametrize("verdict", [VERDICT, CLEAR, None])
def test_korean_says_as_much(verdict: Verdict | None) -> None:
    comparison = replace(COMPARISON, verdict=verdict)
    assert len(sentences(comparison, "ko")) == len(sentences(comparison, "en"))
    assert "우승자가 없습니다" in told(COMPARISON, "ko")
    assert WORDS["ko"].keys() == WORDS["en"].keys()


@pytest.mark.parametrize("width", [80, 120])
def test_the_leaderboard_has_everybody_in_order_and_fits(width: int) -> None:
    console = Console(file=StringIO(), width=width)
    leaderboard.show(console, COMPARISON, Path("runs/compare"))
    assert isinstance(console.file, StringIO)
    printed = console.file.getvalue()
    names = ("full", "lora", "head", "bitfit", "majority", "tfidf")
    places = [printed.index(f"\n{name} ") for name in names]
    assert places == sorted(places)
    assert "0.8900 to 0.9100" in printed
    assert "whet predict runs/compare/candidates/lora/seed-0" in printed
    table = printed[: printed.index("There is no winner")]
    assert max(map(len, table.splitlines())) <= width

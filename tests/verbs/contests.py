"""Small comparisons, and somebody who watches them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.run.comparison import Comparison
from whet.verbs.compare import ask
from whet.verbs.comparing import candidates
from whet.verbs.comparing.contest import Contest

METHODS = ["full", "head", "lora", "last_blocks"]


def plain(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    return {
        "data": {"train": str(reviews)},
        "model": str(tiny_model),
        "training": {"steps": 16, "batch_size": 4, "learning_rate": 0.01, "checkpoint_every": 5},
    }


class Silent:
    """Watches without a word, and asks to stop where it is told to."""

    def __init__(self, stop_at: int = 0) -> None:
        self.contest: Contest | None = None
        self.lines: list[str] = []
        self.at_once = 0
        self._left = stop_at

    def round(self, turns: Sequence[tuple[str, int]], number: int, of: int, at_once: int) -> None:
        assert all(steps >= 0 for _, steps in turns)
        self.at_once = at_once

    def turn(self, name: str, steps: int) -> None:
        pass

    def stepped(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            assert self.contest is not None
            self.contest.stop.make("a test")

    def storing(self, name: str, done: int, rows: int) -> None:
        assert done <= rows

    def ended(self, name: str) -> None:
        pass

    def told(self, line: str, *, bad: bool = False) -> None:
        self.lines.append(line)


def begun(recipe: dict[str, Any], folder: Path, stop_at: int = 0, jobs: int | None = None) -> Contest:
    """A comparison that stops after so many steps of all candidates together."""
    asked = ask(recipe, METHODS, [], [], 1, None, False, jobs)
    folder.mkdir()
    candidates.write(folder, asked)
    watcher = Silent(stop_at)
    contest = Contest(folder, asked, watcher)
    watcher.contest = contest
    return contest


def scores(comparison: Comparison) -> dict[str, Any]:
    """All that does not depend on the clock."""
    assert comparison.verdict is not None
    return {
        "states": {
            one.name: [(a.state, a.step, a.validation, a.test) for a in one.attempts] for one in comparison.candidates
        },
        "scores": comparison.verdict.scores,
        "against": comparison.verdict.against,
        "baselines": comparison.baselines,
    }

"""Comparisons in several processes: the very same, whoever is stopped or killed meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import whet
from tests.verbs.contests import Silent, begun, plain, scores
from whet.errors import InterruptedRunError, RecipeError
from whet.evaluate import halving
from whet.verbs.comparing import candidates, contest
from whet.verbs.comparing.lanes import Lanes


@pytest.fixture(scope="module", autouse=True)
def early() -> Iterator[None]:
    """Runs of a few steps are looked at too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halving, "LEAST", 1)
        yield


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    return plain(reviews, tiny_model)


@pytest.fixture(scope="module")
def whole(reviews: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of the comparison in one process."""
    return scores(begun(plain(reviews, tiny_model), tmp_path_factory.mktemp("whole") / "c", jobs=1).run())


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_beside_each_other_and_moved_runs_are_what_they_are_one_after_the_other(
    recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path
) -> None:
    class First(Silent):
        """Lets all of the first round happen in one of the processes."""

        def round(self, turns: Any, number: int, of: int, at_once: int) -> None:
            assert self.contest is not None
            self.contest._crew.at_once = 1 if number == 1 else 2  # type: ignore[misc]

    made = begun(recipe, tmp_path / "c", jobs=2)
    assert isinstance(made._crew, Lanes)
    watcher = First()
    made._watcher, watcher.contest = watcher, made
    before = len(children())
    comparison = made.run()
    assert scores(comparison) == whole
    assert set(made._crew._homes.values()) == {0, 1}
    assert comparison.jobs == 2
    assert "--jobs 2" in comparison.command
    for one in comparison.candidates:
        assert 0 < one.trainable <= one.total
        assert one.attempts[0].seconds > 0
        assert one.attempts[0].peak_memory_bytes > 0
        assert one.stored_bytes > 0
    assert len(children()) == before


@pytest.mark.slow
def test_stopped_and_resumed(recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError, match="whet resume"):
        begun(recipe, tmp_path / "broken", 9, jobs=2).run()
    assert not (tmp_path / "broken" / "candidates" / "full" / "seed-0" / "metrics.json").exists()
    assert scores(whet.compare(resume=tmp_path / "broken", quiet=True).comparison) == whole


@pytest.mark.slow
def test_a_process_that_is_killed_ends_its_run_and_no_other(recipe: dict[str, Any], tmp_path: Path) -> None:
    class Killer(Silent):
        """Kills whoever takes the third step of all."""

        def stepped(self, name: str) -> None:
            self._left += 1
            if self._left == 3:
                self.killed = name
                assert self.contest is not None
                crew = self.contest._crew
                assert isinstance(crew, Lanes)
                position = next(place for place, turn in crew._busy.items() if turn.called == name)
                crew._workers.kill(position)

    made = begun(recipe, tmp_path / "c", jobs=2)
    watcher = Killer()
    made._watcher, watcher.contest = watcher, made
    comparison = made.run()
    states = {one.name: one.attempts[0] for one in comparison.candidates}
    failed = states.pop(watcher.killed)
    assert failed.state == "failed"
    assert "its process ended with -9" in failed.reason
    assert "--jobs 1" in failed.reason
    assert {attempt.state for attempt in states.values()} <= {"finished", "dropped"}
    assert any("its process ended" in line for line in watcher.lines)


@pytest.mark.slow
def test_killed_and_resumed(recipe: dict[str, Any], whole: dict[str, Any], tmp_path: Path) -> None:
    made = begun(recipe, tmp_path / "c", jobs=2)
    del made
    code = (
        "import sys; from pathlib import Path; from rich.console import Console; from whet.evaluate import halving; "
        "from whet.verbs.compare import go_on; halving.LEAST = 1; go_on(Path(sys.argv[1]), Console(quiet=True))"
    )
    main = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c")])
    runs = tmp_path / "c" / "candidates"
    deadline = time.monotonic() + 120
    while not list(runs.glob("*/*/events.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    lanes = psutil.Process(main.pid).children()
    assert len(lanes) == 2
    os.kill(main.pid, signal.SIGKILL)
    main.wait()
    # They let go of their runs by themselves.
    assert psutil.wait_procs(lanes, 10)[1] == []
    assert scores(whet.compare(resume=tmp_path / "c", quiet=True).comparison) == whole


def test_how_many_is_chosen_by_what_there_is(recipe: dict[str, Any], tmp_path: Path) -> None:
    made = begun(recipe, tmp_path / "one-thread")
    assert made._crew.at_once == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 4)
        assert contest._jobs(made._asked, made._field) == 2
        patch.setattr(contest, "free_memory", lambda _: 10**9)
        assert contest._jobs(made._asked, made._field) == 1
    timed = candidates.Asked(made._asked.recipe, ["head", "full"], budget=candidates.Budget(seconds=600))
    assert contest._jobs(timed, made._field) == 1


def test_what_cannot_be_beside_each_other_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the same time each"):
        whet.compare(recipe, methods=["head"], budget="20m", jobs=2, out=tmp_path / "c", quiet=True)
    with pytest.raises(RecipeError, match="at least one"):
        whet.compare(recipe, methods=["head"], jobs=0, out=tmp_path / "c", quiet=True)
    assert not (tmp_path / "c").exists()

"""A comparison under way, in a file and in a terminal."""

from io import StringIO

from rich.console import Console

from whet.events import Step, Storing
from whet.report.race import Race


class Clock:
    """Goes on by a second whenever it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(number: int) -> Step:
    return Step(number, 0.1, 0.5, 1e-4, 1.0, 16, 100, 0.1)


def raced(console: Console) -> None:
    """Two rounds: a step of the first takes two seconds, one of the second half a second."""
    clock = Clock()
    with Race(console, clock) as race:
        race.round([("full", 2), ("head", 4)], 1, 2)
        for name, steps, seconds in (("full", 2, 2.0), ("head", 4, 0.5)):
            race.turn(name, steps)
            race.event(Storing(0, 1, 10))
            for number in range(steps):
                clock.now += seconds
                race.event(step(number + 1))
            race.told(f"{name}: [bold]accuracy[/bold] 0.9")
        race.round([("full", 10), ("head", 10)], 2, 2)
        race.turn("full", 10)
        race.told("full failed", bad=True)
        race.turn("head", 10)


def test_in_a_file_there_is_a_line_for_everything_and_an_estimate_once_there_can_be_one() -> None:
    console = Console(file=StringIO(), width=80)
    raced(console)
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "round 1 of 2: full, head; 6 steps in all",
        "full: [bold]accuracy[/bold] 0.9",
        "head: [bold]accuracy[/bold] 0.9",
        "round 2 of 2: full, head; 20 steps in all, about 25 s",
        "full failed",
    ]


def test_in_a_terminal_a_bar_shows_whose_turn_it_is() -> None:
    console = Console(file=StringIO(), width=100, force_terminal=True, legacy_windows=False)
    raced(console)
    assert isinstance(console.file, StringIO)
    assert "round 2 of 2" in console.file.getvalue()

"""A comparison under way, in a file and in a terminal."""

from io import StringIO

from rich.console import Console

from whet.report.race import Race


class Clock:
    """Goes on by a second whenever it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def raced(console: Console) -> None:
    """Two rounds: a step of the first takes two seconds, one of the second half a second."""
    clock = Clock()
    with Race(console, clock) as race:
        race.round([("full", 2), ("head", 4)], 1, 2, 1)
        for name, steps, seconds in (("full", 2, 2.0), ("head", 4, 0.5)):
            race.turn(name, steps)
            race.storing(name, 1, 10)
            for _ in range(steps):
                clock.now += seconds
                race.stepped(name)
            race.ended(name)
            race.told(f"{name}: [bold]accuracy[/bold] 0.9")
        race.round([("full", 10), ("head", 10)], 2, 2, 1)
        race.turn("full", 10)
        race.ended("full")
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


def test_two_at_once_take_half_of_the_time_but_no_less_than_the_longer_one() -> None:
    console = Console(file=StringIO(), width=120, force_terminal=True, legacy_windows=False)
    clock = Clock()
    with Race(console, clock) as race:
        race.round([("full", 10), ("head", 10), ("lora, seed 1", 10)], 1, 1, 2)
        race.turn("full", 10)
        race.turn("head", 10)
        clock.now = 1.0
        race.stepped("full")
        race.stepped("head")
        # 9 s of each that runs and 10 s of the other, shared by two.
        assert race._left() == 14.0
        race.ended("head")
        race.turn("lora, seed 1", 10)
        race.ended("lora, seed 1")
        assert race._left() == 9.0

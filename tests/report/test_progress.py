"""Progress in a file and in a terminal."""

import dataclasses
import math
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from whet.events import (
    Evaluated,
    Event,
    Finished,
    Mixed,
    NotStored,
    Saved,
    StageChanged,
    Started,
    Step,
    Stopped,
    Stored,
    Storing,
)
from whet.report.progress import Progress


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(number: int, loss: float = 0.5, tokens: int = 400, seconds: float = 2.0) -> Step:
    return Step(number, number / 10, loss, 1e-4, 1.0, 16, tokens, seconds)


def shown(events: Sequence[Event], terminal: bool = False, metric: str = "", width: int = 80) -> str:
    """All that is printed for ``events``, with a clock that goes on by two seconds at each step."""
    clock = Clock()
    console = Console(file=StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False)
    with Progress(console, metric, clock) as progress:
        for event in events:
            clock.now += 2.0 * isinstance(event, Step)
            progress.show(event)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


STARTED = Started(steps=100, step=0, epochs=10, rows=160, trainable=1_200_000, total=22_700_000)


def test_a_file_gets_one_line_for_each_tenth_and_no_control_character() -> None:
    text = shown([STARTED, *(step(number) for number in range(1, 101))])
    lines = text.splitlines()
    assert lines[0] == "100 steps, 10 epochs of 160 rows; 1.2 M of 22.7 M parameters train (5.3%)"
    assert len(lines) == 11
    assert lines[1] == "step 10/100  epoch 1.00  loss 0.5000  200 tokens/s  3 min 00 s left"
    assert lines[10] == "step 100/100  epoch 10.00  loss 0.5000  200 tokens/s"
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_an_evaluation_is_one_line_with_the_deciding_score_first() -> None:
    scores = {"log_loss": 0.3, "accuracy": 0.91}
    text = shown(
        [STARTED, step(1), Evaluated(1, 0.1, scores, True, 1.0), Evaluated(2, 0.2, scores, False, 1.0)],
        metric="accuracy",
    )
    lines = text.splitlines()
    assert lines[1] == "step 1/100  epoch 0.10  loss 0.5000  accuracy 0.9100  log_loss 0.3000  best"
    assert lines[2].endswith("log_loss 0.3000")


def test_a_mix_is_one_line_that_says_whether_it_stays() -> None:
    scores = {"log_loss": 0.3, "accuracy": 0.91}
    mixes = [Mixed(100, 0.75, scores, True, 1.0), Mixed(100, 0.5, scores, False, 1.0)]
    lines = shown([STARTED, *mixes], metric="accuracy").splitlines()
    assert lines[1] == "75% of the trained weights, the rest pre-trained: accuracy 0.9100: better, so it stays"
    assert lines[2] == "50% of the trained weights, the rest pre-trained: accuracy 0.9100"


def test_the_closing_line_tells_of_a_mix() -> None:
    scores = {"accuracy": 0.9}
    mixed, plain = (shown([STARTED, Finished(9, 7, scores, scores, share)]) for share in (0.75, 1.0))
    assert "those of step 7, of which 75% are mixed with the pre-trained ones: accuracy 0.9000" in mixed
    assert "mixed" not in plain


def test_the_loss_is_smoothed_and_right_from_the_first_step() -> None:
    lines = shown([Started(2, 0, 1, 32, 1, 1), step(1, loss=1.0), step(2, loss=0.0)]).splitlines()
    assert "loss 1.0000" in lines[1]
    # Weights 0.1 for the last step and 0.9 * 0.1 for the one before.
    assert f"loss {0.09 / 0.19:.4f}" in lines[2]


def test_a_loss_that_is_no_number_is_told_and_forgotten_when_the_next_is_one() -> None:
    events: list[Event] = [Started(3, 0, 1, 48, 1, 1), step(1, loss=0.5), step(2, loss=math.nan), step(3, loss=0.5)]
    lines = shown(events).splitlines()
    assert "loss nan" in lines[2]
    assert "loss 0.5000" in lines[3]


def test_a_resumed_run_goes_on_where_it_was() -> None:
    events: list[Event] = [Started(100, 50, 10, 160, 5, 10), *(step(number) for number in range(51, 62))]
    lines = shown(events).splitlines()
    assert "going on after step 50" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == ["60/100"]
    assert "1 min 20 s left" in lines[1]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_without_a_step_can_be_shown(terminal: bool) -> None:
    text = visible(
        shown([Started(0, 0, 0, 0, 0, 0), Evaluated(0, 0.0, {}, True, 0.0), Finished(0, 0, {}, {})], terminal)
    )
    assert "0 steps, 0 epochs of 0 rows" in text
    assert "best weights are those of step 0" in text


def test_data_without_tokens_is_counted_in_rows() -> None:
    assert "8 rows/s" in shown([Started(1, 0, 1, 16, 1, 1), step(1, tokens=0)])


def test_steps_of_no_duration_have_no_speed() -> None:
    assert "? tokens/s" in shown([Started(1, 0, 1, 16, 1, 1), step(1, seconds=0.0)])


def test_a_slow_start_does_not_count_for_the_time_left() -> None:
    clock = Clock()
    console = Console(file=StringIO(), width=80)
    with Progress(console, clock=clock) as progress:
        progress.show(Started(3, 0, 1, 48, 1, 1))
        clock.now += 1000
        progress.show(step(1))
        clock.now += 3
        progress.show(step(2))
    assert isinstance(console.file, StringIO)
    assert "  3.0 s left" in console.file.getvalue().splitlines()[-1]


def test_stages_stops_and_the_end_are_told_and_checkpoints_are_not() -> None:
    events: list[Event] = [
        STARTED,
        StageChanged(0, "[red]head", 770),
        Saved(10, Path("checkpoints/10")),
        Stopped(30, "3 evaluations without a better score", resumable=False),
        Stopped(31, "interrupted", resumable=True),
        Finished(31, 20, {"accuracy": 0.9}, {"accuracy": 0.9}),
    ]
    lines = shown(events).splitlines()[1:]
    assert lines == [
        "stage [red]head: 770 parameters train from here (< 0.01%)",
        "stopped at step 30 of 100: 3 evaluations without a better score",
        "stopped at step 31 of 100: interrupted; the rest can be resumed",
        "best weights are those of step 20: accuracy 0.9000, the same when measured again",
    ]


def test_a_difference_beyond_the_digits_shown_is_none() -> None:
    text = shown([STARTED, Finished(9, 9, {"log_loss": 0.30001}, {"log_loss": 0.30002})])
    assert "log_loss 0.3000, the same when measured again" in text


def test_a_score_that_changed_when_measured_again_is_told_with_both_values() -> None:
    text = shown([STARTED, Finished(9, 9, {"accuracy": 0.9}, {"accuracy": 0.8})])
    assert "accuracy 0.9000 in the run, but 0.8000 when measured again" in text


def test_a_terminal_shows_a_bar_above_which_the_evaluations_form_a_table() -> None:
    scores = {"log_loss": 0.3, "accuracy": 0.91}
    events: list[Event] = [
        STARTED,
        step(1),
        Evaluated(1, 0.1, scores, True, 1.0),
        step(2),
        Evaluated(2, 0.2, {"log_loss": 0.4}, False, 1.0),
        step(3),
    ]
    text = visible(shown(events, terminal=True, metric="accuracy"))
    lines = [line.rstrip() for line in text.splitlines()]
    assert "   epoch      step      loss  accuracy  log_loss" in lines
    assert "    0.10         1    0.5000    0.9100    0.3000  best" in lines
    assert "    0.20         2    0.5000         -    0.4000" in lines
    assert "3/100" in text
    assert "\x1b[?25h" in shown(events, terminal=True), "the cursor is shown again"


def test_the_bar_tells_the_last_score_and_the_best() -> None:
    events: list[Event] = [
        STARTED,
        step(1),
        Evaluated(1, 0.1, {"accuracy": 0.9}, True, 1.0),
        Evaluated(2, 0.2, {"accuracy": 0.8}, False, 1.0),
        step(3),
    ]
    assert "accuracy 0.8000 (best 0.9000)" in visible(shown(events, terminal=True))
    assert "accuracy 0.9000 (best)" in visible(shown(events[:3], terminal=True))


def test_a_resumed_run_that_does_not_know_its_best_claims_none() -> None:
    text = visible(shown([Started(9, 5, 1, 9, 1, 1), Evaluated(6, 0.1, {"accuracy": 0.8}, False, 1.0)], terminal=True))
    assert "accuracy 0.8000" in text
    assert "best" not in text


def test_no_line_of_the_bar_or_the_table_is_wider_than_the_terminal() -> None:
    scores = {f"a_rather_long_metric_{number}": 0.5 for number in range(9)}
    events: list[Event] = [STARTED, step(1), Evaluated(1, 0.1, scores, True, 1.0), step(2)]
    for width in (60, 80):
        assert max(map(len, visible(shown(events, terminal=True, width=width)).splitlines())) <= width


def test_the_bar_goes_away_when_the_run_fails() -> None:
    console = Console(file=StringIO(), width=80, force_terminal=True, legacy_windows=False)

    def interrupted() -> None:
        with Progress(console) as progress:
            progress.show(STARTED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert isinstance(console.file, StringIO)
    assert "\x1b[?25h" in console.file.getvalue()


STORED = Stored(
    step=0,
    blocks=4,
    of=6,
    rows=1200,
    reused=0,
    size=3_500_000,
    folder=Path("/cache/whet/0123abcd"),
    share=0.654,
    seconds=12.3,
)


def test_what_was_stored_is_told_in_one_line() -> None:
    storing = [Storing(0, done, 1200) for done in range(0, 1201, 100)]
    lines = shown([STARTED, *storing, STORED]).splitlines()
    assert lines[1:] == [
        "4 of 6 blocks are frozen: computed once in 12 s, 3.3 MiB in /cache/whet; each step saves 65% of a forward pass"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks": 6}, "all 6 blocks are frozen: computed once in 12 s"),
        ({"reused": 1000}, "computed once in 12 s (1,000 rows known already), 3.3 MiB in /cache/whet"),
        ({"reused": 1200}, "4 of 6 blocks are frozen: read from an earlier run, 3.3 MiB in /cache/whet"),
        ({"folder": None}, "computed once in 12 s, 3.3 MiB in memory; each step"),
    ],
)
def test_the_line_says_where_the_outputs_come_from_and_where_they_are(changes: dict[str, Any], words: str) -> None:
    assert words in shown([STARTED, dataclasses.replace(STORED, **changes)])


def test_why_nothing_is_stored_is_told() -> None:
    lines = shown([STARTED, Storing(0, 3, 9), NotStored(0, "the disk is [full]")]).splitlines()
    assert lines[1:] == ["frozen layers are computed at every step: the disk is [full]"]


@pytest.mark.parametrize("end", [STORED, NotStored(0, "no room")])
def test_a_terminal_shows_how_far_storing_is_until_it_ends(end: Event) -> None:
    begun = visible(shown([STARTED, Storing(0, 400, 1200)], terminal=True))
    assert "400/1,200 rows" in begun
    assert "computing the frozen layers once" in begun
    assert "/100 " not in begun
    ended = visible(shown([STARTED, Storing(0, 400, 1200), end, step(1)], terminal=True))
    assert "1,200 rows" not in ended
    assert "1/100" in ended


def test_storing_does_not_count_for_the_time_left() -> None:
    clock = Clock()
    console = Console(file=StringIO(), width=80)
    with Progress(console, clock=clock) as progress:
        progress.show(Started(3, 0, 1, 48, 1, 1))
        for seconds, event in ((500.0, Storing(0, 48, 48)), (500.0, STORED), (1.0, step(1)), (3.0, step(2))):
            clock.now += seconds
            progress.show(event)
    assert isinstance(console.file, StringIO)
    assert "  3.0 s left" in console.file.getvalue().splitlines()[-1]


def test_an_event_before_the_start_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="Step came before Started"):
        shown([step(1)])

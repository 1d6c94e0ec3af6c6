from collections import Counter
from dataclasses import replace

import pytest

from whet.planning.fit import Fit, settle
from whet.planning.memory import Held, Memory, as_measured, highest, rule_of_thumb
from whet.planning.time import Line, duration
from whet.planning.trace import Kind, Traced

HELD = Held(weights=1000, trained=100, moments=2, runtime=50, cache=7, data=3, several_evaluations=False)


def traced(**peak: int) -> Traced:
    """A step with this at its highest moment."""
    kinds: Counter[Kind] = Counter()
    for kind, size in peak.items():
        kinds[kind] = size  # type: ignore[index]
    return Traced(kinds)


def test_terms_add_up_at_the_highest_moment() -> None:
    found = highest(HELD, traced(activations=600, working=20, gradients=300, logits=40, copies=200))
    assert found == Memory(
        "step",
        weights=1200,
        gradients=300,
        optimizer=800,
        activations=620,
        logits=40,
        cache=7,
        data=3,
        runtime=50,
    )
    assert found.total == sum(found.terms.values()) == 3020


def test_best_weights_are_there_once_something_was_evaluated() -> None:
    step = traced(activations=100)
    assert highest(HELD, step).moment == "best"
    later = highest(replace(HELD, several_evaluations=True), step)
    assert (later.moment, later.best, later.activations) == ("step", 400, 100)
    assert highest(replace(HELD, best_here=False, several_evaluations=True), step).best == 0


def test_reading_validation_rows_may_need_most() -> None:
    found = highest(replace(HELD, several_evaluations=True), traced(gradients=30), traced(activations=9000))
    assert (found.moment, found.activations, found.gradients) == ("evaluation", 9000, 0)


def test_copies_of_what_trains_count() -> None:
    assert highest(replace(HELD, copies=2), traced()).weights == 1000 + 2 * 400


def test_the_rule_of_thumb() -> None:
    assert rule_of_thumb(10, 5) == 180


def test_what_was_measured_replaces_what_was_computed() -> None:
    computed = Memory("step", weights=100, activations=50, runtime=10)
    same = as_measured(computed, [(120, 130), (200, 160)], 20)
    assert same.total == 200
    assert (same.runtime, same.weights, same.activations) == (20, 100, 80)
    # 40 more were computed than for the larger point; two measured bytes came with each computed one.
    more = as_measured(replace(computed, activations=90), [(140, 130), (200, 160)], 20)
    assert more.total == 200 + 2 * 40


def test_weights_that_nobody_reads_are_not_there() -> None:
    found = as_measured(Memory("step", weights=100, activations=5, runtime=10), [(80, 115)], 20)
    assert found.total == 80
    assert (found.weights, found.activations) == (60, 0)


# --- settings -----------------------------------------------------------------------------------------------------


def need(rows: int, recompute: bool) -> Memory:
    """A hundred bytes, and ten for each row, or three where blocks compute twice."""
    return Memory("step", weights=100, activations=rows * (3 if recompute else 10))


def chosen(fit: Fit) -> tuple[int, bool, bool]:
    return fit.micro_batch_size, fit.gradient_checkpointing, fit.fits


@pytest.mark.parametrize(
    ("room", "expected"),
    [(1000, (16, False, True)), (200, (8, False, True)), (120, (1, False, True)), (109, (1, True, True))],
)
def test_the_cheapest_settings_that_fit_are_taken(room: int, expected: tuple[int, bool, bool]) -> None:
    assert chosen(settle(need, room, 16)) == expected


def test_where_nothing_fits_the_least_is_told() -> None:
    assert chosen(settle(need, 50, 16)) == (1, True, False)
    asked: list[int] = []

    def counting(rows: int, recompute: bool) -> Memory:
        asked.append(rows)
        return need(rows, recompute)

    assert chosen(settle(counting, 50, 16, least=100)) == (1, True, False)
    assert asked == [1]


def test_what_was_asked_for_is_where_the_search_begins() -> None:
    assert chosen(settle(need, 10_000, 16, asked=(4, True))) == (4, True, True)
    fit = settle(need, 10_000, 16, asked=(4, True))
    assert fit.assignments(16) == ["training.micro_batch_size=4", "training.gradient_checkpointing=true"]
    assert settle(need, 10_000, 16).assignments(16) == []


def test_files_that_are_mapped_leave_when_room_is_needed() -> None:
    assert settle(lambda *_: Memory("step", weights=90, cache=900), 100, 1).fits


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_line_goes_through_what_was_measured() -> None:
    line = Line.through((100, 3.0), (200, 5.0))
    assert (line.of(0), line.of(100), line.of(300)) == pytest.approx((1.0, 3.0, 7.0))
    # Faster over more tokens is noise, and so is less than nothing over none.
    assert Line.through((100, 5.0), (200, 4.0)).of(50) == pytest.approx(4.0)
    assert Line.through((100, 1.0), (200, 4.0)).of(100) == pytest.approx(2.0)
    assert Line.through((100, 1.0), (100, 1.0)).of(50) == pytest.approx(0.5)


def test_a_run_lasts_as_long_as_its_parts() -> None:
    lasts = duration([10, 30], steps=6, step=Line(1.0, 0.1), once=5.0, evaluation=2.0, evaluations=4)
    assert (lasts.step, lasts.epoch, lasts.evaluations, lasts.total) == pytest.approx((3.0, 8.0, 8.0, 31.0))

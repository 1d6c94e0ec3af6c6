"""Who goes on, and for how long."""

import pytest

from whet.evaluate.halving import Gap, decide, rounds, rungs


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (1299, None, (162, [162, 324, 648])),
        (400, None, (50, [100, 200])),
        # Too short to be looked at before the end.
        (87, None, (10, [])),
        (1, None, (1, [])),
        # Evaluations that the user wants elsewhere: the first at or after each share.
        (1000, 100, (100, [200, 300, 500])),
        (1000, 400, (400, [400, 800])),
        (100, 100, (100, [])),
    ],
)
def test_rungs_are_evaluations_of_the_run_itself(
    steps: int, every: int | None, expected: tuple[int, list[int]]
) -> None:
    apart, at = rungs(steps, every)
    assert (apart, at) == expected
    assert all(step % apart == 0 for step in at)


def test_a_quarter_goes_on_and_all_others_that_may_be_ahead() -> None:
    gaps = {
        "leader": Gap(0.0, 0.0, 0.01),
        "second": Gap(0.05, 0.01, 0.02),
        "near": Gap(0.009, 0.01, 0.02),
        "edge": Gap(0.06, 0.06, 0.03),
        "far": Gap(0.07, 0.06, 0.03),
        "hopeless": Gap(0.3, 0.01, 0.2),
    }
    decision = decide(gaps)
    # Two of six in any case: the leader and 'near'. 'second' is nearer than 'edge', and surely behind.
    assert decision.kept == ("leader", "near", "edge")
    assert decision.dropped == ("second", "far", "hopeless")


def test_the_highest_metric_goes_on_however_sure_its_wrong_answers_are() -> None:
    gaps = {
        "calm": Gap(0.0, 0.0, 0.02),
        "second": Gap(0.1, 0.01, 0.02),
        "third": Gap(0.2, 0.01, 0.01, 0.005),
        "close": Gap(0.3, 0.01, 0.01, 0.01),
        "loud": Gap(0.5, 0.01, 0.0),
    }
    assert decide(gaps).kept == ("calm", "second", "close", "loud")


def test_two_go_on_at_least() -> None:
    gaps = {f"c{n}": Gap(n / 10, 0.01, n / 10) for n in range(3)}
    assert decide(gaps).kept == ("c0", "c1")
    assert decide(dict(list(gaps.items())[:1])).kept == ("c0",)
    # Unless the time is up.
    assert decide(gaps, most=1).kept == ("c0",)


def test_the_advised_one_goes_on_in_the_place_of_another() -> None:
    gaps = {f"c{n}": Gap(n / 10, 0.01, n / 10) for n in range(8)}
    assert decide(gaps).kept == ("c0", "c1")
    assert decide(gaps, advised=["c5", "c6"]).kept == ("c0", "c5")
    assert decide(gaps, advised=["c0", "c5"]).kept == ("c0", "c1")
    assert decide(gaps, advised=["not there"]).kept == ("c0", "c1")


def test_nobody_within_one_standard_error_is_dropped() -> None:
    gaps = {f"c{n}": Gap(n / 1000, 0.02, 0.1) for n in range(20)}
    assert decide(gaps).dropped == ()


def test_time_that_is_up_is_stronger_than_doubt() -> None:
    gaps = {f"c{n}": Gap(n / 1000, 0.02, 0.1) for n in range(8)}
    assert decide(gaps, most=3).kept == ("c0", "c1", "c2")
    assert decide(gaps, most=0).kept == ("c0", "c1")


def test_rounds_count_what_everybody_takes() -> None:
    assert rounds(8, 800, [100, 200, 400]) == [(8, 100), (2, 100), (2, 200), (2, 400)]

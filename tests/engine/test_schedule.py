import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, LinearLR, LRScheduler, OneCycleLR, StepLR

from whet.engine.schedule import PlateauState, course, pace, stage_ends, warmup_steps
from whet.sections import SCHEDULES

ALL = {name: section().model_dump() for name, section in SCHEDULES.items()}
SMOOTH = sorted(ALL.keys() - {"step"})
STEPS = 1000

names = st.sampled_from(sorted(ALL))
shares = st.floats(0, 1, exclude_max=True)
counts = st.integers(1, 500)


def rates(schedule: dict[str, Any], steps: int = STEPS, warmup: float = 0.0) -> list[float]:
    """Factor on the learning rate at every step of a run."""
    return [pace(schedule, warmup, step, steps).rate for step in range(steps)]


# --- for all schedules ------------------------------------------------------------------------------------------


@given(names, shares)
def test_rate_is_a_share_of_the_peak(name: str, progress: float) -> None:
    assert 0.0 <= course(ALL[name], progress).rate <= 1.0


@given(st.sampled_from(SMOOTH), st.floats(0, 0.999))
def test_rate_and_momentum_never_jump(name: str, progress: float) -> None:
    here, next_to_it = course(ALL[name], progress), course(ALL[name], progress + 1e-4)
    assert next_to_it.rate == pytest.approx(here.rate, abs=2e-3)
    if here.momentum is not None:
        assert next_to_it.momentum == pytest.approx(here.momentum, abs=2e-3)


@given(names, counts, shares)
def test_every_step_of_a_run_has_a_rate_and_the_warm_up_ends_before_the_run(
    name: str, steps: int, warmup: float
) -> None:
    warm = warmup_steps(warmup, steps)
    assert 0 <= warm < steps
    found = rates(ALL[name], steps, warmup)
    assert all(0.0 <= rate <= 1.0 for rate in found)
    assert found[:warm] == sorted(found[:warm])
    assert found[warm] == course(ALL[name], 0.0).rate


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("constant", 1.0, 1.0),
        ("plateau", 1.0, 1.0),
        ("linear", 1.0, 0.0),
        ("cosine", 1.0, 0.0),
        ("step", 1.0, 0.01),
        ("cyclic", 0.1, 0.1),
        ("one_cycle", 0.04, 0.0001),
        ("slanted_triangular", 1 / 32, 1 / 32),
    ],
)
def test_rate_at_both_ends(name: str, first: float, last: float) -> None:
    assert course(ALL[name], 0.0).rate == pytest.approx(first)
    assert course(ALL[name], 1 - 1e-9).rate == pytest.approx(last, abs=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_final_rate_is_reached(name: str) -> None:
    assert course({"name": name, "final": 0.25}, 1.0).rate == pytest.approx(0.25)


def test_a_schedule_that_nobody_wrote_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="sawtooth"):
        course({"name": "sawtooth"}, 0.5)


# --- warm-up ----------------------------------------------------------------------------------------------------


def test_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    assert rates(ALL["constant"], 10, warmup=0.4) == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 6])


def test_a_schedule_has_its_whole_course_after_the_warm_up() -> None:
    assert rates(ALL["linear"], 6, warmup=1 / 3) == pytest.approx([1 / 3, 2 / 3, 1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize(("steps", "expected"), [(1, [1.0]), (2, [0.5, 1.0])])
def test_the_shortest_runs_reach_the_peak_whatever_the_warm_up(steps: int, expected: list[float]) -> None:
    assert rates(ALL["linear"], steps, warmup=0.99) == expected


# --- the papers' own formulas -----------------------------------------------------------------------------------


def test_slanted_triangular_is_that_of_howard_and_ruder() -> None:
    cut_frac, ratio = 0.1, 32
    cut = math.floor(STEPS * cut_frac)

    def paper(t: int) -> float:
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        return (1 + p * (ratio - 1)) / ratio

    found = rates(ALL["slanted_triangular"])
    assert found == pytest.approx([paper(t) for t in range(STEPS)])
    assert found.index(max(found)) == cut
    assert found[50] == pytest.approx(0.515625)


def test_cyclic_is_that_of_smith() -> None:
    stepsize, lowest = STEPS / 8, 0.2

    def paper(t: int) -> float:
        cycle = math.floor(1 + t / (2 * stepsize))
        x = abs(t / stepsize - 2 * cycle + 1)
        return lowest + (1 - lowest) * max(0.0, 1 - x)

    found = rates({"name": "cyclic", "cycles": 4, "lowest": lowest})
    assert found == pytest.approx([paper(t) for t in range(STEPS)])
    assert [found[t] for t in (0, 125, 250, 375)] == pytest.approx([0.2, 1.0, 0.2, 1.0])


def test_one_cycle_rises_and_falls_once_with_the_momentum_the_other_way_round() -> None:
    one_cycle = ALL["one_cycle"]
    paces = [course(one_cycle, progress) for progress in (0.0, 0.15, 0.3, 0.65, 1.0)]
    assert [p.rate for p in paces] == pytest.approx([0.04, 0.52, 1.0, 0.50005, 0.0001])
    assert [p.momentum for p in paces] == pytest.approx([0.95, 0.9, 0.85, 0.9, 0.95])


def of_torch(kind: type[LRScheduler], **options: Any) -> tuple[list[float], list[float]]:
    """Learning rate and momentum at every step by torch's own scheduler, with a peak of 1."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = kind(optimizer, **options)
    rates, momentums = [], []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        momentums.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    return rates, momentums


@pytest.mark.parametrize(
    ("schedule", "kind", "options"),
    [
        ({"name": "cosine", "final": 0.1}, CosineAnnealingLR, {"T_max": STEPS, "eta_min": 0.1}),
        (
            {"name": "linear", "final": 0.1},
            LinearLR,
            {"start_factor": 1.0, "end_factor": 0.1, "total_iters": STEPS},
        ),
        ({"name": "step", "every": 0.25, "factor": 0.5}, StepLR, {"step_size": STEPS // 4, "gamma": 0.5}),
        (
            {"name": "cyclic", "cycles": 5, "lowest": 0.1},
            CyclicLR,
            {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 100, "cycle_momentum": False},
        ),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) and "name" in value else "",
)
def test_schedules_are_those_of_torch(
    schedule: dict[str, Any], kind: type[LRScheduler], options: dict[str, Any]
) -> None:
    assert rates(schedule) == pytest.approx(of_torch(kind, **options)[0])


def test_one_cycle_is_that_of_torch_but_for_the_last_step() -> None:
    # torch divides the run by one step less, so that its last step is at the very end of the course.
    expected = of_torch(OneCycleLR, max_lr=1.0, total_steps=STEPS + 1, final_div_factor=400)
    paces = [pace(ALL["one_cycle"], 0.0, step, STEPS) for step in range(STEPS)]
    assert [p.rate for p in paces] == pytest.approx(expected[0], abs=1e-2)
    assert [p.momentum for p in paces] == pytest.approx(expected[1], abs=1e-2)


@pytest.mark.parametrize("drops", [3, 7, 10])
def test_no_drop_is_late_by_rounding(drops: int) -> None:
    # 0.3 / 0.1 is 2.9999999999999996.
    schedule = {"name": "step", "every": 1 / drops, "factor": 0.5}
    assert rates(schedule, 2 * drops) == pytest.approx([0.5 ** (step // 2) for step in range(2 * drops)])


# --- plateau ----------------------------------------------------------------------------------------------------


def test_plateau_drops_once_the_patience_is_used_up() -> None:
    schedule = {"name": "plateau", "factor": 0.5, "patience": 1}
    state = PlateauState()
    factors = []
    for better in (True, False, False, False, True, False, False, False, False):
        state.observe(better, schedule)
        factors.append(state.factor)
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_other_schedules_do_not_listen_to_the_score() -> None:
    state = PlateauState()
    for _ in range(10):
        state.observe(False, ALL["cosine"])
    assert state == PlateauState()


# --- stages -----------------------------------------------------------------------------------------------------

parts_of_a_run = st.lists(st.floats(0.01, 1), min_size=1, max_size=8).map(lambda s: [x / sum(s) for x in s])


@given(parts_of_a_run, counts)
def test_stages_fill_the_run_and_each_has_a_step_where_there_are_enough(parts: list[float], steps: int) -> None:
    ends = stage_ends(parts, steps)
    lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    assert ends[-1] == steps
    assert min(lengths) >= (1 if steps >= len(parts) else 0)


@pytest.mark.parametrize(
    ("parts", "steps", "ends"),
    [
        ([1.0], 5, [5]),
        ([0.5, 0.5], 6, [3, 6]),
        ([0.1] * 10, 100, [*range(10, 101, 10)]),
        ([0.1, 0.9], 3, [1, 3]),
        ([0.95, 0.05], 4, [3, 4]),
        ([0.25] * 4, 2, [0, 0, 1, 2]),
        ([0.5, 0.5], 1, [0, 1]),
    ],
)
def test_where_stages_end(parts: list[float], steps: int, ends: list[int]) -> None:
    assert stage_ends(parts, steps) == ends

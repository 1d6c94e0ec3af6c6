from pathlib import Path

import pytest

from whet.planning.pace import Effort, Pace, Took, fitted, learn, taken
from whet.planning.time import Line, Load, by_stage, duration
from whet.planning.trace import Traced

USUAL = Pace(speed=1e11, bandwidth=2e10, overhead=1e-5)
EFFORTS = [Effort(3000, 1e9, 1e10), Effort(1000, 4e9, 2e10), Effort(5000, 2e8, 8e10), Effort(400, 1e8, 1e9)]


def test_a_machine_that_nothing_ran_on_is_as_usual() -> None:
    assert fitted(USUAL, []) == USUAL


def test_what_ran_tells_how_fast_the_machine_is() -> None:
    true = Pace(speed=6e10, bandwidth=8e9, overhead=3e-6)
    ran = [Took(e.operations, e.moved, e.flops, true.seconds(e)) for e in EFFORTS * 5]
    found = fitted(USUAL, ran)
    for effort in EFFORTS:
        assert found.seconds(effort) == pytest.approx(true.seconds(effort), rel=0.03)


def test_one_run_scales_the_guess_and_stays_near_it() -> None:
    effort = EFFORTS[0]
    found = fitted(USUAL, [Took(effort.operations, effort.moved, effort.flops, 2 * USUAL.seconds(effort))])
    assert 1.7 < found.seconds(effort) / USUAL.seconds(effort) < 2
    assert USUAL.speed / 3 < found.speed < USUAL.speed


def test_no_part_becomes_free() -> None:
    ran = [Took(1000, 1e9, 0, 1e-9), Took(0, 0, 1e10, 1.0)]
    found = fitted(USUAL, ran)
    assert 0 < found.overhead < USUAL.overhead / 100


def test_runs_are_remembered_by_arithmetic(tmp_path: Path) -> None:
    took = Took(1, 2, 3, 4)
    for _ in range(50):
        learn(tmp_path, "bf16 mkl None 2", took)
    assert taken(tmp_path, "bf16 mkl None 2") == [took] * 40
    assert taken(tmp_path, "fp32 mkl None 2") == []
    assert taken(None, "bf16 mkl None 2") == []
    (tmp_path / "pace.json").write_text("damaged")
    assert taken(tmp_path, "bf16 mkl None 2") == []


def test_a_step_takes_operations_bytes_and_products() -> None:
    traced = Traced(flops=1e9, operations=100, moved=10**8)
    load = Load.of(traced, 50, passes=2, trained=1000)
    assert load.over(100) == Effort(200, 28 * 1000 + 2e8, 2e9)
    line = load.line(Pace(1e10, 1e10, 1e-3))
    assert line.fixed == pytest.approx(0.2 + 28 * 1000 / 1e10)
    assert line.of(50) - line.fixed == pytest.approx(0.01 + 0.1)


def test_stages_that_train_less_are_faster() -> None:
    # Half of the run the head alone, half of it all six blocks.
    stages = ((1.0, 1.0), (1.0, 0.0))
    assert by_stage(stages, [False, False]) == [(0.5, pytest.approx(1 / 3)), (0.5, 1.0)]
    assert by_stage(stages, [True, True]) == [(0.5, 0.0), (0.5, 1.0)]
    assert by_stage(((1.0, 1.0),), [True]) == [(1.0, 1.0)]
    lasts = duration([10], 8, Line(1.0, 0.1), 5.0, 2.0, 4, by_stage(stages, [True, True]))
    assert (lasts.step, lasts.total, lasts.stages) == (1.0, 21.0, ((0.5, 0.0), (0.5, 8.0)))

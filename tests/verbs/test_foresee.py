from dataclasses import replace
from pathlib import Path

import pytest

import whet
from whet import recipe as recipes
from whet.build import prepare
from whet.engine.arithmetic import Arithmetic
from whet.events import Event, StageChanged, Started, Step
from whet.planning.fit import Fit
from whet.planning.memory import Memory
from whet.planning.pace import Effort, Took, taken
from whet.planning.time import Duration
from whet.verbs.foreseeing.foresee import Clock, Forecast, foresee
from whet.verbs.foreseeing.look import arithmetic_key

FORECAST = Forecast(Fit(16, False, Memory("step", weights=300, runtime=700), True, ""), Duration(1, 10, 5, 105), 2000)


def step(number: int, seconds: float) -> Step:
    return Step(number, 0.0, 1.0, 1e-3, 1.0, 16, 100, seconds)


@pytest.mark.parametrize("method", ["full", "head", "lora"])
def test_a_run_says_what_it_expects_and_what_it_took(
    method: str, tiny_model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = whet.train(
        reviews, model=str(tiny_model), method=method, training={"steps": 16, "batch_size": 8}, out=tmp_path / "run"
    )
    told = run.metrics["predicted"]
    assert told["peak_memory_bytes"] == told["memory"]["total"] > 2**28
    assert told["seconds"] > 0
    assert told["seconds_after_first_steps"] > 0
    said = capsys.readouterr().out
    assert "memory" in said
    assert "predicted" in said


def test_what_is_foreseen_leaves_no_trace(tiny_model: Path, reviews: Path) -> None:
    import torch

    prepared = prepare(recipes.parse({"data": str(reviews), "model": str(tiny_model), "method": "full"}))
    before = {name: tensor.clone() for name, tensor in prepared.model.state_dict().items()}
    random, config = torch.get_rng_state(), prepared.loaded.model.config.to_dict()
    assert foresee(prepared) is not None
    assert torch.equal(random, torch.get_rng_state())
    assert config == prepared.loaded.model.config.to_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in prepared.model.state_dict().items())


def test_a_model_that_cannot_be_looked_at_is_foreseen_by_nobody(tiny_model: Path, reviews: Path) -> None:
    prepared = prepare(recipes.parse({"data": str(reviews), "model": str(tiny_model), "method": "full"}))
    assert foresee(replace(prepared, examples={})) is None


def test_after_the_first_steps_the_time_is_told_anew() -> None:
    clock = Clock(FORECAST)
    events: list[Event] = [Started(100, 0, 2, 800, 10, 10), *(step(n, 9.0 if n == 1 else 2.0) for n in range(1, 15))]
    for event in events:
        clock.take(event)
    assert clock.refined is None
    clock.take(step(15, 2.0))
    # The first step as it was, ninety-nine more, and the evaluations as they were foreseen.
    assert clock.refined == pytest.approx(9 + 99 * 2 + 5)


def test_steps_of_one_stage_tell_nothing_of_another() -> None:
    lasts = Duration(1, 10, 5, 105, ((0.5, 20), (0.5, 80)))
    clock = Clock(replace(FORECAST, duration=lasts))
    changed = StageChanged(0, "head", 4)
    events: list[Event] = [Started(100, 0, 2, 800, 10, 10), changed, *(step(n, 0.5) for n in range(1, 16))]
    for event in events:
        clock.take(event)
    assert clock.refined == pytest.approx(50 * 0.5 + 80 + 5)


def test_few_steps_tell_nothing() -> None:
    clock = Clock(None)
    events: list[Event] = [Started(20, 0, 1, 160, 10, 10), *(step(n, 1.0) for n in range(1, 15))]
    for event in events:
        clock.take(event)
    assert clock.refined is None
    clock.take(step(15, 1.0))
    assert clock.refined == pytest.approx(20)


def test_a_run_teaches_how_fast_the_machine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path))
    forecast = replace(FORECAST, step=Effort(100, 1e9, 1e10))
    clock, arithmetic = Clock(forecast), Arithmetic("bf16", threads=2)
    for number in range(1, 25):
        clock.take(step(number, 9.0 if number == 1 else 2.0))
    clock.learn(arithmetic)
    assert taken(tmp_path, arithmetic_key(arithmetic)) == [Took(100, 1e9, 1e10, 2.0)]
    # Neither a few steps nor steps that differ by stage teach anything.
    for other in (Clock(forecast), Clock(FORECAST)):
        other.take(step(1, 1.0))
        other.learn(arithmetic)
    assert len(taken(tmp_path, arithmetic_key(arithmetic))) == 1


def test_a_forecast_stands_among_the_decisions() -> None:
    memory, time = FORECAST.choices()
    assert (memory.path, memory.value, time.path, time.value) == ("memory", "1000 bytes", "time", "1 min 45 s")
    assert "runtime 700 bytes, weights 300 bytes" in memory.reason
    tight = replace(FORECAST, fit=replace(FORECAST.fit, fits=False), duration=None)
    assert [choice.path for choice in tight.choices()] == ["memory"]
    assert "only" in tight.choices()[0].reason

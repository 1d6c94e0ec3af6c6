"""A run in several processes is the run of one: the same rows, losses and scores, and the same weights everywhere."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import Tensor

from tests.contracts.arena import SETTINGS, Fight, run, short, weights
from tests.engine.jobs import BY_NAME, WeightedTask, changed, job, stopped_after, three_stages, timeless
from whet.engine import rows
from whet.engine.device import Processes, join
from whet.engine.job import Job
from whet.engine.shares import refuse_batch_norms, seed_of
from whet.engine.state import newest
from whet.errors import DivergedError, RecipeError, SaveError, WhetError
from whet.events import Evaluated, Event, Finished, Saved, Step, Stopped, Stored

CLOSE = 1e-5
"""Sums of losses in another order differ by less."""

UNEVEN = short(batch_size=5, epochs=3)
"""Twelve rows in batches of 5, 5 and 2: of three processes one has no row of the last."""


@dataclass
class Told:
    """What one process has to tell of a run."""

    steps: list[Step] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    error: str = ""
    other: Any = None

    @property
    def losses(self) -> list[float]:
        return [step.loss for step in self.steps]


def told(made: Job, events: list[Event], other: Any = None) -> Told:
    evaluated = [event.scores for event in events if isinstance(event, Evaluated | Finished)]
    kinds = [type(event).__name__ for event in events]
    return Told([e for e in events if isinstance(e, Step)], evaluated, kinds, weights(made.model), "", other)


# --- what is run, in one process or in several ------------------------------------------------------------------


def by(method: str, processes: Processes, folder: Path, **options: Any) -> Told:
    made = Fight(BY_NAME["bert"], method, options, trimmed=True).job(UNEVEN, dropout=0.0)
    made = replace(made, processes=processes, cache_folder=folder / f"kept-{method}")
    events = run(made)
    return told(made, events, [e.folder for e in events if isinstance(e, Stored)])


def full(processes: Processes, folder: Path) -> Told:
    return by("full", processes, folder)


def lora(processes: Processes, folder: Path) -> Told:
    return by("lora", processes, folder)


def head(processes: Processes, folder: Path) -> Told:
    return by("head", processes, folder)


def last_blocks(processes: Processes, folder: Path) -> Told:
    return by("last_blocks", processes, folder, count=1)


def in_memory(processes: Processes, folder: Path) -> Told:
    made = Fight(BY_NAME["bert"], "head", {}, trimmed=True).job(replace(UNEVEN, cache="memory"), dropout=0.0)
    made = replace(made, processes=processes)
    return told(made, run(made))


def weighted(processes: Processes, folder: Path) -> Told:
    """Rows of different weights, three stages, and micro-batches."""
    settings = short(batch_size=7, epochs=3, micro_batch_size=2)
    made = replace(job(settings, stages=three_stages, task=changed(WeightedTask), dropout=0.0), processes=processes)
    return told(made, run(made))


def by_row(processes: Processes, folder: Path) -> Told:
    """Embeddings whose gradients are a few rows each, and other ones in each process."""
    before, rows.LARGE = rows.LARGE, 1000
    try:
        made = replace(Fight(BY_NAME["roberta"], "full", {}).job(UNEVEN, dropout=0.0), processes=processes)
        return told(made, run(made))
    finally:
        rows.LARGE = before


SAME: dict[str, Callable[[Processes, Path], Told]] = {
    work.__name__: work for work in (full, lora, head, last_blocks, in_memory, weighted, by_row)
}


def with_dropout(processes: Processes, folder: Path) -> Told:
    made = replace(job(short(steps=6, evaluate_every=2)), processes=processes)
    return told(made, run(made), torch.rand(4))


def stopped(processes: Processes, folder: Path) -> Told:
    """Only the last process is asked to stop."""
    made = replace(job(short(steps=6, evaluate_every=2), folder / "stopped"), processes=processes)
    last = processes.rank == processes.count - 1
    events = stopped_after(3, made) if last else run(made)
    return told(made, events, [e.reason for e in events if isinstance(e, Stopped)])


def resumed(processes: Processes, folder: Path) -> Told:
    """After ``stopped``."""
    made = replace(job(short(steps=6, evaluate_every=2)), processes=processes)
    return told(made, run(made, newest(folder / "stopped")[0]), torch.rand(4))


def plain_stopped(processes: Processes, folder: Path) -> Told:
    made = replace(job(short(steps=6, evaluate_every=2), folder / "plain", dropout=0.0), processes=processes)
    return told(made, stopped_after(3, made))


def disk_refuses(processes: Processes, folder: Path) -> Told:
    """A file stands where the checkpoints are to go."""
    (folder / "file").touch()
    return failing(SaveError, replace(job(checkpoints=folder / "file" / "checkpoints"), processes=processes))


def diverges(processes: Processes, folder: Path) -> Told:
    made = replace(job(short(learning_rate=1e30, max_gradient_norm=None)), processes=processes)
    return failing(DivergedError, made)


def failing(kind: type[WhetError], made: Job) -> Told:
    with pytest.raises(kind) as caught:
        run(made)
    return Told(error=str(caught.value))


def errors(processes: Processes, folder: Path) -> Told:
    """Of the last process alone, told by all; of the first one's own work, likewise."""

    def breaks() -> int:
        if processes.rank == processes.count - 1:
            raise RecipeError("one", "two")
        return 3

    with pytest.raises(RecipeError) as caught:
        processes.together(breaks)
    first = processes.on_main(lambda: processes.rank)
    shares = [processes.share(np.arange(n)).tolist() for n in (0, 1, 5)]
    return Told(error=str(caught.value), other=(first, caught.value.problems, processes.gather(shares)))


def batch_norms(processes: Processes, folder: Path) -> Told:
    """A ResNet has them; frozen ones do no harm."""
    frozen, trained = (Fight(BY_NAME["resnet"], method, {}).job(SETTINGS) for method in ("head", "full"))
    refuse_batch_norms(frozen.model, frozen.parts, [stage.mask for stage in frozen.stages], processes)
    with pytest.raises(RecipeError, match="batch norm that trains"):
        refuse_batch_norms(trained.model, trained.parts, [stage.mask for stage in trained.stages], processes)
    return Told()


ALL = [*SAME.values(), with_dropout, stopped, resumed, plain_stopped, disk_refuses, diverges, errors, batch_norms]


# --- in several -------------------------------------------------------------------------------------------------


def process(rank: int, count: int, port: int, folder: Path) -> None:
    """One process: does everything and writes down what it has to tell."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in own.items()}
    processes = join()
    torch.save({work.__name__: work(processes, folder) for work in ALL}, folder / f"{rank}.pt")


@dataclass(frozen=True)
class Group:
    """What all processes of a group told, by what they did."""

    folder: Path
    told: list[dict[str, Told]]

    def __getitem__(self, name: str) -> list[Told]:
        return [one[name] for one in self.told]


@pytest.fixture(scope="module", params=[2, 3])
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Group:
    folder, count = tmp_path_factory.mktemp("processes"), request.param
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(process, (count, port, folder), nprocs=count)  # type: ignore[attr-defined, no-untyped-call]
    return Group(folder, [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    folder = tmp_path_factory.mktemp("alone")
    return {name: work(Processes(), folder) for name, work in SAME.items()}


@pytest.mark.parametrize("name", SAME)
def test_the_losses_are_those_of_one_process(group: Group, alone: dict[str, Told], name: str) -> None:
    expected = alone[name]
    for one in group[name]:
        assert one.losses == pytest.approx(expected.losses, abs=CLOSE)
        assert [step.rows for step in one.steps] == [step.rows for step in expected.steps]
        assert [step.tokens for step in one.steps] == [step.tokens for step in expected.steps]
        assert one.events[0] == expected.events[0]
        for found, wanted in zip(one.scores, expected.scores, strict=True):
            assert found == pytest.approx(wanted, abs=CLOSE)


@pytest.mark.parametrize("name", [*SAME, "with_dropout"])
def test_all_processes_end_with_the_same_bits(group: Group, name: str) -> None:
    first, *others = group[name]
    for other in others:
        assert other.losses == first.losses
        assert other.scores == first.scores
        assert [n for n, tensor in first.weights.items() if not torch.equal(tensor, other.weights[n])] == []


def test_outputs_of_frozen_layers_are_shared_on_the_disk(group: Group) -> None:
    for one in group["head"]:
        assert one.other == group["head"][0].other != []
    segments = [path for path in (group.folder / "kept-head").glob("*/*") if path.is_dir()]
    assert len(segments) == len(group.told)
    assert all("Stored" in one.events for one in group["in_memory"])


def test_dropout_is_drawn_differently_in_each_process(group: Group) -> None:
    drawn = {tuple(one.other.tolist()) for one in group["with_dropout"]}
    assert len(drawn) == len(group.told)


def test_the_wish_of_one_process_stops_all_at_the_same_step(group: Group) -> None:
    for one in group["stopped"]:
        assert one.other == ["the test says so"]
        assert [step.step for step in one.steps] == [1, 2, 3]
        assert one.events[-2:] == [Saved.__name__, Stopped.__name__]


def test_resumed_is_uninterrupted_bit_for_bit(group: Group) -> None:
    for whole, rest in zip(group["with_dropout"], group["resumed"], strict=True):
        assert rest.losses == whole.losses[3:]
        assert timeless(rest.steps) == timeless(whole.steps[3:])
        assert [n for n, tensor in whole.weights.items() if not torch.equal(tensor, rest.weights[n])] == []
        assert torch.equal(whole.other, rest.other)


def test_another_number_of_processes_goes_on_with_the_same_losses(group: Group) -> None:
    settings = short(steps=6, evaluate_every=2)
    expected = [event.loss for event in run(job(settings, dropout=0.0)) if isinstance(event, Step)]
    rest = run(job(settings, dropout=0.0), newest(group.folder / "plain")[0])
    assert [e.loss for e in rest if isinstance(e, Step)] == pytest.approx(expected[3:], abs=CLOSE)


@pytest.mark.parametrize("name", ["disk_refuses", "diverges", "errors"])
def test_an_error_is_that_of_all(group: Group, name: str) -> None:
    assert {one.error for one in group[name]} == {group[name][0].error} != {""}


def test_work_and_rows_are_shared(group: Group) -> None:
    for one in group["errors"]:
        first, problems, shares = one.other
        assert first == 0
        assert problems == ("one", "two")
        for n, parts in zip((0, 1, 5), zip(*shares, strict=True), strict=True):
            assert [row for part in parts for row in part] == list(range(n))


def test_batch_norms_may_train_in_one_process_only(group: Group) -> None:
    assert len(group["batch_norms"]) == len(group.told)
    trained = Fight(BY_NAME["resnet"], "full", {}).job(SETTINGS)
    refuse_batch_norms(trained.model, trained.parts, [stage.mask for stage in trained.stages], Processes())


def test_seeds_are_all_different() -> None:
    seeds = [seed_of(seed, rank, step) for seed in range(20) for rank in range(20) for step in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert seed_of(5, 0) == 5

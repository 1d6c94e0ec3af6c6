from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.contracts.arena import SETTINGS, Fight, TensorTask, run, weights
from tests.engine.jobs import BY_NAME, changed, job, two_stages
from whet.core import Batch
from whet.errors import RunError
from whet.events import Divided, Step

SHORT = replace(SETTINGS, gradient_checkpointing=True)


@dataclass(frozen=True)
class CrowdedTask(TensorTask):
    """A device with room for so many rows with gradients; ``late`` it runs out in the backward pass."""

    room: int = 2
    late: bool = False
    refused: list[int] = field(default_factory=list)

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        loss = super().loss(outputs, batch)
        if torch.is_grad_enabled() and batch.rows > self.room:
            self.refused.append(batch.rows)
            if not self.late:
                raise torch.OutOfMemoryError("CUDA out of memory")
            loss.register_hook(_out_of_memory)  # type: ignore[no-untyped-call]
        return loss


def _out_of_memory(gradient: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("late", [False, True])
def test_out_of_memory_divides_the_passes_and_not_the_step(late: bool) -> None:
    plain = job(dropout=0.0)
    crowded = job(dropout=0.0, task=changed(CrowdedTask, room=1, late=late))
    whole, divided = run(plain), run(crowded)
    told = [event for event in divided if isinstance(event, Divided)]
    # Four rows, then two, then one, all in the first step; from there on it is known.
    assert told == [Divided(1, 1)]
    assert isinstance(crowded.task, CrowdedTask)
    assert crowded.task.refused == [4, 2]
    steps = [[event for event in events if isinstance(event, Step)] for events in (whole, divided)]
    assert [step.rows for step in steps[0]] == [step.rows for step in steps[1]]
    assert [s.loss for s in steps[0]] == pytest.approx([s.loss for s in steps[1]], rel=1e-4)
    for name, tensor in weights(plain.model).items():
        torch.testing.assert_close(weights(crowded.model)[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_row_that_does_not_fit_ends_the_run_with_a_way_out() -> None:
    with pytest.raises(RunError, match="gradient_checkpointing"):
        run(job(task=changed(CrowdedTask, room=0)))
    with pytest.raises(RunError, match=r"a smaller task\.max_length"):
        run(job(SHORT, task=changed(CrowdedTask, room=0)))


@pytest.mark.parametrize("micro", [None, 3])
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_recomputing_changes_no_bit(name: str, micro: int | None) -> None:
    plain, short = (
        Fight(BY_NAME[name], "full", {}).job(replace(settings, micro_batch_size=micro, steps=2, epochs=1))
        for settings in (SETTINGS, SHORT)
    )
    _same(run(plain), run(short))
    for parameter, tensor in weights(plain.model).items():
        assert torch.equal(weights(short.model)[parameter], tensor), parameter


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lora", {"rank": 2, "dropout": 0.3}),
        ("last_blocks", {"count": 1}),
        ("p_tuning", {"length": 3}),
        ("gradual", {}),
    ],
)
def test_recomputing_changes_no_bit_of_other_methods(method: str, options: dict[str, Any]) -> None:
    plain, short = (Fight(BY_NAME["bert"], method, options).job(settings) for settings in (SETTINGS, SHORT))
    _same(run(plain), run(short))
    for parameter, tensor in weights(plain.model).items():
        assert torch.equal(weights(short.model)[parameter], tensor), parameter


def test_recomputing_follows_the_stages() -> None:
    plain, short = (job(settings, stages=two_stages) for settings in (SETTINGS, SHORT))
    _same(run(plain), run(short))


def _same(found: list[Any], expected: list[Any]) -> None:
    losses = ([event.loss for event in events if isinstance(event, Step)] for events in (found, expected))
    assert next(losses) == next(losses)

"""The forward and backward passes of a step: one for each micro-batch, and more of them where memory runs out.

Gradients add up over the passes, each divided by the weight of the whole step, so how many there are changes memory
and rounding, never the step itself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeAlias

import numpy as np
import torch

from whet.core import Batch, Block, Mask
from whet.engine.job import Job
from whet.engine.objective import objective
from whet.errors import RunError
from whet.events import Divided
from whet.model.freeze import frozen_depth
from whet.model.recompute import recomputing

Pieces: TypeAlias = list[tuple[np.ndarray, Batch]]
"""Row numbers with what the model reads of them."""


class Passes:
    """Takes the rows of a step through a job's model."""

    def __init__(
        self,
        job: Job,
        forward: Callable[[Batch, np.ndarray], Any],
        kernels: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """``kernels`` makes what stands around a forward pass and the loss."""
        self._job = job
        self._forward = forward
        self._kernels = kernels
        self._blocks: tuple[Block, ...] = ()
        self.size = job.settings.micro_batch_size
        """Rows of a pass; None is all of a step."""
        self._halved = False

    def enter_stage(self, mask: Mask) -> None:
        """Another mask holds: of the blocks, those in which something trains, or behind such a one, have gradients."""
        self._blocks = self._job.parts.blocks[frozen_depth(self._job.parts, mask) :]

    def leave_out(self, modules: Iterable[str]) -> None:
        """These are not computed, as their outputs are stored; blocks around them keep everything."""
        stored = tuple(modules)
        self._blocks = tuple(b for b in self._blocks if not any(m.startswith(f"{n}.") for n in b for m in stored))

    def told(self, step: int) -> Iterator[Divided]:
        """What became smaller since this was asked last."""
        if self._halved:
            self._halved = False
            yield Divided(step, self.size or 0)

    def pieces(self, rows: np.ndarray, epoch: int) -> Pieces:
        """The rows of a step, a piece for each pass."""
        size = self.size or max(1, len(rows))
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        return [(part, self._job.batch(part, epoch)) for part in parts]

    def gradients(self, pieces: Pieces, epoch: int, weight: float) -> float:
        """Leave the gradients of a step in the model, and return its loss; both are divided by ``weight``.

        Where a GPU runs out of memory the step begins anew in passes of half the rows, and so do all that follow.
        Raises RunError where a single row is too much.
        """
        while True:
            try:
                return sum((self._pass(part, batch, weight) for part, batch in pieces), 0.0)
            except torch.OutOfMemoryError as error:
                rows = np.concatenate([part for part, _ in pieces])
                self._halve(max(len(part) for part, _ in pieces), error)
            # Out of the handler, which holds on to the tensors of the pass that failed.
            self._job.model.zero_grad(set_to_none=True)
            if self._job.device.type == "cuda":
                torch.cuda.empty_cache()
            pieces = self.pieces(rows, epoch)

    def _pass(self, part: np.ndarray, batch: Batch, weight: float) -> float:
        moved = batch.to(self._job.device)
        with ExitStack() as stack:
            stack.enter_context(self._kernels())
            if self._job.settings.gradient_checkpointing:
                stack.enter_context(recomputing(self._job.model, self._blocks, self._kernels))
            share = objective(self._job, moved, lambda: self._forward(moved, part)) / weight
        share.backward()  # type: ignore[no-untyped-call]
        return float(share.detach())

    def _halve(self, size: int, error: Exception) -> None:
        if size == 1:
            way_out = "set training.gradient_checkpointing=true, a smaller task.max_length, or method qlora"
            if self._job.settings.gradient_checkpointing:
                way_out = "take a smaller task.max_length, method qlora, or a smaller model"
            raise RunError(f"the device has not enough memory for a step over a single row; {way_out}") from error
        self.size, self._halved = -(-size // 2), True

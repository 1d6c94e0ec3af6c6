"""One step in several processes: each reads its share of the rows, all take the very same update.

The gradients are summed before they are clipped, so every process holds the same weights and moments, bit for bit,
without ever sending them. In a single process nothing here does anything.
"""

import numpy as np
import torch
from torch import Tensor, nn

from whet.core import Mask, Parts
from whet.engine.device import Processes
from whet.engine.rows import RowAdamW
from whet.errors import RecipeError
from whet.model.freeze import training_modes

_ABSENT, _DENSE, _SPARSE = 0, 1, 2

_RANK, _STEP = 1_000_003, 1_000_000_007
"""Distances of seeds: no two processes draw the same dropout, and none what it drew before it was taken up again."""


class SharedGradients:
    """The gradients of an optimiser's parameters; ``tables`` holds the ids of those that are read row by row."""

    def __init__(self, processes: Processes, optimizer: torch.optim.Optimizer, tables: frozenset[int]) -> None:
        self._processes = processes
        self._optimizer = optimizer
        self._parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        self._tables = [p for p in self._parameters if id(p) in tables]
        self._read: dict[int, list[np.ndarray]] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """In the order of the optimiser's groups."""
        return self._parameters

    def about_to_read(self, table: Tensor, rows: Tensor) -> None:
        """Hear of rows that are looked up in a table."""
        if isinstance(self._optimizer, RowAdamW):
            self._optimizer.about_to_read(table, rows)
        if self._processes.count > 1:
            self._read.setdefault(id(table), []).append(torch.unique(rows).numpy())

    def sum_(self) -> None:
        """Replace every gradient by its sum; a parameter has one where it has one in any process."""
        if self._processes.count == 1:
            return
        self._read_what_others_read()
        kinds = self._processes.highest([_kind(p) for p in self._parameters])
        dense = [p for p, kind in zip(self._parameters, kinds, strict=True) if kind == _DENSE]
        for parameter in dense:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._processes.sum_([p.grad for p in dense if p.grad is not None])
        for parameter, kind in zip(self._parameters, kinds, strict=True):
            if kind == _SPARSE:
                own = _no_rows(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self._processes.sum_sparse(own)

    def _read_what_others_read(self) -> None:
        """Bring the rows of all shares up to date, or they would not be the same bits in every process."""
        for table in self._tables:
            own = self._read.pop(id(table), [np.empty(0, dtype=np.int64)])
            rows = np.unique(np.concatenate(self._processes.gather(np.concatenate(own))))
            if len(rows) and isinstance(self._optimizer, RowAdamW):
                self._optimizer.about_to_read(table, torch.from_numpy(rows))


def seed_of(seed: int, rank: int, step: int = 0) -> int:
    """The seed of what a process draws from ``step`` on; the first process's at the start is the run's own."""
    return seed + _RANK * rank + _STEP * step


def refuse_batch_norms(model: nn.Module, parts: Parts, masks: list[Mask], processes: Processes) -> None:
    """Raise RecipeError where a batch norm is to train in several processes: each would see its own rows only."""
    if processes.count == 1:
        return
    for mask in masks:
        modes = training_modes(model, parts, mask)
        for name, module in model.named_modules():
            if modes[name] and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                raise RecipeError(
                    f"'{name}' is a batch norm that trains, and in {processes.count} processes it would see the rows "
                    "of its own only; start one process, or take a method that leaves it frozen, such as head or lora"
                )


def _kind(parameter: nn.Parameter) -> int:
    if parameter.grad is None:
        return _ABSENT
    return _SPARSE if parameter.grad.is_sparse else _DENSE


def _no_rows(table: nn.Parameter) -> Tensor:
    """A gradient (rows, width) without an entry."""
    nothing = torch.empty(1, 0, dtype=torch.int64)
    values = table.new_empty(0, *table.shape[1:])
    return torch.sparse_coo_tensor(nothing, values, table.shape, check_invariants=False).coalesce()

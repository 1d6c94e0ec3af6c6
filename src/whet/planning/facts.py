"""The facts that the advice depends on, from the rows and the task."""

from __future__ import annotations

import numpy as np

from whet.core import Columns, Rows
from whet.data.labels import class_name
from whet.planning.advise import BATCH, Device, Facts
from whet.protocols import Task


def facts_of(
    name: str,
    task: Task,
    rows: Rows,
    columns: Columns,
    *,
    parameters: int,
    device: Device,
    memory: int,
    batch: int = BATCH,
) -> Facts:
    """What there is to know of the training ``rows`` of a task called ``name``, which was fitted to them.

    ``parameters`` are those of the model, ``memory`` the bytes of the machine, or of its GPU.
    """
    counted = _counted(task, rows, columns)
    return Facts(
        task=name,
        problem=task.problem or "",
        rows=len(rows),
        parameters=parameters,
        classes=None if counted is None else len(counted),
        rarest=None if counted is None else int(counted.min(initial=len(rows))),
        device=device,
        memory=memory,
        batch=batch,
    )


def _counted(task: Task, rows: Rows, columns: Columns) -> np.ndarray | None:
    """(C,) how many rows have each class that occurs; None where rows have no single class."""
    if task.problem != "single_label":
        return None
    names = [class_name(value) for value in rows.columns[columns.label[0]]]
    return np.unique(names, return_counts=True)[1]

"""Who runs the trials of a search: this process, one after the other, or several processes beside each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch

from whet.engine.job import StopRequest
from whet.intake import Shared
from whet.verbs.searching.trial import Ended, Order, Told, attempt, spoken_order, told_of
from whet.verbs.workers import Workers

BEAT = 0.2
"""Seconds after which whoever listens is asked again, where nothing is told."""


class Crew(Protocol):
    """Runs orders and tells what becomes of them. Whoever gives an order hears of its end."""

    @property
    def idle(self) -> bool:
        """Whether another order can be given."""
        ...

    def give(self, order: Order) -> None:
        """Begin a trial."""
        ...

    def hear(self) -> Told | None:
        """The next thing that a trial tells; None where nothing was told for a moment."""
        ...

    def drop(self, number: int) -> None:
        """Let a trial end soon, for good."""
        ...

    def stop(self, reason: str) -> None:
        """Let all trials end after the present step, so that they can go on later."""
        ...

    def close(self) -> None:
        """Nothing more is wanted."""
        ...


class Alone:
    """This process."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._told: Iterator[Told] | None = None
        self._stop, self._dropped = StopRequest(), threading.Event()

    @property
    def idle(self) -> bool:
        """Whether the last order has been run."""
        return self._told is None

    def give(self, order: Order) -> None:
        """Begin a trial; it moves on whenever it is heard."""
        self._dropped.clear()
        self._told = attempt(order, self._stop, self._dropped, self._shared)

    def hear(self) -> Told | None:
        """Run the trial until it has something to tell."""
        assert self._told is not None
        told = next(self._told)
        if isinstance(told, Ended):
            # Here it gives its model back.
            for _ in self._told:
                pass
            self._told = None
        return told

    def drop(self, number: int) -> None:  # noqa: ARG002
        """Let the trial end soon, for good."""
        self._dropped.set()

    def stop(self, reason: str) -> None:
        """Let the trial end after the present step."""
        self._stop.make(reason)

    def close(self) -> None:
        """There is nothing to close."""


class Processes:
    """So many processes, each with its part of the threads."""

    def __init__(self, count: int, folder: Path) -> None:
        self._workers = Workers("whet.verbs.searching.trial", folder, max(1, torch.get_num_threads() // count))
        self._count = count
        self._orders: dict[int, Order] = {}

    @property
    def idle(self) -> bool:
        """Whether a process has nothing to do."""
        return len(self._orders) < self._count

    def give(self, order: Order) -> None:
        """Send the order to a process that has none."""
        position = next(place for place in range(self._count) if place not in self._orders)
        self._orders[position] = order
        self._workers.send(position, spoken_order(order))

    def hear(self) -> Told | None:
        """What any process says; that a trial has failed, where its process is gone."""
        heard = self._workers.hear(BEAT)
        if heard is None:
            return None
        position, values = heard
        if isinstance(values, str):
            order = self._orders.pop(position, None)
            return None if order is None else Ended(order.number, "failed", reason=values)
        told = told_of(values)
        if isinstance(told, Ended):
            del self._orders[position]
        return told

    def drop(self, number: int) -> None:
        """Let a trial end soon, for good."""
        for position, order in self._orders.items():
            if order.number == number:
                self._workers.send(position, {"drop": number})

    def stop(self, reason: str) -> None:
        """Let all trials end after the present step."""
        for position in self._orders:
            self._workers.send(position, {"stop": reason})

    def close(self) -> None:
        """Let the processes end."""
        self._workers.close()

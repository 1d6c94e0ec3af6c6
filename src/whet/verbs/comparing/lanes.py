"""Several processes that hold the runs of a comparison, each with its part of the threads.

A run stays in the process where it began, in memory, while others have their turn there. Before a round begins some
move, so that no process has much more to do than another: such a one leaves a checkpoint and is opened again, which
changes no bit of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import torch

from whet.engine.job import StopRequest
from whet.verbs.comparing.crew import Watcher
from whet.verbs.comparing.turns import Ended, Key, Turn, ended_of, spoken
from whet.verbs.workers import Values, Workers

BEAT = 0.2
"""Seconds after which it is seen whether somebody wants to stop, where nothing is told."""
MOVE = 2.0
"""Seconds that it takes about to move a run."""


class Lanes:
    """So many processes."""

    def __init__(self, count: int, root: Path, stop: StopRequest) -> None:
        self.at_once = count
        self._stop = stop
        self._workers = Workers("whet.verbs.comparing.lane", root, max(1, torch.get_num_threads() // count))
        self._homes: dict[Key, int] = {}
        """The position of the process that holds a run."""
        self._busy: dict[int, Turn] = {}

    def lead(self, turns: Sequence[Turn], wanted: Callable[[Turn], bool], watcher: Watcher) -> Iterator[Ended]:
        """Give every process that has nothing to do the next run, and tell what they say."""
        self._seat(turns)
        waiting, stopping = list(turns), False
        while True:
            for position in range(self.at_once):
                if self._stop.reason is None and position not in self._busy:
                    self._give(position, waiting, wanted, watcher)
            if not self._busy:
                return
            if self._stop.reason is not None and not stopping:
                stopping = True
                for position in self._busy:
                    self._workers.send(position, {"stop": self._stop.reason})
            yield from self._hear(watcher)

    def store(self, keys: Collection[Key], reason: str) -> list[tuple[Key, str]]:
        """Let runs leave checkpoints of where they are, and the memory; tells what went wrong."""
        wrong = []
        for position, here in self._by_home(keys).items():
            answer = self._ask(position, {"store": here, "reason": reason})
            wrong += [((name, seed), told) for (name, seed), told in answer.get("wrong", [])]
        return wrong

    def leave(self, keys: Collection[Key], reason: str) -> None:
        """Let runs end where they are, for good."""
        for position, here in self._by_home(keys).items():
            self._ask(position, {"leave": here, "reason": reason})

    def forget(self, keys: Collection[Key]) -> None:
        """Let runs leave the memory, once their process has nothing else to do."""
        for position, here in self._by_home(keys).items():
            self._workers.send(position, {"forget": here})

    def close(self) -> None:
        """Let the processes end."""
        self._workers.close()

    # --- who is where

    def _seat(self, turns: Sequence[Turn]) -> None:
        """Let runs move, those with most to do first, so that all processes have about as much to do."""
        load = dict.fromkeys(range(self.at_once), 0.0)
        moves: dict[Key, int] = {}
        for turn in sorted((turn for turn in turns if turn.key in self._homes), key=_seconds, reverse=True):
            home = self._homes[turn.key]
            position = min(load, key=lambda here: (load[here] + (MOVE if here != home else 0.0), here != home))
            load[position] += _seconds(turn)
            if position != home:
                moves[turn.key] = position
        if moves:
            self.store(moves, "moves to another process")
            self._homes |= moves

    def _by_home(self, keys: Collection[Key]) -> dict[int, list[Key]]:
        """Those of the runs that a process holds, by its position."""
        found: dict[int, list[Key]] = {}
        for key in keys:
            if key in self._homes and self._homes[key] in self._workers:
                found.setdefault(self._homes[key], []).append(key)
        return found

    def _give(self, position: int, waiting: list[Turn], wanted: Callable[[Turn], bool], watcher: Watcher) -> None:
        """Let a process begin with the next of its runs, or with one that is nowhere yet."""
        waiting[:] = [turn for turn in waiting if wanted(turn)]
        own = [turn for turn in waiting if self._homes.get(turn.key) == position]
        nowhere = [turn for turn in waiting if turn.key not in self._homes]
        for turn in [*own, *nowhere][:1]:
            waiting.remove(turn)
            self._homes[turn.key] = position
            self._busy[position] = turn
            watcher.turn(turn.called, turn.steps)
            self._workers.send(position, {"turn": spoken(turn)})

    # --- what is said

    def _hear(self, watcher: Watcher) -> Iterator[Ended]:
        """The next thing that a process says, where it says something within a moment."""
        heard = self._workers.hear(BEAT)
        if heard is None:
            return
        position, values = heard
        if isinstance(values, str):
            values = self._gone(position, values)
        turn = self._busy.get(position)
        if turn is None:
            return
        if "stepped" in values:
            watcher.stepped(turn.called)
        elif "storing" in values:
            watcher.storing(turn.called, *values["storing"])
        elif "ended" in values:
            del self._busy[position]
            watcher.ended(turn.called)
            yield ended_of(values["ended"])

    def _gone(self, position: int, why: str) -> Values:
        """A process is gone: its run has failed, and it holds none any more."""
        self._homes = {key: home for key, home in self._homes.items() if home != position}
        turn = self._busy.get(position)
        return {} if turn is None else {"ended": spoken(Ended(turn.name, turn.attempt, failure=why))}

    def _ask(self, position: int, order: Values) -> Values:
        """What a process that has nothing to do answers; nothing where it is gone."""
        self._workers.send(position, order)
        while position in self._workers:
            heard = self._workers.hear()
            assert heard is not None
            other, values = heard
            if isinstance(values, str):
                self._gone(other, values)
            elif other == position:
                return values
        return {}


def _seconds(turn: Turn) -> float:
    """That a run will take about, by what it took before."""
    return turn.steps * turn.attempt.seconds / max(1, turn.attempt.step)

"""Who lets the runs of a comparison train: this process, one after the other, or several processes beside each other.

Two runs with half of the threads each take less time than one after the other with all of them: what is too small to be
shared by threads is done by both at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from whet import recipe as recipes
from whet.engine.device import choose_device, used_memory
from whet.engine.job import StopRequest
from whet.errors import WhetError
from whet.events import Event, Step, Storing
from whet.intake import Shared
from whet.verbs.comparing.contender import Contender
from whet.verbs.comparing.turns import Ended, Key, Turn


class Watcher(Protocol):
    """Shows a comparison while it runs."""

    def round(self, turns: Sequence[tuple[str, int]], number: int, of: int, at_once: int) -> None:
        """Round ``number`` begins: these runs take so many steps each, ``at_once`` of them beside each other."""
        ...

    def turn(self, name: str, steps: int) -> None:
        """It is the turn of this run, which will take so many steps now."""
        ...

    def stepped(self, name: str) -> None:
        """It has taken a step."""
        ...

    def storing(self, name: str, done: int, rows: int) -> None:
        """It computes frozen layers once, and has come so far."""
        ...

    def ended(self, name: str) -> None:
        """Its turn is over."""
        ...

    def told(self, line: str, *, bad: bool = False) -> None:
        """There is something to say."""
        ...


class Crew(Protocol):
    """Holds the runs of a comparison, and lets them train."""

    @property
    def at_once(self) -> int:
        """How many train beside each other."""
        ...

    def lead(self, turns: Sequence[Turn], wanted: Callable[[Turn], bool], watcher: Watcher) -> Iterator[Ended]:
        """Let all of these have their turn that are still ``wanted`` by then; tells the end of each."""
        ...

    def store(self, keys: Collection[Key], reason: str) -> list[tuple[Key, str]]:
        """Let runs leave checkpoints of where they are, and the memory; tells what went wrong."""
        ...

    def leave(self, keys: Collection[Key], reason: str) -> None:
        """Let runs end where they are, for good."""
        ...

    def forget(self, keys: Collection[Key]) -> None:
        """Let runs leave the memory."""
        ...

    def close(self) -> None:
        """Nothing more is wanted."""
        ...


class Held:
    """The runs that a process holds."""

    def __init__(self, root: Path, shared: Shared, stop: StopRequest) -> None:
        self._root, self._shared, self._stop = root, shared, stop
        self._idle: int | None = None
        self._runs: dict[Key, Contender] = {}

    def take(self, turn: Turn, show: Callable[[Event], None]) -> Ended:
        """Let a run have its turn; a failure is its end, and no error."""
        if turn.key not in self._runs:
            recipe = recipes.parse(turn.recipe)
            if self._idle is None:
                # Rows are read once for all, and so are in use whoever trains.
                self._shared.intake(recipe)
                self._idle = used_memory(choose_device())
            self._runs[turn.key] = Contender(recipe, turn.attempt, self._root, self._shared, self._stop, self._idle)
        return self._runs[turn.key].take(turn, show)

    def store(self, keys: Collection[Key], reason: str) -> list[tuple[Key, str]]:
        """As a crew does."""
        wrong = []
        for key, run in self._of(keys):
            try:
                run.store(reason)
            except WhetError as error:
                wrong.append((key, str(error)))
        return wrong

    def leave(self, keys: Collection[Key], reason: str) -> None:
        """As a crew does."""
        for _, run in self._of(keys):
            run.leave(reason)

    def forget(self, keys: Collection[Key]) -> None:
        """As a crew does."""
        for key, run in self._of(keys):
            run.forget()
            del self._runs[key]

    def _of(self, keys: Collection[Key]) -> list[tuple[Key, Contender]]:
        return [(key, run) for key, run in self._runs.items() if key in keys]


class Alone:
    """This process."""

    at_once = 1

    def __init__(self, root: Path, shared: Shared, stop: StopRequest) -> None:
        self._held, self._stop = Held(root, shared, stop), stop

    def lead(self, turns: Sequence[Turn], wanted: Callable[[Turn], bool], watcher: Watcher) -> Iterator[Ended]:
        """One after the other."""
        for turn in turns:
            if self._stop.reason is not None:
                return
            if wanted(turn):
                watcher.turn(turn.called, turn.steps)
                ended = self._held.take(turn, shown(turn.called, watcher))
                watcher.ended(turn.called)
                yield ended

    def store(self, keys: Collection[Key], reason: str) -> list[tuple[Key, str]]:
        """As the protocol says."""
        return self._held.store(keys, reason)

    def leave(self, keys: Collection[Key], reason: str) -> None:
        """As the protocol says."""
        self._held.leave(keys, reason)

    def forget(self, keys: Collection[Key]) -> None:
        """As the protocol says."""
        self._held.forget(keys)

    def close(self) -> None:
        """There is nothing to close."""


def shown(name: str, watcher: Watcher) -> Callable[[Event], None]:
    """Tells a watcher of the events of a run."""

    def show(event: Event) -> None:
        match event:
            case Step():
                watcher.stepped(name)
            case Storing():
                watcher.storing(name, event.done, event.rows)
            case _:
                pass

    return show

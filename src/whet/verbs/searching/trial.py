"""One trial of a search: a run that is scored on the validation rows, and never sees the test rows.

``attempt`` runs it in this process; ``main`` is a process that runs whatever it is sent, a line of JSON each.
"""

import dataclasses
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from whet import recipe as recipes
from whet.core import Scores
from whet.engine.device import let_go
from whet.engine.job import StopRequest
from whet.errors import WhetError
from whet.events import Evaluated, Finished, Started, Step, Stopped
from whet.intake import Shared
from whet.run.folder import RECIPE
from whet.verbs.session import Session
from whet.verbs.workers import speaking, told


@dataclass(frozen=True)
class Order:
    """A trial to be run."""

    number: int
    folder: Path
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Advanced:
    """A trial has taken a step."""

    number: int
    step: int
    steps: int


@dataclass(frozen=True)
class Scored:
    """A trial was scored on the validation rows."""

    number: int
    step: int
    steps: int
    scores: Scores


@dataclass(frozen=True)
class Ended:
    """A trial runs no more."""

    number: int
    how: Literal["finished", "failed", "dropped", "interrupted"]
    """Dropped is what was not worth going on with; what was interrupted can go on."""
    scores: Scores = field(default_factory=dict)
    """On the validation rows, with the best weights; empty unless it has finished."""
    seconds: float = 0.0
    reason: str = ""


Told: TypeAlias = Advanced | Scored | Ended


def attempt(order: Order, stop: StopRequest, dropped: threading.Event, shared: Shared) -> Iterator[Told]:
    """Run a trial, or go on with one that was interrupted; the last thing that is told is its end.

    ``stop`` lets it end at the next step so that it can go on later, ``dropped`` for good. What a trial cannot do
    (wrong settings, a loss that is not finite, no memory) is its end, and no error. ``shared`` holds what other trials
    have read.
    """
    began, number, steps = time.monotonic(), order.number, 0

    def seconds() -> float:
        return time.monotonic() - began

    session: Session | None = None
    try:
        session = _session(order, shared)
        session.stop = stop
        with closing(session.events()) as events:
            for event in events:
                match event:
                    case Started():
                        steps = event.steps
                    case Step():
                        yield Advanced(number, event.step, steps)
                    case Evaluated():
                        yield Scored(number, event.step, steps, event.scores)
                    case Stopped() if event.resumable:
                        yield Ended(number, "interrupted", seconds=seconds(), reason=event.reason)
                        return
                    case Finished():
                        yield Ended(number, "finished", event.scores, seconds())
                        return
                if dropped.is_set():
                    yield Ended(number, "dropped", seconds=seconds())
                    return
    except (WhetError, MemoryError, RuntimeError) as error:
        yield Ended(number, "failed", seconds=seconds(), reason=_reason(error))
    finally:
        if session is not None:
            let_go(session.prepared.model)


def _session(order: Order, shared: Shared) -> Session:
    if (order.folder / RECIPE).is_file():
        return Session.resume(order.folder, shared)[0]
    return Session.start(recipes.parse(order.recipe), order.folder, shared)


def _reason(error: BaseException) -> str:
    if isinstance(error, WhetError):
        return "; ".join(error.problems)
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


# --- in a process of its own ------------------------------------------------------------------------------------


def main(folder: str) -> None:  # noqa: ARG001  # trials name their own
    """Run the trials that it is told of, and say what happens."""
    say = speaking()
    stop, dropped, shared = StopRequest(), threading.Event(), Shared()
    orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders, stop, dropped), daemon=True).start()
    while (order := orders.get()) is not None:
        dropped.clear()
        for happened in attempt(order, stop, dropped, shared):
            say(spoken(happened))


def _listen(orders: "queue.SimpleQueue[Order | None]", stop: StopRequest, dropped: threading.Event) -> None:
    for values in told():
        if "order" in values:
            orders.put(Order(values["order"], Path(values["folder"]), values["recipe"]))
        elif "stop" in values:
            stop.make(values["stop"])
        elif "drop" in values:
            dropped.set()
    # Whoever sent them has ended.
    stop.make("the search has ended")
    orders.put(None)


def spoken(happened: Told) -> dict[str, Any]:
    """What a trial tells as plain values."""
    return {"told": type(happened).__name__, **asdict(happened)}


def told_of(values: Mapping[str, Any]) -> Told:
    """What plain values tell."""
    kinds: dict[str, type[Advanced | Scored | Ended]] = {kind.__name__: kind for kind in (Advanced, Scored, Ended)}
    kind = kinds[values["told"]]
    return kind(**{one.name: values[one.name] for one in dataclasses.fields(kind)})


def spoken_order(order: Order) -> dict[str, Any]:
    """An order as plain values."""
    return {"order": order.number, "folder": str(order.folder), "recipe": order.recipe}

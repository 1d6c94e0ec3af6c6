"""One trial of a search: a run that is scored on the validation rows, and never sees the test rows.

``attempt`` runs it in this process; ``main`` is a process that runs whatever it is sent, a line of JSON each.
"""

import dataclasses
import json
import os
import queue
import sys
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


def main() -> None:
    """Run the trials that come in on standard input, and tell on standard output what happens."""
    # What libraries print is not ours to send.
    sending = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    stop, dropped, shared = StopRequest(), threading.Event(), Shared()
    orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders, stop, dropped), daemon=True).start()
    while (order := orders.get()) is not None:
        dropped.clear()
        for told in attempt(order, stop, dropped, shared):
            sending.write(spoken(told) + "\n")


def _listen(orders: "queue.SimpleQueue[Order | None]", stop: StopRequest, dropped: threading.Event) -> None:
    for line in sys.stdin:
        heard = json.loads(line)
        if "order" in heard:
            orders.put(Order(heard["order"], Path(heard["folder"]), heard["recipe"]))
        elif "stop" in heard:
            stop.make(heard["stop"])
        elif "drop" in heard:
            dropped.set()
    # Whoever sent them has ended.
    stop.make("the search has ended")
    orders.put(None)


def spoken(told: Told) -> str:
    """What a trial tells as a line of JSON."""
    return json.dumps({"told": type(told).__name__, **asdict(told)})


def heard(line: str) -> Told:
    """What a line of JSON tells."""
    values: Mapping[str, Any] = json.loads(line)
    kinds: dict[str, type[Advanced | Scored | Ended]] = {kind.__name__: kind for kind in (Advanced, Scored, Ended)}
    kind = kinds[values["told"]]
    return kind(**{one.name: values[one.name] for one in dataclasses.fields(kind)})


def order_line(order: Order) -> str:
    """An order as a line of JSON."""
    return json.dumps({"order": order.number, "folder": str(order.folder), "recipe": order.recipe})

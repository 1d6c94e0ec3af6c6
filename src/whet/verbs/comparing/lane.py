"""A process that holds runs of a comparison, and lets them train when it is told to, a line of JSON each."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from whet.engine.job import StopRequest
from whet.events import Event, Step, Storing
from whet.intake import Shared
from whet.verbs.comparing.crew import Held
from whet.verbs.comparing.turns import Key, line, spoken, turn_of, values_of

Order = Mapping[str, Any]


def main() -> None:
    """Do what comes in on standard input, and tell on standard output what happens."""
    # What libraries print is not ours to send.
    sending = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    stop, orders = StopRequest(), queue.SimpleQueue[Order]()
    held = Held(Path(sys.argv[1]), Shared(), stop)
    threading.Thread(target=_listen, args=(orders, stop), daemon=True).start()
    while True:
        answer = _do(held, orders.get(), lambda values: sending.write(line(values)))
        if answer is not None:
            sending.write(line(answer))


def _do(held: Held, order: Order, tell: Callable[[Order], object]) -> Order | None:
    """What there is to answer to an order."""
    match order:
        case {"turn": values}:
            return {"ended": spoken(held.take(turn_of(values), lambda event: _show(event, tell)))}
        case {"store": keys, "reason": reason}:
            return {"wrong": held.store(_keys(keys), reason)}
        case {"leave": keys, "reason": reason}:
            held.leave(_keys(keys), reason)
            return {}
        case {"forget": keys}:
            held.forget(_keys(keys))
    return None


def _show(event: Event, tell: Callable[[Order], object]) -> None:
    match event:
        case Step():
            tell({"stepped": event.step})
        case Storing():
            tell({"storing": [event.done, event.rows]})
        case _:
            pass


def _keys(told: Collection[tuple[str, int]]) -> list[Key]:
    return [(name, seed) for name, seed in told]


def _listen(orders: queue.SimpleQueue[Order], stop: StopRequest) -> None:
    for said in sys.stdin:
        order = values_of(said)
        if "stop" in order:
            stop.make(order["stop"])
        else:
            orders.put(order)
    # Whoever sent them has ended. What was to be kept is on the disk, and nobody else may work on these runs until
    # this process lets go of them.
    os._exit(0)

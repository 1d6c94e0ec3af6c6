"""A process that holds runs of a comparison, and lets them train when it is told to."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from whet.engine.job import StopRequest
from whet.events import Event, Step, Storing
from whet.intake import Shared
from whet.verbs.comparing.crew import Held
from whet.verbs.comparing.turns import Key, spoken, turn_of
from whet.verbs.workers import Values, speaking, told


def main(folder: str) -> None:
    """Do what it is told to with runs in this folder, and say what happens."""
    say = speaking()
    stop, orders = StopRequest(), queue.SimpleQueue[Values]()
    held = Held(Path(folder), Shared(), stop)
    threading.Thread(target=_listen, args=(orders, stop), daemon=True).start()
    while True:
        answer = _do(held, orders.get(), say)
        if answer is not None:
            say(answer)


def _do(held: Held, order: Values, say: Callable[[Values], None]) -> Values | None:
    """What there is to answer to an order."""
    match order:
        case {"turn": values}:
            return {"ended": spoken(held.take(turn_of(values), lambda event: _show(event, say)))}
        case {"store": keys, "reason": reason}:
            return {"wrong": held.store(_keys(keys), reason)}
        case {"leave": keys, "reason": reason}:
            held.leave(_keys(keys), reason)
            return {}
        case {"forget": keys}:
            held.forget(_keys(keys))
    return None


def _show(event: Event, say: Callable[[Values], None]) -> None:
    match event:
        case Step():
            say({"stepped": event.step})
        case Storing():
            say({"storing": [event.done, event.rows]})
        case _:
            pass


def _keys(named: Collection[tuple[str, int]]) -> list[Key]:
    return [(name, seed) for name, seed in named]


def _listen(orders: queue.SimpleQueue[Values], stop: StopRequest) -> None:
    for order in told():
        if "stop" in order:
            stop.make(order["stop"])
        else:
            orders.put(order)
    # Whoever sent them has ended. What was to be kept is on the disk, and nobody else may work on these runs until
    # this process lets go of them.
    os._exit(0)

"""With which settings a run fits into a memory: the first of them that do, those that cost least time first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whet.planning.memory import Memory

SPARE = 0.95
"""Share of a memory that a plan may use: what is planned is not exact, and others live there too."""


@dataclass(frozen=True)
class Fit:
    """Settings of a run, and what it needs with them."""

    micro_batch_size: int
    """Rows of a forward pass."""
    gradient_checkpointing: bool
    memory: Memory
    fits: bool
    reason: str
    """Why these."""

    def settings(self, batch_size: int) -> dict[str, object]:
        """What a recipe has to say for it, by path; nothing where the defaults do."""
        micro = self.micro_batch_size
        said: dict[str, object] = {"training.micro_batch_size": micro} if micro < batch_size else {}
        return {**said, **({"training.gradient_checkpointing": True} if self.gradient_checkpointing else {})}

    def assignments(self, batch_size: int) -> list[str]:
        """The same as one types it."""
        return [f"{path}={str(value).lower()}" for path, value in self.settings(batch_size).items()]


def settle(
    need: Callable[[int, bool], Memory],
    room: int,
    batch_size: int,
    *,
    asked: tuple[int | None, bool] = (None, False),
    least: int = 0,
) -> Fit:
    """The settings that fit into ``room`` bytes at the least cost of time; those that need least where none do.

    ``need`` tells the memory for rows of a forward pass, and with or without gradient checkpointing. What the user
    has ``asked`` for is the beginning. ``least`` is what no setting changes: where that is too much, none is tried.
    """
    largest, short = asked[0] or batch_size, asked[1]
    tried: list[Fit] = []
    hopeless = least > SPARE * room
    for micro, recompute in [(1, True)] if hopeless else _ways(largest, short):
        memory = need(micro, recompute)
        fits = _of_the_machine(memory) <= SPARE * room
        tried.append(Fit(micro, recompute, memory, fits, _reason(micro, recompute, largest, short)))
        if fits:
            return tried[-1]
    return min(tried, key=lambda fit: fit.memory.total)


def _of_the_machine(memory: Memory) -> int:
    """Without what the system takes back where it needs room: files that are mapped."""
    return memory.total - memory.cache


def _ways(largest: int, short: bool) -> Iterator[tuple[int, bool]]:
    """Smaller forward passes cost little, a second forward pass about a third of the time."""
    for recompute in (False, True) if not short else (True,):
        micro = largest
        while True:
            yield micro, recompute
            if micro == 1:
                break
            micro = -(-micro // 2)


def _reason(micro: int, recompute: bool, largest: int, short: bool) -> str:
    reasons = []
    if micro < largest:
        reasons.append(f"the step is the same in passes of {micro} rows, with less in memory at a time")
    if recompute and not short:
        reasons.append("blocks compute their inner values twice instead of keeping them, a third more time")
    return "; ".join(reasons)

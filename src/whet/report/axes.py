"""Scales of charts: from values to places, and round numbers to write beside them. Knows no drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

FEW = 3
"""Fewer powers of ten than these are joined by what stands between them."""
MOST = 5
"""More round values than these would run into each other."""
LETTER = 6.2
"""Mean width of a letter of a label."""


@dataclass(frozen=True)
class Scale:
    """Places of values along a line; ``low`` stands at ``start`` and ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, value = (self._even(one) for one in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, count: int = 4) -> list[float]:
        """Round values from end to end, about ``count`` of them."""
        return _powers(self.low, self.high) if self.logarithmic else _round_values(self.low, self.high, count)

    def tell(self, value: float) -> str:
        """What is written beside a value."""
        return written(value)

    def _even(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


@dataclass(frozen=True)
class Named(Scale):
    """Names in place of the values 0, 1, 2 and so on, evenly apart."""

    names: tuple[str, ...] = ()

    def ticks(self, count: int = 4) -> list[float]:  # noqa: ARG002  # a name is never left out
        """The place of every name."""
        return [float(number) for number in range(len(self.names))]

    def tell(self, value: float) -> str:
        """A name, cut where it would run into the next one."""
        letters = int(abs(self.end - self.start) / max(1, len(self.names)) / LETTER)
        name = self.names[round(value)]
        return name if len(name) <= letters else f"{name[: max(1, letters - 1)]}…"


def spanning(
    values: Iterable[float], start: float, end: float, *, logarithmic: bool = False, share: bool = False
) -> Scale:
    """A scale on which all finite values have room, and a little more; positive ones alone where ``logarithmic``.

    A ``share`` is never more than 1.
    """
    known = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    low, high = (min(known), max(known)) if known else (0.1, 1.0)
    if logarithmic:
        return Scale(low / 1.25, high * 1.25, start, end, logarithmic=True)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    top = 1.0 if share and high <= 1.0 < high + room else high + room
    return Scale(0.0 if 0 <= low < room else low - room, top, start, end)


def written(value: float) -> str:
    """A value as short as can be: ``0.25``, ``1e-5``, ``12k``."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    if 0 < size < 1e-3:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}"
    return f"{value:.6g}"


def _round_values(low: float, high: float, count: int) -> list[float]:
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first <= count:
            break
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for between in ((1,), (1, 3), (1, 2, 5), range(1, 10), [one / 10 for one in range(10, 100)]):
        found = [factor * 10.0**power for power in exponents for factor in between]
        inside = [float(f"{value:.10g}") for value in found if low <= value <= high]
        if len(inside) >= FEW:
            break
    return inside[:: math.ceil(len(inside) / MOST)] if inside else [low]

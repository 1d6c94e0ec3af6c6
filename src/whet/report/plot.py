"""Small drawings as SVG, for pages and files that need no network and no program: points, lines, bars, two axes.

Colours come from the page's CSS variables, so that a drawing follows its light and dark mode; those of a drawing that
stands alone are in its own style.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 40
"""Margins in pixels, for the numbers beside the axes."""
TICKS = 5

STYLE = (
    "svg.plot{max-width:100%;height:auto;font:12px system-ui,sans-serif}"
    ".plot text{fill:var(--quiet,#667)}.plot .grid{stroke:var(--line,#dde);stroke-width:1}"
    ".plot .a{fill:var(--a,#2563eb);stroke:var(--a,#2563eb)}.plot .b{fill:var(--b,#d97706);stroke:var(--b,#d97706)}"
    ".plot .c{fill:var(--c,#94a3b8);stroke:var(--c,#94a3b8)}.plot polyline{fill:none!important;stroke-width:2}"
    ".plot .thin{stroke-width:1;opacity:.55}.plot line.mark{stroke-width:1.5;stroke-dasharray:4 3}"
)

Shade = Literal["a", "b", "c"]


@dataclass(frozen=True)
class Axis:
    """What stands along one side."""

    label: str
    low: float
    high: float
    log: bool = False
    names: Sequence[str] = ()
    """In place of numbers, at 0, 1, 2 and so on."""

    def place(self, value: float) -> float:
        """Where a value stands, 0 at the low end and 1 at the high one."""
        if self.log:
            low, high, value = math.log(self.low), math.log(self.high), math.log(value)
        else:
            low, high = self.low, self.high
        return 0.5 if high == low else (value - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Values that are written beside the axis, with how they are written."""
        if self.names:
            return [(float(position), name) for position, name in enumerate(self.names)]
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, round((last - first) / TICKS))
            powers = [10.0**power for power in range(first, last + 1, every)]
            values = powers if len(powers) > 1 else [self.low, self.high]
            return [(value, f"{value:.0e}" if value < 1e-3 or value >= 1e4 else f"{value:g}") for value in values]
        step = _nice((self.high - self.low) / TICKS) if self.high > self.low else 1.0
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor((self.high - first * step) / step + 1e-9) + 1
        return [((first + i) * step, f"{round((first + i) * step, 10):g}") for i in range(max(1, count))]


@dataclass(frozen=True)
class Points:
    """Dots; what is written into them appears where the mouse is."""

    at: Sequence[tuple[float, float]]
    shade: Shade = "a"
    told: Sequence[str] = ()
    size: float = 4.0


@dataclass(frozen=True)
class Line:
    """A line through points."""

    at: Sequence[tuple[float, float]]
    shade: Shade = "a"
    thin: bool = False
    told: str = ""


@dataclass(frozen=True)
class Mark:
    """A place along the lower axis."""

    at: float
    told: str
    shade: Shade = "b"


@dataclass(frozen=True)
class Plot:
    """A drawing of some lines and points over two axes."""

    title: str
    across: Axis
    up: Axis
    lines: Sequence[Line] = ()
    points: Sequence[Points] = ()
    marks: Sequence[Mark] = ()
    width: int = 640
    height: int = 280
    alone: bool = field(default=False)
    """Whether it is a file of its own, which brings its style."""

    def svg(self) -> str:
        """The drawing."""
        pieces = [*self._grid()]
        pieces += [self._line(line) for line in self.lines]
        pieces += [self._mark(mark) for mark in self.marks]
        pieces += [dot for points in self.points for dot in self._dots(points)]
        about = f"<title>{escape(self.title)}</title>"
        style = f"<style>{STYLE}.plot{{background:#fff}}</style>" if self.alone else ""
        return (
            f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}">{about}{style}{"".join(pieces)}</svg>'
        )

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + self.across.place(x) * (self.width - LEFT - RIGHT)
        return round(across, 1), round(self.height - BOTTOM - self.up.place(y) * (self.height - TOP - BOTTOM), 1)

    def _grid(self) -> list[str]:
        pieces = []
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for value, name in self.up.ticks():
            y = self._at(self.across.low, value)[1]
            pieces.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
            pieces.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for value, name in self.across.ticks():
            x = self._at(value, self.up.low)[0]
            pieces.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{escape(name)}</text>')
        middle = (LEFT + right) / 2
        pieces.append(
            f'<text x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(self.across.label)}</text>'
        )
        pieces.append(f'<text x="{LEFT}" y="{TOP - 1}" text-anchor="start">{escape(self.up.label)}</text>')
        return pieces

    def _line(self, line: Line) -> str:
        places = " ".join(f"{x},{y}" for x, y in (self._at(*point) for point in line.at))
        thin = " thin" if line.thin else ""
        told = f"<title>{escape(line.told)}</title>" if line.told else ""
        return f'<polyline class="{line.shade}{thin}" points="{places}">{told}</polyline>'

    def _mark(self, mark: Mark) -> str:
        x, y = self._at(mark.at, self.up.low)
        side = "end" if x > self.width / 2 else "start"
        beside = x + (-5 if side == "end" else 5)
        text = f'<text x="{beside}" y="{TOP + 14}" text-anchor="{side}">{escape(mark.told)}</text>'
        return f'<line class="mark {mark.shade}" x1="{x}" x2="{x}" y1="{TOP}" y2="{y}"/>{text}'

    def _dots(self, points: Points) -> list[str]:
        told = list(points.told) or [""] * len(points.at)
        dots = []
        for (x, y), words in zip((self._at(*point) for point in points.at), told, strict=True):
            title = f"<title>{escape(words)}</title>" if words else ""
            dots.append(f'<circle class="{points.shade}" cx="{x}" cy="{y}" r="{points.size:g}">{title}</circle>')
        return dots


def bars(title: str, values: Sequence[tuple[str, float]], width: int = 640) -> str:
    """Bars from left to right, each with its name before it and its share of one behind it."""
    height, room, longest = 26, 190, max((value for _, value in values), default=1.0) or 1.0
    pieces = []
    for position, (name, value) in enumerate(values):
        y, length = position * height + 6, round((width - room - 60) * value / longest, 1)
        pieces.append(f'<text x="{room - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        pieces.append(f'<rect class="a" x="{room}" y="{y}" width="{max(length, 1.0)}" height="15" rx="3"/>')
        pieces.append(f'<text x="{room + max(length, 1.0) + 6}" y="{y + 12}">{value:.0%}</text>')
    tall = len(values) * height + 8
    return (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {tall}" width="{width}" '
        f'height="{tall}"><title>{escape(title)}</title>{"".join(pieces)}</svg>'
    )


def around(values: Sequence[float], room: float = 0.06) -> tuple[float, float]:
    """A low and a high end with some room around all values."""
    low, high = min(values), max(values)
    more = (high - low) * room or abs(high) * room or 1.0
    return low - more, high + more


def _nice(step: float) -> float:
    """The next larger of 1, 2, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))

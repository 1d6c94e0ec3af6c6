"""Charts as SVG inside of a page: no library, no script, colours from the page's own variables.

A chart is drawn as wide as a telephone, so that its letters are never shrunk; several of them stand side by side where
there is room. What is told by a colour is told by a shape or a word, too. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from whet.report.axes import LETTER, Named, Scale, spanning, written

WIDTH, HEIGHT = 380, 236
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 14, 40
POINTS = 240
"""Points of a curve that are drawn: more are not seen."""
HOVERED = 60
"""Points of a curve that tell their value when one points at them."""
LINE = 13
"""Height of a label."""

ALONE = (
    "text{font:11.5px system-ui,sans-serif;fill:#59616d}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid,.axis{stroke:#c9ced6}.stage{stroke:#7b8490;stroke-dasharray:2 3}.curve{fill:none;stroke-width:2}"
    ".s1{stroke:#1f5fa8}.s2{stroke:#b8470b}.faint{stroke:#a9c3e2;stroke-width:1}.hover{fill:transparent;stroke:none}"
)
"""What the page's style sheet says, as far as a drawing of its own needs it: every viewer reads this."""

Attributes = Mapping[str, object]


@dataclass(frozen=True)
class Curve:
    """A line; where a y is not finite there is a gap."""

    name: str
    x: np.ndarray
    y: np.ndarray
    style: str = "s1"
    """Class of the page's style sheet."""
    dots: bool = False
    """Whether its points are drawn."""


@dataclass(frozen=True)
class Band:
    """A named stretch of the x axis."""

    name: str
    first: float
    last: float


@dataclass(frozen=True)
class Mark:
    """A named place along the x axis."""

    name: str
    at: float


@dataclass(frozen=True)
class Point:
    """One of many that tells what it is when one points at it."""

    x: float
    y: float
    told: str
    style: str = "s1"


@dataclass(frozen=True)
class Dot:
    """A candidate in a scatter plot."""

    name: str
    x: float
    y: float
    mark: str
    """What stands beside it: its number in the table."""
    style: str = "rest"


def lines(  # what a chart of lines is made of
    curves: Sequence[Curve],
    *,
    alt: str,
    across: str,
    bands: Sequence[Band] = (),
    marks: Sequence[Mark] = (),
    tell: Callable[[float], str] = written,
    from_zero: bool = False,
    logarithmic: bool = False,
) -> Markup:
    """A chart of curves over a common axis; ``alt`` is what it says to those who do not see it."""
    thin = [_thinned(curve) for curve in curves]
    every = [float(y) for curve in thin for y in curve.y]
    ends = [float(one) for curve in curves if len(curve.x) for one in (curve.x[0], curve.x[-1])]
    x = axis(min(ends, default=0.0), max(ends, default=1.0), logarithmic=logarithmic)
    y = spanning([*every, 0.0] if from_zero else every, HEIGHT - BOTTOM, TOP)
    drawn = [_frame(x, y, across, tell), *_bands(bands, x)]
    for curve in thin:
        drawn.append(_curve(curve, x, y))
        drawn += [*_dots(curve, x, y)] if curve.dots else []
    for mark in marks:
        drawn += _marked(mark.name, x(mark.at))
    for curve in thin:
        drawn += _told(curve, x, y, tell)
    return _chart(drawn, alt)


def scatter(
    dots: Sequence[Dot], *, alt: str, across: str, more_is_better: bool, tell: Callable[[float], str]
) -> Markup:
    """Scores against a cost on a logarithmic axis, with the line of those that nothing beats in both."""
    known = [dot for dot in dots if dot.x > 0 and math.isfinite(dot.x) and math.isfinite(dot.y)]
    x = spanning((dot.x for dot in known), LEFT, WIDTH - RIGHT - 10, logarithmic=True)
    y = spanning((dot.y for dot in known), HEIGHT - BOTTOM, TOP + 4)
    front = pareto([(dot.x, dot.y) for dot in known], more_is_better=more_is_better)
    drawn = [_frame(x, y, across, tell), _front([known[i] for i in front], x, y)]
    taken = [(x(dot.x) - 5, y(dot.y) - 5, x(dot.x) + 5, y(dot.y) + 5) for dot in known]
    for number, dot in enumerate(known):
        best = number in front
        title = _node("title", {}, f"{dot.mark}. {dot.name}: {tell(dot.y)}, {written(float(f'{dot.x:.3g}'))}")
        place = {"cx": x(dot.x), "cy": y(dot.y), "r": 5 if best else 4, "class": f"dot {dot.style}"}
        drawn.append(_node("circle", place, title))
    # The names of the best first: where there is room for few, these are read.
    for number in sorted(range(len(known)), key=lambda number: number not in front):
        dot = known[number]
        texts = [f"{dot.mark} {dot.name}", dot.mark] if number in front else [dot.mark]
        drawn += _label(texts, x(dot.x), y(dot.y), taken)
    return _chart(drawn, alt)


def points(
    found: Sequence[Point],
    x: Scale,
    *,
    alt: str,
    across: str,
    tell: Callable[[float], str],
    curve: Curve | None = None,
) -> Markup:
    """Values one by one over an axis, with a curve through some of them."""
    y = spanning([point.y for point in found], HEIGHT - BOTTOM, TOP)
    drawn = [_frame(x, y, across, tell)]
    drawn += [_curve(curve, x, y)] if curve is not None else []
    for point in found:
        place = {"cx": x(point.x), "cy": y(point.y), "r": 4, "class": f"dot {point.style}"}
        drawn.append(_node("circle", place, _node("title", {}, point.told)))
    return _chart(drawn, alt)


def axis(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """What runs across a chart, without room at its ends."""
    return Scale(low, high, LEFT, WIDTH - RIGHT, logarithmic)


def named_axis(names: Sequence[str]) -> Named:
    """Names that stand across a chart."""
    return Named(-0.5, len(names) - 0.5, LEFT, WIDTH - RIGHT, names=tuple(names))


def alone(chart: Markup) -> str:
    """A chart as a file of its own, which is light whatever the reader's theme."""
    size = f'xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{2 * HEIGHT}" style="background:#fff"'
    head, _, rest = str(chart).partition(">")
    return f"{head} {size}><style>{ALONE}</style>{rest}\n"


def cloud(x_values: np.ndarray, y_values: np.ndarray, *, alt: str, across: str) -> Markup:
    """Predicted numbers against the true ones, with the line on which they would be equal."""
    both = [*map(float, x_values), *map(float, y_values)]
    x, y = spanning(both, LEFT, WIDTH - RIGHT), spanning(both, HEIGHT - BOTTOM, TOP)
    places = zip(x_values[: 4 * POINTS], y_values[: 4 * POINTS], strict=True)
    path = "".join(f"M{x(float(one))} {y(float(other))}h0" for one, other in places)
    low, high = x.low, x.high
    even = {"x1": x(low), "y1": y(low), "x2": x(high), "y2": y(high), "class": "even"}
    cloud_of = _node("path", {"d": path, "class": "cloud s1"})
    return _chart([_frame(x, y, across, written), _node("line", even), cloud_of], alt)


def reliability(bins: Sequence[tuple[float, float, float, float, int]], *, alt: str, across: str) -> Markup:
    """How often answers of a probability are right: bins of (probability, share, low, high, rows)."""
    tell: Callable[[float], str] = lambda value: f"{100 * value:.0f}%"  # noqa: E731  # a name for its type
    x, y = Scale(0.0, 1.0, LEFT, WIDTH - RIGHT), Scale(0.0, 1.0, HEIGHT - BOTTOM - 14, TOP)
    even = {"x1": x(0), "y1": y(0), "x2": x(1), "y2": y(1), "class": "even"}
    drawn = [_frame(x, y, across, tell, tell), _node("line", even)]
    most = max((one[4] for one in bins), default=1)
    for probability, share, low, high, rows in bins:
        told = f"{tell(probability)}: {tell(share)} ({tell(low)} – {tell(high)}), {rows}"
        place = {"cx": x(probability), "cy": y(share), "r": round(3 + 4 * math.sqrt(rows / most), 1)}
        line = {"x1": x(probability), "x2": x(probability), "y1": y(low), "y2": y(high), "class": "thin whisk s1"}
        drawn.append(_node("line", line))
        drawn.append(_node("circle", {**place, "class": "dot s1"}, _node("title", {}, told)))
    return _chart(drawn, alt)


def whisker(value: float, low: float | None, high: float | None, scale: Scale, told: str, style: str) -> Markup:
    """A value with its interval on a line as wide as its cell; ``scale`` runs from 0 to 100."""
    parts = []
    if low is not None and high is not None:
        ends = [f"{min(100.0, max(0.0, scale(one)))}%" for one in (low, high)]
        parts.append(_node("line", {"x1": ends[0], "x2": ends[1], "y1": "50%", "y2": "50%", "class": f"whisk {style}"}))
        parts += [
            _node("line", {"x1": end, "x2": end, "y1": "28%", "y2": "72%", "class": f"whisk {style}"}) for end in ends
        ]
    place = f"{min(100.0, max(0.0, scale(value)))}%"
    if style == "rest":
        # A square: what is no fine-tuned model is told apart without its colour.
        mark = _node("rect", {"x": place, "y": "50%", "width": 9, "height": 9, "class": "square rest"})
    else:
        mark = _node("circle", {"cx": place, "cy": "50%", "r": 5, "class": f"dot {style}"})
    title = _node("title", {}, told)
    return _node("svg", {"class": "whisker", "role": "img", "aria-label": told}, title, *parts, mark)


def pareto(points: Sequence[tuple[float, float]], *, more_is_better: bool) -> list[int]:
    """Which of (cost, score) no other beats in one without losing in the other, the cheapest first."""
    sign = 1 if more_is_better else -1
    found: list[int] = []
    best = -math.inf
    for number in sorted(range(len(points)), key=lambda number: (points[number][0], -sign * points[number][1])):
        if sign * points[number][1] > best:
            best = sign * points[number][1]
            found.append(number)
    return found


def smoothed(values: np.ndarray, keep: float) -> np.ndarray:
    """The running mean of values, right from the first on; those that are not finite are left out."""
    total, weight, means = 0.0, 0.0, []
    for value in values.tolist():
        if math.isfinite(value):
            total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        means.append(total / weight if weight else math.nan)
    return np.array(means)


def _thinned(curve: Curve) -> Curve:
    """A curve with the means of as many stretches as can be seen."""
    if len(curve.x) <= POINTS:
        return curve
    starts = np.linspace(0, len(curve.x), POINTS, endpoint=False, dtype=np.int64)
    counts = np.diff(np.append(starts, len(curve.x)))
    # The first and the last stay where they are.
    x = np.add.reduceat(curve.x, starts) / counts
    x[0], x[-1] = curve.x[0], curve.x[-1]
    return Curve(curve.name, x, np.add.reduceat(curve.y, starts) / counts, curve.style, curve.dots)


def _curve(curve: Curve, x: Scale, y: Scale) -> Markup:
    return _node("path", {"d": _path(curve, x, y), "class": f"curve {curve.style}"})


def _path(curve: Curve, x: Scale, y: Scale) -> str:
    parts, on = [], False
    for one, other in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
        if not math.isfinite(other):
            on = False
            continue
        parts.append(f"{'L' if on else 'M'}{x(one):g} {y(other):g}")
        on = True
    return "".join(parts) or "M0 0"


def _dots(curve: Curve, x: Scale, y: Scale) -> Iterable[Markup]:
    for one, other in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
        if math.isfinite(other):
            yield _node("circle", {"cx": x(one), "cy": y(other), "r": 3, "class": f"dot {curve.style}"})


def _told(curve: Curve, x: Scale, y: Scale, tell: Callable[[float], str]) -> list[Markup]:
    """Unseen circles that tell the values of a curve when one points at them."""
    if curve.style == "faint":
        return []
    every = max(1, len(curve.x) // HOVERED)
    told = []
    for one, other in zip(curve.x[::every].tolist(), curve.y[::every].tolist(), strict=True):
        if math.isfinite(other):
            at = x.tell(float(f"{one:.3g}") if x.logarithmic else round(one))
            title = _node("title", {}, f"{curve.name} · {at}: {tell(other)}")
            told.append(_node("circle", {"cx": x(one), "cy": y(other), "r": 7, "class": "hover"}, title))
    return told


def _bands(bands: Sequence[Band], x: Scale) -> list[Markup]:
    """Where another mask begins to train: a line with its name."""
    drawn = []
    for number, band in enumerate(bands if len(bands) > 1 else ()):
        if number:
            drawn.append(_stroke(x(band.first)))
        room = int((x(band.last) - x(band.first)) / LETTER)
        name = band.name if len(band.name) <= room else f"{band.name[: room - 1]}…" if room > 3 else str(number + 1)
        drawn.append(_text(name, x(band.first) + 3, TOP + 9, "stage-name"))
    return drawn


def _marked(name: str, at: float) -> list[Markup]:
    """A line from top to bottom with its name, on the side where there is room."""
    wide = LETTER * len(name)
    beside = at + 3 if at + 3 + wide <= WIDTH else at - 3 - wide
    return [_stroke(at), _text(name, beside, TOP + 9, "stage-name")]


def _stroke(at: float) -> Markup:
    return _node("line", {"x1": at, "x2": at, "y1": TOP, "y2": HEIGHT - BOTTOM, "class": "stage"})


def _frame(
    x: Scale, y: Scale, across: str, tell: Callable[[float], str], tell_across: Callable[[float], str] | None = None
) -> Markup:
    """Axes with round values, and what runs across."""
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks():
        place = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": y(tick), "y2": y(tick), "class": "grid"}
        parts += [_node("line", place), _text(tell(tick), LEFT - 7, y(tick) + 4, "tick end")]
    for tick in x.ticks():
        parts.append(_node("line", {"x1": x(tick), "x2": x(tick), "y1": bottom, "y2": bottom + 4, "class": "axis"}))
        parts.append(_text((tell_across or x.tell)(tick), x(tick), bottom + 17, "tick middle"))
    parts.append(_node("line", {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": bottom, "y2": bottom, "class": "axis"}))
    parts.append(_text(across, WIDTH - RIGHT, HEIGHT - 6, "across end"))
    return Markup("").join(parts)


def _front(dots: Sequence[Dot], x: Scale, y: Scale) -> Markup:
    """Steps along the best for their cost: nothing between two of them is known."""
    path = ""
    for dot in dots:
        path += f"H{x(dot.x):g}V{y(dot.y):g}" if path else f"M{x(dot.x):g} {y(dot.y):g}"
    return _node("path", {"d": f"{path}H{WIDTH - RIGHT}" if path else "M0 0", "class": "front"})


def _label(
    texts: Sequence[str], at_x: float, at_y: float, taken: list[tuple[float, float, float, float]]
) -> list[Markup]:
    """The first of the texts that finds a free place beside a dot; nothing where none does."""
    for text in texts:
        width = LETTER * len(text)
        for left, top in ((8, -7), (-width - 8, -7), (-width / 2, -20), (-width / 2, 7), (8, -18), (8, 4)):
            box = (at_x + left, at_y + top, at_x + left + width, at_y + top + LINE)
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                return [_text(text, box[0], box[3] - 3, "mark")]
    return []


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _chart(parts: Iterable[Markup], alt: str) -> Markup:
    size = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": "chart", "role": "img", "aria-label": alt}
    return _node("svg", size, *parts)


def _text(text: str, x: float, y: float, style: str) -> Markup:
    return _node("text", {"x": round(x, 1), "y": round(y, 1), "class": style}, text)


def _node(name: str, attributes: Attributes, *children: str | Markup) -> Markup:
    told = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{told}>{inner}</{name}>")  # noqa: S704  # every piece of it is escaped

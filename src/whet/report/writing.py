"""Writes numbers and foreign text so that a person can read them; knows nothing of what they stand for."""

import math
from collections.abc import Mapping

CONTROL = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def plain(text: str) -> str:
    """``text`` without the control characters that could command a terminal; tabs and line ends stay."""
    return text.translate(CONTROL)


def duration(seconds: float) -> str:
    """Such as ``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``1 d 4 h``; ``?`` where unknown."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def size(count_of_bytes: int) -> str:
    """Such as ``512 bytes``, ``3.4 MiB``, ``1.2 GiB``."""
    if count_of_bytes < 1024:
        return f"{count_of_bytes} bytes"
    value = float(count_of_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def count(number: float) -> str:
    """Such as ``9,999``, ``12.3 k``, ``22.7 M``, ``1.2 B``."""
    if number < 9_999.5:
        return f"{number:,.0f}"
    for unit in ("k", "M"):
        number /= 1000
        if number < 999.95:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:,.1f} B"


def share(part: int, whole: int) -> str:
    """``part`` of ``whole`` in percent, such as ``5.3%``; never 0% or 100% unless exact."""
    if whole == 0 or part in (0, whole):
        return "0%" if part == 0 else "100%"
    percent = 100 * part / whole
    if percent < 0.01:
        return "< 0.01%"
    return f"{percent:.2f}%" if percent < 1 else f"{min(percent, 99.9):.1f}%"


def score(value: float) -> str:
    """A score with four decimals, or four digits where it is large."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def valued(value: object) -> str:
    """A value of a recipe as one would write it there, in short."""
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case Mapping():
            return ", ".join(f"{key} {valued(one)}" for key, one in value.items())
        case list() | tuple():
            text = ", ".join(valued(one) for one in value)
            return text if len(text) <= 120 else f"{text[:110]}… ({len(value)})"
        case _:
            return str(value)

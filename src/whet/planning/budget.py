"""How long something may take, as people write it."""

from __future__ import annotations

import re

from whet.errors import RecipeError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*(h(?:ours?)?|m(?:in(?:utes?)?)?|s(?:ec(?:onds?)?)?)(?![a-z])", re.IGNORECASE)


def seconds_of(text: str, option: str = "--budget") -> float:
    """Seconds of ``20m``, ``1h30m`` or ``90s``; raises RecipeError for anything else, and for no time at all."""
    seconds = seconds_in(text)
    if seconds is None:
        raise RecipeError(f"{option}: '{text}' is no time; write it as 20m, 90s or 1h30m")
    return seconds


def seconds_in(text: str) -> float | None:
    """The same; None for anything else."""
    parts = _PARTS.findall(text)
    seconds = sum(float(number) * _UNITS[unit[0].lower()] for number, unit in parts)
    return None if _PARTS.sub("", text).strip() or seconds <= 0 else seconds

"""How long something may take, as people write it."""

from __future__ import annotations

import re

from whet.errors import RecipeError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*(h|m|s)", re.IGNORECASE)


def seconds_of(text: str) -> float:
    """Seconds of ``20m``, ``1h30m`` or ``90s``; raises RecipeError for anything else, and for no time at all."""
    parts = _PARTS.findall(text)
    rest = _PARTS.sub("", text).strip()
    seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in parts)
    if rest or seconds <= 0:
        raise RecipeError(f"--budget: '{text}' is no time; write it as 20m, 90s or 1h30m")
    return seconds

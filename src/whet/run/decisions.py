"""Reads back what ``whet.recipe.dump`` writes: every value of a recipe, and the reason behind it."""

import contextlib
from collections.abc import Iterator

import yaml

from whet.core import Choice, Origin

_COMMENT = "  # "


def decisions(text: str) -> list[Choice]:
    """The values of a written recipe in their order; one without a comment was given by the user.

    Lines that a person has rewritten in another form are left out.
    """
    return list(_decisions(text))


def _decisions(text: str) -> Iterator[Choice]:
    section = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        inside = line.startswith("  ")
        read = _value(line)
        if read is None:
            continue
        name, value, reason = read
        if not inside and value is None and line.rstrip().endswith(":"):
            section = name
            continue
        path = f"{section}.{name}" if inside else name
        yield Choice(path, value, _origin(reason), "" if reason in (None, "default") else str(reason))


def _value(line: str) -> tuple[str, object, str | None] | None:
    """Name, value and comment of a line; None where it holds no single value."""
    # A '#' may stand inside of a quoted text: what is before a comment is YAML by itself.
    places = [place for place in range(len(line)) if line.startswith(_COMMENT, place)]
    for place in (*places, len(line)):
        with contextlib.suppress(yaml.YAMLError):
            loaded = yaml.safe_load(line[:place].strip())
            if isinstance(loaded, dict) and len(loaded) == 1:
                (name, value), comment = next(iter(loaded.items())), line[place + len(_COMMENT) :]
                return str(name), value, comment if place < len(line) else None
    return None


def _origin(reason: str | None) -> Origin:
    if reason is None:
        return "given"
    return "default" if reason.startswith("default") else "inferred"

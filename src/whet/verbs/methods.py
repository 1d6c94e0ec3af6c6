"""Which methods there are."""

from dataclasses import dataclass

from whet import catalog


@dataclass(frozen=True)
class MethodSummary:
    """A method in one line."""

    name: str
    summary: str


def methods() -> list[MethodSummary]:
    """All methods, with the first line of what each does."""
    return [MethodSummary(name, catalog.summary("method", name)) for name in catalog.names("method")]

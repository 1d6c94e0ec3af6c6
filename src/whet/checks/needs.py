"""What checks can ask for. The data and the model are asked for by their own types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet import catalog
from whet.core import Defaults


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with nothing left open, as plain values."""

    values: Mapping[str, Any]

    @property
    def method(self) -> str:
        """Name of the method."""
        name: str = self.values["method"]["name"]
        return name

    @property
    def usual(self) -> Defaults:
        """What this method trains with unless a recipe says otherwise."""
        return usual(self.method)

    @property
    def keeps_base(self) -> bool:
        """Whether the method trains an adapter beside weights that stay as they are."""
        kept: bool = catalog.load("method", self.method).keeps_base
        return kept


def usual(method: str) -> Defaults:
    """What a method trains with unless a recipe says otherwise."""
    defaults: Defaults = catalog.load("method", method).defaults
    return defaults

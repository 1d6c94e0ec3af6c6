"""Training what patterns name."""

from __future__ import annotations

import fnmatch
from dataclasses import field
from typing import ClassVar

from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.errors import ModelError, did_you_mean
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class Mask(Selection):
    """Mask: exactly the parameters that your patterns name train, and what no pre-trained weight filled.

    The free form of every method that only selects: ``method: {name: mask, train: ["*.attention.*", "classifier.*"]}``.
    A parameter W trains where its name matches one of the patterns of ``train`` and none of ``freeze``. Choose it for
    an idea that has no name yet: surgical fine-tuning of single blocks (Lee et al. 2023, arXiv 2210.11466), queries
    only, one side of an encoder-decoder. A pattern that matches nothing is an error.
    """

    train: list[str]
    """Patterns of parameter names, such as '*.attention.*' or 'classifier.*'."""
    freeze: list[str] = field(default_factory=list)
    """Patterns of parameters that stay frozen although ``train`` names them."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=1e-4, schedule="linear", warmup=0.1)

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which what was named trains."""
        problems = [*_idle("train", self.train, parts), *_idle("freeze", self.freeze, parts)]
        if problems:
            raise ModelError(*problems)
        chosen = _matching(self.train, parts) - _matching(self.freeze, parts)
        if not chosen:
            raise ModelError("method.freeze: names all that method.train names; nothing would train")
        return [Stage("mask", 1.0, chosen | frozenset(parts.fresh))]


def _matching(patterns: list[str], parts: Parts) -> frozenset[str]:
    return frozenset(name for pattern in patterns for name in fnmatch.filter(parts.parameters, pattern))


def _idle(option: str, patterns: list[str], parts: Parts) -> list[str]:
    """A complaint for every pattern that matches nothing."""
    idle = [pattern for pattern in patterns if not fnmatch.filter(parts.parameters, pattern)]
    if option == "train" and not patterns:
        return ["method.train: an empty list trains nothing; name parameters, such as 'classifier.*'"]
    return [
        f"method.{option}: '{pattern}' matches no parameter{did_you_mean(pattern, parts.parameters)}; the names begin "
        f"with {', '.join(sorted({name.partition('.')[0] for name in parts.parameters}))}"
        for pattern in idle
    ]

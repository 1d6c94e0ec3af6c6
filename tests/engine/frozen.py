"""What the tests of stored outputs share: a tiny BERT whose blocks are frozen, and how its outputs are stored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from tests.contracts.arena import SETTINGS, Fight, weights
from tests.engine.jobs import BY_NAME
from whet.data.batch import sorted_batches
from whet.engine import cache
from whet.engine.job import Job, Settings
from whet.events import Event

E = TypeVar("E", bound=Event)


def of_kind(kind: type[E], events: Sequence[Event]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def head_job(settings: Settings = SETTINGS, folder: Path | None = None, method: str = "head", **changes: Any) -> Job:
    """The head, or the last block, of a tiny BERT on texts of different lengths."""
    options = {"count": 1} if method == "last_blocks" else {}
    made = Fight(BY_NAME["bert"], method, options, trimmed=True).job(settings)
    return replace(made, cache_folder=folder, **changes)


def small_batches(monkeypatch: pytest.MonkeyPatch, tokens: int = 20) -> None:
    """Let outputs be computed a few rows at a time."""
    monkeypatch.setattr(cache, "sorted_batches", lambda lengths, _: sorted_batches(lengths, tokens))


def assert_same_weights(one: Job, other: Job) -> None:
    final = weights(other.model)
    assert [name for name, tensor in weights(one.model).items() if not torch.equal(tensor, final[name])] == []

"""What holds for every check, and a row for each that triggers it, and one that does not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import whet.checks
from whet.checks import runner
from whet.checks.needs import ResolvedRecipe
from whet.core import Finding
from whet.errors import RecipeError


def recipe(method: str, rate: float, **training: Any) -> ResolvedRecipe:
    return ResolvedRecipe({"method": {"name": method}, "training": {"learning_rate": rate, **training}})


ROWS: dict[str, tuple[list[object], list[object]]] = {
    "R001": ([recipe("full", 0.01)], [recipe("full", 1e-4)]),
}
"""By id: what triggers a check, and what does not."""

FOLDER = Path(whet.checks.__file__).parent
every_check = pytest.mark.parametrize("name", runner.ids())


def test_every_file_is_a_check_or_helps_checks() -> None:
    others = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "needs", "runner"}
    assert {name.partition("_")[0] for name in others} == set(runner.ids())
    assert len(others) == len(runner.ids())


def test_every_check_has_rows() -> None:
    assert set(ROWS) == set(runner.ids())


@every_check
def test_a_docstring_says_what_is_wrong_and_why(name: str) -> None:
    first, blank, *rest = runner.docstring(name).splitlines()
    assert re.fullmatch(r"[A-Z].*\.", first)
    assert len(first) <= 100
    assert blank == ""
    assert re.search(r"(19|20)\d\d|arXiv", " ".join(rest)), "no source"


@every_check
def test_a_check_says_what_it_needs_by_annotation(name: str) -> None:
    needed = runner.needs(runner.load(name))
    assert needed
    assert all(isinstance(kind, type) for kind in needed.values())


@every_check
def test_its_row_triggers_a_check_and_the_other_does_not(name: str) -> None:
    triggers, not_triggers = ROWS[name]
    found = [finding for finding in runner.findings(*triggers) if finding.id == name]
    assert len(found) == 1
    for text in (found[0].what, found[0].evidence, found[0].fix):
        assert text
        assert not text.endswith(".")
    assert [finding for finding in runner.findings(*not_triggers) if finding.id == name] == []


def test_what_a_check_lacks_leaves_it_out() -> None:
    assert runner.findings() == []
    assert runner.findings("a text") == []


def test_an_unknown_check_suggests_one() -> None:
    with pytest.raises(RecipeError, match=r"'R01' is no check; did you mean 'R001'\?"):
        runner.load("R01")


def test_the_gravest_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(recipe: ResolvedRecipe) -> Iterator[Finding]:
        yield Finding("X001", "note", "a", "b", "c")
        yield Finding("X001", "error", "d", "e", "f")

    monkeypatch.setattr(runner, "load", lambda _: check)
    assert [finding.severity for finding in runner.findings(recipe("full", 1.0))] == ["error", "note"]

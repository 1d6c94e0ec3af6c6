"""The report on one screen of a terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from tests.report.folders import classified, compared
from whet.report.screen import show
from whet.report.words import Words
from whet.verbs.report import content


def printed(*sources: Path, encoding: str = "utf-8") -> str:
    file = StringIO()
    console = Console(file=file, width=90, force_terminal=False, legacy_windows=encoding != "utf-8")
    show(console, content(sources, Words()))
    return file.getvalue()


def test_a_run_on_a_screen(tmp_path: Path) -> None:
    told = printed(classified(tmp_path / "run", text="[red]film[/red] {number}\x1b[31m"))
    lines = told.splitlines()
    assert lines[0] == "Better than every baseline, by more than noise"
    for word in (
        "TF-IDF + logistic regression",
        "Class by class",
        "so so",
        "The most surprising mistakes",
        "whet train",
    ):
        assert word in told
    assert "[red]film[/red]" in told
    assert "\x1b" not in told
    assert max(len(line) for line in lines if "whet train" not in line) <= 90


def test_a_comparison_on_a_screen(tmp_path: Path) -> None:
    told = printed(compared(tmp_path / "compared", count=4, seeds=1))
    for word in ("No winner", "method-03", "always the most", "the loss is no longer finite"):
        assert word in told

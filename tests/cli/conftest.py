"""The command line, called in this process, so that a test costs no start of Python."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from whet.cli.app import main


@dataclass(frozen=True)
class Ended:
    """What a command left behind in the terminal."""

    code: int
    out: str
    err: str


Whet: TypeAlias = Callable[..., Ended]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_told(ended: Ended, *words: str) -> None:
    """The error names all of this, and it is a message, not an accident."""
    said = " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert [word for word in words if word not in said] == [], said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the command runs."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def whet(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Whet:
    """``whet(*arguments)`` runs the command line and returns how it ended."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["whet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            main()
        captured = capsys.readouterr()
        code = exited.value.code
        return Ended(code if isinstance(code, int) else int(bool(code)), captured.out, captured.err)

    return run

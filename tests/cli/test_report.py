"""whet report: what it prints and writes, in which time, and without what."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Whet
from tests.cli.test_help import RUN, python
from tests.report.folders import classified


def test_a_page_is_written_and_the_verdict_told(whet: Whet, tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    ended = whet("report", str(run))
    assert ended.code == 0
    assert "Better than every baseline" in ended.out
    assert f"written to {run / 'report.html'}" in ended.out.replace("\n", "")
    assert (run / "report.html").is_file()
    assert whet("report", str(run), "--quiet").out == ""
    told = json.loads(whet("report", str(run), "--json", "--lang", "ko", "--out", str(tmp_path / "ko.html")).out)
    assert told["report"] == str(tmp_path / "ko.html")
    assert "기준 모델" in told["verdict"]


def test_in_the_terminal_nothing_is_written(whet: Whet, tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    ended = whet("report", str(run), "--terminal")
    assert ended.code == 0
    assert "Class by class" in ended.out
    assert not (run / "report.html").exists()


def test_the_terminal_takes_no_options_of_a_page(whet: Whet, tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    ended = whet("report", str(run), "--terminal", "--lang", "ko", "--json")
    assert ended.code == 2
    assert "leave out --lang, --json" in ended.err


def test_what_is_no_run_is_refused(whet: Whet, tmp_path: Path) -> None:
    for arguments in ([str(tmp_path)], [str(tmp_path / "absent")], [str(tmp_path), "--terminal"]):
        ended = whet("report", *arguments)
        assert ended.code == 2
        assert "Traceback" not in ended.err


def test_no_model_and_no_torch_are_loaded(tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    ended = python("-c", RUN, "report", str(run))
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["code"] == 0, ended
    assert {"torch", "transformers", "peft", "sklearn", "accelerate", "pandas"} & set(told["modules"]) == set()

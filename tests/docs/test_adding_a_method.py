"""A method that is added touches one source file and one row of the tests: the page that says so is followed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from filecmp import cmp
from pathlib import Path

import pytest

from tests.contracts.backbones import BACKBONES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "adding-a-method.md"
FILE, ROWS = Path("src/whet/methods/attention.py"), Path("tests/contracts/rows.py")
FAMILIES = ("bert", "vit", "resnet")
"""Families whose laws are run: with attention, for pictures, and one on which the method has no meaning."""

pytestmark = pytest.mark.slow


def blocks() -> list[str]:
    """The pieces of code of the page."""
    return re.findall(r"```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources and the tests with the method of the page."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    source, row, _ = blocks()
    (copy / FILE).write_text(source, encoding="utf-8")
    rows = (copy / ROWS).read_text(encoding="utf-8")
    begin = "METHODS: dict[str, Row] = {\n"
    assert begin in rows
    (copy / ROWS).write_text(rows.replace(begin, begin + row), encoding="utf-8")
    return copy


def run(checkout: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def differing(one: Path, other: Path) -> Iterator[tuple[Path, list[str]]]:
    """Files that differ between two folders, with the lines that only the second has."""
    for folder in ("src", "tests"):
        for path in (other / folder).rglob("*.py"):
            before = one / path.relative_to(other)
            if not before.is_file():
                yield path.relative_to(other), path.read_text(encoding="utf-8").splitlines()
            elif not cmp(before, path, shallow=False):
                known = before.read_text(encoding="utf-8").splitlines()
                now = path.read_text(encoding="utf-8").splitlines()
                assert len(now) == len(known) + 1
                yield path.relative_to(other), [line for line in now if line not in known]


def test_it_touches_one_source_file_and_one_row(checkout: Path) -> None:
    touched = dict(differing(ROOT, checkout))
    assert touched.keys() == {FILE, ROWS}
    assert len(touched[ROWS]) == 1
    assert len(touched[FILE]) < 60


def test_everything_knows_it(checkout: Path) -> None:
    listed = run(checkout, "-m", "whet", "methods")
    assert "attention" in listed
    assert "Attention only" in listed
    assert "Touvron" in run(checkout, "-m", "whet", "explain", "attention")
    for check in ("tests/test_catalog.py", "tests/test_recipe_file.py"):
        run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", check)


def test_every_law_runs_for_it_and_holds(checkout: Path) -> None:
    families = " or ".join(f"attention-{name}" for name in FAMILIES)
    chosen = f"({families} or attention-resnet or test_a_backbone_on_which and attention)"
    told = run(
        checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contracts/test_methods.py", "-k", chosen
    )
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None, told
    # Nine laws on two families, and the refusals of convolutions.
    assert int(passed[1]) >= 20
    assert {backbone.name for backbone in BACKBONES} >= set(FAMILIES)

"""Runs checks: finds their files, gives each what it asks for, and collects what they find. Knows no single check."""

import ast
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from whet.checks.needs import ResolvedRecipe
from whet.core import Finding
from whet.errors import RecipeError, did_you_mean

Check: TypeAlias = Callable[..., Iterator[Finding]]

_NAME = re.compile(r"([A-Z]\d{3})_[a-z0-9_]+")
_SEVERITIES = ("error", "warning", "note")


def suspicious(values: Mapping[str, Any]) -> list[Finding]:
    """What looks wrong in a resolved recipe alone."""
    return findings(ResolvedRecipe(values))


def findings(*given: object) -> list[Finding]:
    """What all checks find that need nothing but what is given; the gravest first."""
    by_type = {type(one): one for one in given}
    found = []
    for check in map(load, ids()):
        wanted = needs(check)
        if by_type.keys() >= set(wanted.values()):
            found += list(check(**{name: by_type[kind] for name, kind in wanted.items()}))
    return sorted(found, key=lambda finding: (_SEVERITIES.index(finding.severity), finding.id))


@cache
def ids() -> tuple[str, ...]:
    """The ids of all checks, in order."""
    return tuple(sorted(_files()))


def load(check_id: str) -> Check:
    """The function of a check; raises RecipeError for an unknown id."""
    check: Check = importlib.import_module(f"whet.checks.{_file(check_id).stem}").check
    return check


def needs(check: Check) -> dict[str, type]:
    """What a check asks for: type by name of the argument."""
    hints = typing.get_type_hints(check)
    return {name: hints[name] for name in inspect.signature(check).parameters}


def docstring(check_id: str) -> str:
    """What a check looks for and why, from the source alone."""
    tree = ast.parse(_file(check_id).read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""


def _file(check_id: str) -> Path:
    if check_id not in ids():
        raise RecipeError(f"'{check_id}' is no check{did_you_mean(check_id, ids())}")
    return _files()[check_id]


@cache
def _files() -> dict[str, Path]:
    named = ((_NAME.fullmatch(path.stem), path) for path in Path(__file__).parent.glob("*.py"))
    return {match[1]: path for match, path in named if match}

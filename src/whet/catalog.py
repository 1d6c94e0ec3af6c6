"""Variants by name: the name of a file in ``methods/`` or ``tasks/`` is the name in a recipe.

Listing and summarising read the files without running them. Outsiders add a variant with an entry point in the
group ``whet.methods`` or ``whet.tasks``. This module knows no variant.
"""

import ast
import dataclasses
import importlib
import inspect
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from whet.errors import RecipeError, did_you_mean

Kind: TypeAlias = Literal["method", "task"]

FOLDERS: dict[Kind, str] = {"method": "methods", "task": "tasks"}

OPTIONS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""How a variant's dataclass treats its fields: an unknown one is refused, the docstring below one is its help."""


@dataclass(frozen=True)
class Option:
    """One option of a variant, as help and reference show it."""

    name: str
    type: str
    default: object
    description: str


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """All variants of a kind: the house's own in alphabetical order, then those of outsiders."""
    own = sorted(path.stem for path in _folder(kind).glob("*.py") if path.stem != "__init__")
    return (*own, *sorted(set(_entry_points(kind)) - set(own)))


def load(kind: Kind, name: str) -> type[Any]:
    """The class of one variant; raises RecipeError for an unknown name.

    An error inside a variant's own file is not caught: its author must see it.
    """
    if name not in names(kind):
        raise RecipeError(f"{kind} '{name}' is not known{did_you_mean(name, names(kind))}")
    if (_folder(kind) / f"{name}.py").is_file():
        module = importlib.import_module(f"whet.{FOLDERS[kind]}.{name}")
        variant: type[Any] = vars(module)["".join(word.capitalize() for word in name.split("_"))]
        return variant
    loaded: type[Any] = _entry_points(kind)[name].load()
    return loaded


def build(kind: Kind, name: str, options: dict[str, object]) -> Any:
    """A variant with its options set; raises RecipeError with all problems of the options at once."""
    try:
        return TypeAdapter(load(kind, name)).validate_python(options)
    except ValidationError as error:
        problems = [explain(problem, f"{kind}.", _options_hint(kind, name, problem)) for problem in error.errors()]
        raise RecipeError(*problems) from None


def settings(variant: Any) -> dict[str, object]:
    """The options of a built variant with their present values."""
    return {field.name: vars(variant)[field.name] for field in dataclasses.fields(variant)}


def options(kind: Kind, name: str) -> list[Option]:
    """The options of a variant, in the order of its file."""
    variant = load(kind, name)
    described = variant.__pydantic_fields__
    return [
        Option(field.name, _type_name(field.type), _default(field), described[field.name].description or "")
        for field in dataclasses.fields(variant)
    ]


def schema(kind: Kind, name: str) -> dict[str, Any]:
    """JSON schema of a variant's options."""
    return TypeAdapter(load(kind, name)).json_schema()


def docstring(kind: Kind, name: str) -> str:
    """The docstring of a variant's class, from the source alone."""
    path = _folder(kind) / f"{name}.py"
    if not path.is_file():
        return inspect.getdoc(load(kind, name)) or ""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return (ast.get_docstring(classes[0]) or "") if classes else ""


def summary(kind: Kind, name: str) -> str:
    """The first line of a variant's docstring."""
    return docstring(kind, name).partition("\n")[0]


def explain(problem: ErrorDetails, prefix: str = "", hint: str = "") -> str:
    """One validation problem as a person reads it: where, what was given, what is wrong, the way out."""
    where = prefix + ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: unknown option{hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{where}: is missing{hint}"
    reason = problem["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    return f"{where}: {problem['input']!r} {reason}{hint}"


def _options_hint(kind: Kind, name: str, problem: ErrorDetails) -> str:
    if problem["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        return ""
    word = str(problem["loc"][-1])
    own = [option.name for option in options(kind, name)]
    others = [other for other in names(kind) if other != name and word in {o.name for o in options(kind, other)}]
    if others:
        return f" of '{name}'; it belongs to {', '.join(others)}"
    return f" of '{name}'{did_you_mean(word, own) or '; it has none'}"


def _folder(kind: Kind) -> Path:
    return Path(__file__).parent / FOLDERS[kind]


@cache
def _entry_points(kind: Kind) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=f"whet.{FOLDERS[kind]}")}


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _type_name(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.removeprefix("Annotated[").partition(", Field")[0]

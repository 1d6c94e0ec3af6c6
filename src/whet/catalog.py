"""Variants by name: the name of a file in ``methods/`` or ``tasks/`` is the name in a recipe.

The file ``last_blocks.py`` defines the class ``LastBlocks``. Listing and summarising read the files without running
them. Outsiders add a variant with an entry point in the group ``whet.methods`` or ``whet.tasks`` that names a class.
This module knows no variant.
"""

import ast
import dataclasses
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import groupby
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from whet.errors import RecipeError, did_you_mean

Kind: TypeAlias = Literal["method", "task"]

FOLDERS: dict[Kind, str] = {"method": "methods", "task": "tasks"}

OPTIONS = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, coerce_numbers_to_str=True)
"""How a variant's dataclass treats its fields: an unknown one is refused, the docstring below one is its help, numbers
are finite, and a class or a layer that is called 1 is called '1'."""

REQUIRED = "required"
"""Stands for the default of an option that has none."""

LONGEST_VALUE = 60
"""Characters of a refused value that a message repeats."""


@dataclass(frozen=True)
class Option:
    """One option of a variant, as help and reference show it."""

    name: str
    type: str
    default: object
    description: str

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED


@dataclass(frozen=True)
class Truth:
    """A truth value where none is wanted; pydantic would take true for 1."""

    word: str

    def __repr__(self) -> str:
        return self.word


def without_truths(value: object) -> object:
    """A plain value of a recipe with a ``Truth``, which only options of truth accept, in place of every truth value."""
    match value:
        case bool():
            return Truth(str(value).lower())
        case dict():
            return {key: without_truths(one) for key, one in value.items()}
        case list():
            return [without_truths(one) for one in value]
    return value


def _true_or_false(value: object) -> object:
    """A truth value as it was before ``without_truths``, for an option that is one."""
    return value.word == "true" if isinstance(value, Truth) else value


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """All variants of a kind: the house's own in alphabetical order, then those of outsiders."""
    own = sorted(path.stem for path in _folder(kind).glob("*.py") if path.stem != "__init__")
    return (*own, *sorted(set(_entry_points(kind)) - set(own)))


def load(kind: Kind, name: str) -> type[Any]:
    """The class of one variant; raises RecipeError for an unknown name.

    An error inside a variant's own file is not caught: its author must see it.
    """
    module_name, class_name = _home(kind, name)
    found = vars(importlib.import_module(module_name))
    if class_name not in found:
        raise ImportError(f"{kind} '{name}' needs a class '{class_name}' in {module_name}")
    variant: type[Any] = found[class_name]
    return variant


def build(kind: Kind, name: str, given: Mapping[str, object]) -> Any:
    """A variant with its options set; raises RecipeError with all problems of the options at once."""
    true_or_false = {option.name for option in options(kind, name) if "bool" in option.type}
    values = {key: _true_or_false(v) if key in true_or_false else without_truths(v) for key, v in given.items()}
    try:
        return TypeAdapter(load(kind, name)).validate_python(values)
    except ValidationError as error:
        problems = _without_branches(kind, name, error)
        raise RecipeError(*(explain(p, f"{kind}.", _options_hint(kind, name, p)) for p in problems)) from None


def settings(variant: Any) -> dict[str, object]:
    """The options of a built variant with their present values."""
    return {field.name: vars(variant)[field.name] for field in dataclasses.fields(variant)}


def options(kind: Kind, name: str) -> list[Option]:
    """The options of a variant, in the order of its file."""
    variant = load(kind, name)
    known = variant.__pydantic_fields__
    return [
        Option(field.name, spelled(known[field.name].annotation), _default(field), known[field.name].description or "")
        for field in dataclasses.fields(variant)
    ]


def strangers(kind: Kind, wanted: Iterable[str]) -> list[str]:
    """What to tell of options that no variant of a kind has."""
    known = sorted({option.name for name in names(kind) for option in options(kind, name)})
    unknown = sorted({*wanted} - {*known})
    return [f"{kind}.{option}: unknown option of every {kind}{did_you_mean(option, known)}" for option in unknown]


def schema(kind: Kind, name: str) -> dict[str, Any]:
    """JSON schema of a variant's options."""
    return TypeAdapter(load(kind, name)).json_schema()


def schemas(kind: Kind) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """JSON schemas of all variants of a kind, with their names, and the definitions that they refer to."""
    variants: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for name in names(kind):
        found = schema(kind, name)
        definitions |= found.pop("$defs", {})
        found["properties"] = {"name": {"const": name}, **found.get("properties", {})}
        found["required"] = ["name", *found.get("required", [])]
        found["description"] = summary(kind, name)
        variants.append(found)
    return variants, definitions


def docstring(kind: Kind, name: str) -> str:
    """The docstring of a variant's class, from the source alone where that defines it."""
    module_name, class_name = _home(kind, name)
    spec = importlib.util.find_spec(module_name)
    if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"), spec.origin)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                return ast.get_docstring(node) or ""
    return inspect.getdoc(load(kind, name)) or ""


def summary(kind: Kind, name: str) -> str:
    """The first line of a variant's docstring."""
    return docstring(kind, name).partition("\n")[0]


def spelled(annotation: object) -> str:
    """The type of an option as a reader knows it: ``int | None``, ``'adamw' | 'sgd'``, ``list[str]``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if members := _members(annotation):
        return " | ".join(map(spelled, members))
    if origin is Annotated:
        return spelled(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(spelled, arguments))}]"
    return annotation.__name__.replace("NoneType", "None") if isinstance(annotation, type) else str(annotation)


def explain(problem: ErrorDetails, prefix: str = "", hint: str = "") -> str:
    """One validation problem as a person reads it: where, what was given, what is wrong, the way out."""
    where = prefix + ".".join(str(part) for part in problem["loc"])
    value = problem["input"]
    match problem["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument" | "invalid_key":
            return f"{where}: unknown option{hint}"
        case "missing" | "missing_argument":
            return f"{where}: is missing{hint}"
        case "model_type" | "dataclass_type" | "dict_type" | "model_attributes_type":
            return f"{where}: {_shown(value)} should be a mapping of options{hint}"
        case "too_short":
            return f"{where}: {_shown(value)} should have at least {problem['ctx']['min_length']} items{hint}"
        case "string_type" if isinstance(value, Truth | int | float):
            return f"{where}: {_shown(value)} should be a text; put it in quotes{hint}"
        case "value_error" if isinstance(value, Truth):
            hint += "; put it in quotes"
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{where}: {_shown(value)} {reason}{hint}"


def _without_branches(kind: Kind, name: str, error: ValidationError) -> list[ErrorDetails]:
    """The problems of a validation, in which an option of several types has only those of the type that fits best."""
    annotations = {option: field.annotation for option, field in load(kind, name).__pydantic_fields__.items()}
    kept: list[ErrorDetails] = []
    for option, group in groupby(error.errors(), key=lambda problem: problem["loc"][0]):
        found = list(group)
        annotation = annotations.get(str(option))
        if len([one for one in _members(annotation) if one is not NoneType]) > 1:
            deepest = max(len(problem["loc"]) for problem in found)
            if deepest == 2:
                found = [{**found[0], "loc": (option,), "msg": f"Input should be {spelled(annotation)}"}]
            # The second part of a place is pydantic's word for the type that was tried.
            found = [{**p, "loc": (option, *p["loc"][2:])} for p in found if len(p["loc"]) in (1, deepest)]
        kept += found
    return kept


def _options_hint(kind: Kind, name: str, problem: ErrorDetails) -> str:
    if problem["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        return ""
    word = str(problem["loc"][-1])
    own = [option.name for option in options(kind, name)]
    others = [other for other in names(kind) if other != name and word in {o.name for o in options(kind, other)}]
    if others:
        return f" of '{name}'; it belongs to {', '.join(others)}"
    return f" of '{name}'{did_you_mean(word, own) or '; it has none'}"


def _shown(value: object) -> str:
    """A refused value as a recipe spells it, cut where it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _members(annotation: object) -> tuple[object, ...]:
    """The types that an annotation such as ``int | None`` allows; none for a single type."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()


def _home(kind: Kind, name: str) -> tuple[str, str]:
    """Module and class of a variant; raises RecipeError for an unknown name."""
    if name not in names(kind):
        raise RecipeError(f"{kind} '{name}' is not known{did_you_mean(name, names(kind))}")
    if (_folder(kind) / f"{name}.py").is_file():
        return f"whet.{FOLDERS[kind]}.{name}", "".join(word.capitalize() for word in name.split("_"))
    point = _entry_points(kind)[name]
    return point.module, point.attr


def _folder(kind: Kind) -> Path:
    return Path(__file__).parent / FOLDERS[kind]


@cache
def _entry_points(kind: Kind) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=f"whet.{FOLDERS[kind]}")}


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default

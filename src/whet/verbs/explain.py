"""What a method, a task, a check or the recipe is, and which options it has."""

from dataclasses import dataclass
from typing import Any

from whet import catalog, recipe
from whet.catalog import Kind, Option
from whet.checks import runner
from whet.errors import RecipeError, did_you_mean
from whet.sections import SCHEDULES, Augment, Data, Section, Surgery, Training

RECIPE = "recipe"
NAME_AND_OPTIONS = "name | {name, options} | None"
"""Type of what can stand alone, as method: lora, or with options, as method: {name: lora, rank: 8}."""


@dataclass(frozen=True)
class Explanation:
    """A name, what kind of thing it is, its documentation, its options, and the JSON schema of those."""

    name: str
    kind: str
    text: str
    options: list[Option]
    schema: dict[str, Any]


def explain(name: str) -> Explanation:
    """Explain a method, a task, a check by its id, or ``recipe``; raises RecipeError for an unknown name."""
    if name == RECIPE:
        return Explanation(name, "recipe", _RECIPE_TEXT, _recipe_options(), recipe.schema())
    if name in runner.ids():
        return Explanation(name, "check", runner.docstring(name), [], {})
    for kind in catalog.FOLDERS:
        if name in catalog.names(kind):
            return _variant(kind, name)
    known = [*catalog.names("method"), *catalog.names("task"), *runner.ids(), RECIPE]
    raise RecipeError(f"'{name}' is no method, no task and no check{did_you_mean(name, known)}")


_RECIPE_TEXT = """A recipe: everything about a run, in a YAML file.

Run it with 'whet train recipe.yaml'; any value can be set on the command line too, as --set training.epochs=5.
What a recipe leaves open is decided before the run and told with its reason; the run folder keeps the result, and that
file runs again as it is. The options of a method or a task stand beside its name: method: {name: lora, rank: 8}.
With --json this page is the JSON schema that editors use."""


def _variant(kind: Kind, name: str) -> Explanation:
    text = catalog.docstring(kind, name)
    return Explanation(name, kind, text, catalog.options(kind, name), catalog.schema(kind, name))


def _recipe_options() -> list[Option]:
    sections: dict[str, type[Section]] = {"data": Data, "surgery": Surgery, "augment": Augment, "training": Training}
    options = [option for name, section in sections.items() for option in _section(name, section)]
    for name, section in SCHEDULES.items():
        options += _section(f"training.schedule ({name})", section)
    return [*_section("", recipe.Recipe), *options]


def _section(prefix: str, section: type[Section]) -> list[Option]:
    options = []
    for name, field in section.model_fields.items():
        if name in ("name", "data", "surgery", "augment", "training"):
            continue
        kind = NAME_AND_OPTIONS if name in ("task", "method", "schedule") else catalog.spelled(field.annotation)
        default = catalog.REQUIRED if field.is_required() else field.default
        options.append(Option(f"{prefix}.{name}".lstrip("."), kind, default, field.description or ""))
    return options

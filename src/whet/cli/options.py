"""Options that verbs share, and the recipe that they make."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import typer

_SOURCE = "A data file, a folder, hub:owner/name, or a recipe (.yaml)."

Source: TypeAlias = Annotated[str, typer.Argument(help=_SOURCE)]
MaybeSource: TypeAlias = Annotated[str | None, typer.Argument(help=_SOURCE)]
Model: TypeAlias = Annotated[
    str | None, typer.Option("--model", help="A folder or a name on a model hub; the embedded MiniLM if not named.")
]
Task: TypeAlias = Annotated[str | None, typer.Option("--task", help="Kind of problem; inferred if not named.")]
Method: TypeAlias = Annotated[str | None, typer.Option("--method", help="Way to fine-tune; see 'whet methods'.")]
Assignments: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any value of the recipe, as training.epochs=5.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def plain_recipe(
    source: str, assignments: list[str] | None, model: str | None, task: str | None, method: str | None = None
) -> dict[str, Any]:
    """The plain values of a recipe with what the command line says; raises RecipeError.

    A model, task or method that the recipe names already keeps the options that it has there.
    """
    from whet import recipe as recipes

    raw = recipes.plain(source)
    for key, value in (("model", model), ("task", task), ("method", method)):
        if value is not None and value != recipes.name_of(raw.get(key)):
            raw[key] = value
    recipes.assign(raw, assignments or [])
    return raw


def refuse_idle(why: str, options: Mapping[str, object]) -> None:
    """Raise RecipeError where one of these options was given, as it would do nothing; None and false are not given."""
    from whet.errors import RecipeError

    if idle := [name for name, value in options.items() if value]:
        raise RecipeError(f"{why}; leave {', '.join(idle)} out")

"""The method of a recipe: the one that it names, or the advised one."""

from __future__ import annotations

from dataclasses import replace

from whet import catalog
from whet.core import Choice, Defaults
from whet.planning.advise import Facts, Pick, advise
from whet.protocols import Method, Quantising
from whet.recipe import Recipe
from whet.sections import Surgery


def choose_method(recipe: Recipe, asked: Method | None, facts: Facts) -> tuple[str, Method, Defaults, list[Choice]]:
    """The method by name, what it trains with by default, and why it is this one: ``asked``, or else what is advised.

    What asks for weights that change gets ``full``. The model was read already, so it is not quantised.
    """
    if recipe.method is not None and asked is not None:
        return recipe.method.name, asked, asked.defaults, []
    if reason := _needs_weights_of_its_own(recipe):
        method: Method = catalog.build("method", "full", {})
        return "full", method, method.defaults, [Choice("method.name", "full", "inferred", reason)]
    advice = advise(facts)
    pick, why = advice.first, f"{advice.why} ({advice.source})"
    method = _built(pick)
    if isinstance(method, Quantising):
        pick, why = advice.second, f"{advice.why}: name method 'qlora' for that"
        method = _built(pick)
    decided = [Choice("method.name", pick.method, "inferred", why)]
    decided += [Choice(f"method.{option}", value, "inferred", why) for option, value in pick.options.items()]
    length_is_given = recipe.training.epochs is not None or recipe.training.steps is not None
    if pick.epochs is None or length_is_given:
        return pick.method, method, method.defaults, decided
    decided.append(Choice("training.epochs", pick.epochs, "inferred", "; ".join(advice.notes)))
    return pick.method, method, replace(method.defaults, epochs=pick.epochs), decided


def _needs_weights_of_its_own(recipe: Recipe) -> str:
    """Why no adapter will do; empty where one will."""
    if recipe.surgery != Surgery():
        return "a model that was operated on is saved as a whole"
    pulled = [name for name in ("l2_sp", "mixes") if vars(recipe.training)[name]]
    return f"training.{pulled[0]} is about weights that change" if pulled else ""


def _built(pick: Pick) -> Method:
    method: Method = catalog.build("method", pick.method, pick.options)
    return method

"""whet fine-tunes pre-trained models on little hardware: every classic method by one word, and an honest verdict.

>>> import whet
>>> run = whet.train("reviews.csv", method="lora")  # doctest: +SKIP
>>> run.predict(["Great, would buy again."])        # doctest: +SKIP

Importing whet runs nothing and loads no torch; each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

from whet.model.registration import announce

if TYPE_CHECKING:
    from whet.recipe import Recipe
    from whet.verbs.adapters import Adapters
    from whet.verbs.advise import advise
    from whet.verbs.combine import combine
    from whet.verbs.compare import Compared, compare
    from whet.verbs.explain import explain
    from whet.verbs.methods import methods
    from whet.verbs.plan import plan
    from whet.verbs.range_test import range_test
    from whet.verbs.report import write_report
    from whet.verbs.resume import resume
    from whet.verbs.run import Run
    from whet.verbs.train import train
    from whet.verbs.tune import tune

__all__ = [
    "Adapters",
    "Compared",
    "Recipe",
    "Run",
    "advise",
    "combine",
    "compare",
    "explain",
    "methods",
    "plan",
    "range_test",
    "resume",
    "train",
    "tune",
    "write_report",
]
__version__ = "0.1.0"

_HOMES = {
    "Adapters": "whet.verbs.adapters",
    "Compared": "whet.verbs.compare",
    "advise": "whet.verbs.advise",
    "combine": "whet.verbs.combine",
    "compare": "whet.verbs.compare",
    "Recipe": "whet.recipe",
    "Run": "whet.verbs.run",
    "explain": "whet.verbs.explain",
    "methods": "whet.verbs.methods",
    "range_test": "whet.verbs.range_test",
    "plan": "whet.verbs.plan",
    "resume": "whet.verbs.resume",
    "train": "whet.verbs.train",
    "tune": "whet.verbs.tune",
    "write_report": "whet.verbs.report",
}

# Adapters of whet's own kinds open with peft alone.
announce()


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'whet' has no attribute '{name}'")
    return vars(importlib.import_module(_HOMES[name]))[name]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

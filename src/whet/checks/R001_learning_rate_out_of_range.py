"""The learning rate is far from what the method needs.

The rate decides more than any other setting, and each method has its own: an adapter that begins as zero wants some ten
times the rate of full fine-tuning (Schulman et al. 2025, "LoRA Without Regret"), a head more still. Far above it a
pre-trained network forgets what it knows before it learns the task, and ends worse than one that was never trained:
Adam at 0.01, the habit from small networks, is 200 times the rate of full fine-tuning. Far below it nothing is learned
in the time there is.

Too high is 30 times the method's own default and more, or 100 times for a network that begins with random weights and
has nothing to forget; too low is a 30th of it, and for adapters the default of full fine-tuning, too. A factor of ten
either way is what a search tries and tells nothing. SGD is taken to want 100 times the rate of AdamW.
"""

from collections.abc import Iterator

from whet.checks.needs import ResolvedRecipe, usual
from whet.core import Finding

ID = "R001"
TOO_HIGH = 30.0
TOO_HIGH_ANEW = 100.0
"""For what begins with random weights."""
TOO_LOW = 30.0
SGD = 100.0
ANEW = "scratch"
FULL = "full"


def check(recipe: ResolvedRecipe) -> Iterator[Finding]:
    """Compare the learning rate with the one that the method was given by measuring."""
    training = recipe.values["training"]
    rate, optimizer = float(training["learning_rate"]), training.get("optimizer", "adamw")
    times = SGD if optimizer == "sgd" else 1.0
    normal = recipe.usual.learning_rate * times
    limit = TOO_HIGH_ANEW if recipe.method == ANEW else TOO_HIGH
    with_sgd = ", which sgd wants 100 times higher" if optimizer == "sgd" else ""
    evidence = f"method '{recipe.method}' does best around {normal:g} with {optimizer}{with_sgd}"
    fix = f"--set training.learning_rate={normal:g}, or measure it: whet tune ... --lr-find"
    if rate >= limit * normal:
        harm = (
            "random weights do not settle"
            if recipe.method == ANEW
            else "what the network learned before is lost in the first steps"
        )
        yield Finding(
            ID,
            "warning",
            f"training.learning_rate {rate:g} is {rate / normal:,.0f} times what method '{recipe.method}' needs",
            f"{evidence}; from {limit:g} times that on, {harm}",
            fix,
        )
    elif rate * TOO_LOW <= normal:
        yield Finding(
            ID,
            "warning",
            f"training.learning_rate {rate:g} is {normal / rate:,.0f} times less than method '{recipe.method}' needs",
            f"{evidence}; at a {TOO_LOW:g}th of that hardly anything is learned",
            fix,
        )
    elif recipe.keeps_base and rate <= usual(FULL).learning_rate * times:
        yield Finding(
            ID,
            "warning",
            f"training.learning_rate {rate:g} is one for full fine-tuning; method '{recipe.method}' trains an adapter",
            f"{evidence}; an adapter that begins as zero wants some ten times the rate of full fine-tuning",
            fix,
        )

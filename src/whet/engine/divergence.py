"""What to say of a run whose numbers are no longer finite."""

from whet.errors import DivergedError


def diverged(step: int, moved: bool, what: str, rate: float, learning_rate: float) -> DivergedError:
    """The error of a step at ``rate``; ``moved`` is whether a weight has changed before it."""
    if moved:
        way_out = f"Begin anew with training.learning_rate={learning_rate / 10:.2g}, or with a longer training.warmup"
    else:
        way_out = (
            "No weight has changed yet, so it is not the learning rate: look for numbers that are not finite, or "
            "far too large, in the model's weights, in the rows and in the labels"
        )
    return DivergedError(f"step {step}: the {what} at learning rate {rate:.3g}. {way_out}")

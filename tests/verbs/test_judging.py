from dataclasses import replace

import numpy as np
import pytest

from whet.evaluate.compare import Sample
from whet.evaluate.halving import in_doubt
from whet.verbs.comparing.judging import gaps

ROWS = 200


def sample(right: int, loss: float, first: int = 0) -> Sample:
    """So many rows are right, from a first one on."""
    hits = np.roll(np.arange(ROWS) < right, first)
    losses = np.where(hits, loss / 2, 2 * loss) + np.linspace(0, 0.1, ROWS)
    return replace(Sample.of_rows(hits.astype(float), hits), losses=losses)


SAMPLES = {
    "calm": [sample(150, 0.2)],
    "loud": [sample(170, 2.0)],
    "near": [sample(169, 2.1, 10)],
    "far": [sample(90, 3.0)],
}


def test_whoever_is_near_in_the_loss_or_in_the_metric_may_be_ahead() -> None:
    found = gaps(SAMPLES, "accuracy", more_is_better=True)
    assert {name for name, gap in found.items() if in_doubt(gap)} == {"calm", "loud", "near"}
    assert found["calm"].behind == 0
    assert found["near"].measure == "loss"
    assert found["near"].score == pytest.approx(1 / ROWS)


def test_without_losses_the_metric_leads() -> None:
    told = {name: [replace(one, losses=None) for one in own] for name, own in SAMPLES.items()}
    found = gaps(told, "log_loss", more_is_better=False)
    # Less is better: the one that is right least often leads.
    assert found["far"].behind == 0
    assert found["loud"].measure == "log_loss"
    assert found["loud"].behind == found["loud"].score == pytest.approx(80 / ROWS)

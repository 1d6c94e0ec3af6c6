"""R001: from where on a learning rate is out of range, for every method and both optimisers."""

from typing import Any

import pytest

from whet import catalog
from whet.checks.runner import suspicious
from whet.core import Finding


def found(method: str, rate: float, **training: Any) -> list[Finding]:
    return suspicious({"method": {"name": method}, "training": {"learning_rate": rate, **training}})


@pytest.mark.parametrize("method", catalog.names("method"))
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_usual_rate_and_ten_times_more_or_less_are_fine(method: str, optimizer: str) -> None:
    usual = catalog.load("method", method).defaults.learning_rate * (100 if optimizer == "sgd" else 1)
    # An adapter at a tenth may be at the rate of full fine-tuning, which is told.
    lower = 0.2 if catalog.load("method", method).keeps_base else 0.1
    for factor in (lower, 0.5, 1, 2, 10):
        assert found(method, usual * factor, optimizer=optimizer) == []


@pytest.mark.parametrize("method", [name for name in catalog.names("method") if name != "scratch"])
def test_thirty_times_more_or_less_is_told(method: str) -> None:
    usual = catalog.load("method", method).defaults.learning_rate
    for rate in (30.1 * usual, usual / 30.1):
        (finding,) = found(method, rate)
        assert finding.severity == "warning"
        assert f"{rate:g}" in finding.what
        assert method in finding.what
        assert f"--set training.learning_rate={usual:g}" in finding.fix
    assert found(method, 29.9 * usual) == []


def test_adam_at_a_hundredth_forgets_what_was_learned_and_harms_no_random_weights() -> None:
    (finding,) = found("full", 0.01)
    assert finding.what == "training.learning_rate 0.01 is 200 times what method 'full' needs"
    assert "learned before is lost" in finding.evidence
    assert found("scratch", 0.01) == []
    assert len(found("scratch", 0.03)) == 1


def test_an_adapter_at_the_rate_of_full_fine_tuning_is_told() -> None:
    (finding,) = found("lora", 5e-5)
    assert "is one for full fine-tuning" in finding.what
    assert found("lora", 1e-4) == []


def test_sgd_at_the_rate_of_adamw_is_told() -> None:
    (finding,) = found("full", 5e-5, optimizer="sgd")
    assert "100 times less" in finding.what
    assert found("full", 5e-3, optimizer="sgd") == []

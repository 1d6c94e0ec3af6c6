"""R-Drop: what is added to the loss, and that a run with it obeys the laws of every run."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import whet
from tests.contracts.arena import SETTINGS, Fight, TensorTask, run, short, store_as_read, weights
from tests.contracts.backbones import BACKBONES
from tests.verbs.test_train import stopped
from whet.core import Batch
from whet.engine.job import Job, Settings
from whet.engine.loop import fit
from whet.engine.objective import objective
from whet.engine.state import newest
from whet.errors import RecipeError
from whet.events import Step, Stored
from whet.tasks.text_classification import TextClassification
from whet.tasks.token_classification import TokenClassification

BERT = next(backbone for backbone in BACKBONES if backbone.name == "bert")
NAMES = ["a", "b", "c"]


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """(KL(p, q) + KL(q, p)) / 2 of each row, by torch's own function."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    both = (functional.kl_div(a, b, reduction="none", log_target=True) for a, b in ((p, q), (q, p)))
    return sum(both).sum(-1) / 2  # type: ignore[union-attr]


@dataclass(frozen=True)
class AgreeingTask(TensorTask):
    """Classes whose probabilities can be compared."""

    distributes: bool = True

    def apart(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return divergence(one["logits"], other["logits"]).sum()


def job(
    settings: Settings, checkpoints: Path | None = None, *, method: str = "full", dropout: float | None = None
) -> Job:
    made = Fight(BERT, method, {}).job(settings, checkpoints, dropout)
    assert isinstance(made.task, TensorTask)
    return replace(made, task=AgreeingTask(made.task.inputs, made.task.targets))


def outputs(*shape: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    one, other = (3 * torch.randn(*shape, generator=generator) for _ in range(2))
    return {"logits": one}, {"logits": other}


# --- how far two answers are apart --------------------------------------------------------------------------------


def batch_of(targets: Tensor) -> Batch:
    return Batch({}, targets, weight=1.0, rows=len(targets), tokens=len(targets))


def test_classes_are_compared_row_by_row_and_weighted_as_in_the_loss() -> None:
    one, other = outputs(4, 3)
    rows, targets = divergence(one["logits"], other["logits"]), torch.tensor([0, 2, 1, 2])
    plain = TextClassification(problem="single_label", labels=NAMES)
    assert plain.apart(one, other, batch_of(targets)).item() == pytest.approx(rows.sum().item(), rel=1e-5)
    weighted = TextClassification(problem="single_label", labels=NAMES, class_weights={"a": 1.0, "b": 5.0, "c": 25.0})
    expected = (rows * torch.tensor([1.0, 25.0, 5.0, 25.0])).sum()
    assert weighted.apart(one, other, batch_of(targets)).item() == pytest.approx(expected.item(), rel=1e-5)
    shares = torch.tensor([[0.5, 0.5, 0.0]] * 4)
    expected = (rows * 3.0).sum()
    assert weighted.apart(one, other, batch_of(shares)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_of_tags_only_learned_tokens_are_compared() -> None:
    one, other = outputs(2, 3, 3)
    targets = torch.tensor([[0, -100, 2], [-100, 1, -100]])
    tokens = divergence(one["logits"], other["logits"])
    task = TokenClassification(form="words", labels=NAMES, class_weights={"a": 2.0, "b": 3.0, "c": 4.0})
    expected = 2 * tokens[0, 0] + 4 * tokens[0, 2] + 3 * tokens[1, 1]
    assert task.apart(one, other, batch_of(targets)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_answers_are_not_apart_and_very_sure_ones_are_finite() -> None:
    task = TextClassification(problem="single_label", labels=NAMES)
    one, _ = outputs(4, 3)
    targets = torch.zeros(4, dtype=torch.long)
    assert task.apart(one, one, batch_of(targets)).item() == 0.0
    sure = ({"logits": torch.tensor([[200.0, 0.0, 0.0]])}, {"logits": torch.tensor([[0.0, 200.0, 0.0]])})
    assert task.apart(*sure, batch_of(targets[:1])).item() == pytest.approx(200.0)


# --- the loss -----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_of_two_passes_and_what_they_are_apart() -> None:
    made = job(short(r_drop=0.7))
    batch = made.task.collate(made.train, np.arange(4))
    one, other = outputs(4, 3)
    passes = iter((one, other))
    found = objective(made, batch, lambda: next(passes))
    assert batch.targets is not None
    losses = [functional.cross_entropy(each["logits"], batch.targets, reduction="sum") for each in (one, other)]
    expected = sum(losses) / 2 + 0.7 * divergence(one["logits"], other["logits"]).sum()
    assert found.item() == pytest.approx(float(expected), rel=1e-6)


def test_without_dropout_the_two_passes_are_one() -> None:
    plain = [event for event in run(job(short(), dropout=0.0)) if isinstance(event, Step)]
    twice = [event for event in run(job(short(r_drop=5.0), dropout=0.0)) if isinstance(event, Step)]
    assert [event.loss for event in twice] == pytest.approx([event.loss for event in plain], rel=1e-4)
    assert [event.gradient_norm for event in twice] == pytest.approx([e.gradient_norm for e in plain], rel=1e-3)


def test_with_dropout_the_weight_matters() -> None:
    losses = {
        weight: [event.loss for event in run(job(short(r_drop=weight))) if isinstance(event, Step)]
        for weight in (None, 0.1, 2.0)
    }
    assert len({tuple(values) for values in losses.values()}) == 3
    # The first step of both draws the same dropout, and answers that are apart cost more by a larger weight.
    assert losses[2.0][0] > losses[0.1][0]


def test_it_pulls_two_passes_together() -> None:
    """After some steps on the distance alone, in effect, the answers under dropout are nearer to each other."""

    def distance(made: Job) -> float:
        made.model.train()
        torch.manual_seed(0)
        batch = made.task.collate(made.train, np.arange(12))
        with torch.no_grad():
            one, other = (made.model(**batch.inputs) for _ in range(2))
        assert isinstance(made.task, AgreeingTask)
        return float(made.task.apart(one, other, batch))

    plain, pulled = (job(short(epochs=6, evaluate_every=100, r_drop=weight), dropout=0.3) for weight in (None, 20.0))
    for made in (plain, pulled):
        run(made)
    assert distance(pulled) < distance(plain)


# --- laws ---------------------------------------------------------------------------------------------------------


def test_resumed_is_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    settings = short(r_drop=1.0, evaluate_every=3, checkpoint_every=2)
    whole = job(settings)
    expected = run(whole)
    with closing(fit(job(settings, tmp_path))) as events:
        for event in events:
            if isinstance(event, Step) and event.step == 5:
                break
    checkpoint, _ = newest(tmp_path)
    resumed = job(settings, tmp_path)
    rest = run(resumed, checkpoint)
    assert [e.loss for e in rest if isinstance(e, Step)] == [e.loss for e in expected if isinstance(e, Step)][4:]
    final = weights(resumed.model)
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(whole.model).items())


def test_one_forward_pass_or_many_take_the_same_step() -> None:
    settings = short(epochs=1, batch_size=5, evaluate_every=100, r_drop=1.0)
    whole = [e for e in run(job(settings, dropout=0.0)) if isinstance(e, Step)]
    split = [e for e in run(job(short(settings, micro_batch_size=1), dropout=0.0)) if isinstance(e, Step)]
    assert [event.loss for event in split] == pytest.approx([event.loss for event in whole], abs=1e-4)


def test_stored_outputs_of_frozen_layers_serve_both_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SETTINGS, epochs=2, r_drop=1.0)
    whole, stored = (job(short(settings, cache=kind), method="last_blocks") for kind in ("off", "memory"))
    store_as_read(monkeypatch, stored)
    expected, events = run(whole), run(stored)
    assert any(isinstance(event, Stored) for event in events)
    losses = [[event.loss for event in every if isinstance(event, Step)] for every in (expected, events)]
    assert losses[0] == losses[1]


# --- runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    return {
        "data": {"train": str(reviews)},
        "model": str(tiny_model),
        "method": "full",
        "training": {"epochs": 3, "learning_rate": 0.01, "checkpoint_every": 2, "r_drop": 1.0},
    }


def test_a_run_with_it_is_taken_up_where_it_was_broken_off(recipe: dict[str, Any], tmp_path: Path) -> None:
    whole = whet.train(recipe, out=tmp_path / "whole", quiet=True)
    stopped(recipe, tmp_path / "broken", 4)
    resumed = whet.resume(tmp_path / "broken", quiet=True)
    assert (whole.test, whole.metrics["validation"]) == (resumed.test, resumed.metrics["validation"])


def test_what_cannot_be_compared_is_refused(
    recipe: dict[str, Any], questions: Path, tiny_decoder: Path, tmp_path: Path
) -> None:
    recipe["training"]["dropout"] = 0.0
    with pytest.raises(RecipeError, match=r"training.r_drop: nothing that trains has a dropout.*training.dropout=0.1"):
        whet.train(recipe, quiet=True)
    training = {"r_drop": 1.0, "steps": 1}
    with pytest.raises(RecipeError, match=r"training.r_drop: .*'next_token' has none"):
        whet.train(questions, model=str(tiny_decoder), method="full", training=training, quiet=True)
    recipe["task"] = {"name": "text_classification", "problem": "multi_label"}
    rows = tmp_path / "rows.csv"
    rows.write_text("text,a,b\n" + "".join(f"good {i},{i % 2},{i % 3 == 0:d}\n" for i in range(40)))
    recipe["data"] = {"train": str(rows), "text": "text", "label": ["a", "b"]}
    with pytest.raises(RecipeError, match=r"training.r_drop: .*'multi_label' has none"):
        whet.train(recipe, quiet=True)

"""Weight decay towards the pre-trained weights, and mixes with them."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.contracts.arena import Fight, run, short, weights
from tests.contracts.backbones import BACKBONES
from whet.engine.anchor import Anchor
from whet.engine.loop import fit
from whet.engine.optim import parameter_groups
from whet.engine.state import newest
from whet.events import Finished, Mixed, Step

BERT = Fight(BACKBONES[0], "full", {})


def test_a_pull_is_the_formula() -> None:
    model = torch.nn.Linear(3, 2)
    began = model.weight.detach().clone()
    anchor = Anchor(model, frozenset({"weight"}))
    with torch.no_grad():
        model.weight.add_(1.0)
        model.bias.add_(1.0)
    bias = model.bias.detach().clone()
    anchor.pull(torch.optim.SGD(model.parameters(), lr=0.1), 4.0)
    assert torch.allclose(model.weight, began + (1.0 - 0.1 * 4.0))
    assert torch.equal(model.bias, bias)


def test_what_is_pulled_does_not_decay_and_what_starts_random_does() -> None:
    job = BERT.job(short())
    parts = replace(job.parts, fresh=("classifier.weight", "classifier.bias"))
    groups = parameter_groups(job.model, parts, job.stages[0], short(weight_decay=0.1, l2_sp=1.0))
    assert {name for group in groups if group["weight_decay"] for name in group["names"]} == {"classifier.weight"}


def test_the_stronger_the_pull_the_nearer_the_weights_stay() -> None:
    began = weights(BERT.attached()[0])

    def moved(strength: float | None) -> float:
        job = BERT.job(short(l2_sp=strength, evaluate_every=100, checkpoint_every=2))
        run(job)
        return float(torch.stack([(t - began[n]).float().norm() for n, t in weights(job.model).items()]).norm())

    free, held, fixed = moved(None), moved(100.0), moved(900.0)
    assert fixed < 0.5 * held < 0.5 * free


def test_what_starts_random_is_not_pulled() -> None:
    def ended(strength: float | None) -> Tensor:
        job = BERT.job(short(l2_sp=strength, weight_decay=0.0, epochs=1, batch_size=12, evaluate_every=100))
        job = replace(job, parts=replace(job.parts, fresh=("classifier.weight", "classifier.bias")))
        run(job)
        return dict(job.model.named_parameters())["classifier.weight"].detach()

    assert torch.equal(ended(500.0), ended(None))


def test_a_resumed_run_is_pulled_to_the_same_weights(tmp_path: Path) -> None:
    settings = short(l2_sp=50.0, evaluate_every=100, checkpoint_every=2)
    whole, broken, resumed = BERT.job(settings), BERT.job(settings, tmp_path), BERT.job(settings, tmp_path)
    run(whole)
    with closing(fit(broken)) as events:
        for event in events:
            if isinstance(event, Step) and event.step == 5:
                break
    checkpoint, _ = newest(tmp_path)
    assert checkpoint is not None
    assert checkpoint.progress.step == 4
    run(resumed, checkpoint)
    final = weights(resumed.model)
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(whole.model).items())


@pytest.mark.parametrize("method", ["gradual", "lp_ft"])
def test_later_stages_are_pulled_too(method: str) -> None:
    fight = Fight(BACKBONES[0], method, {})
    began = weights(fight.attached()[0])
    job = fight.job(short(l2_sp=1000.0, epochs=4, evaluate_every=100))
    run(job)
    after = weights(job.model)
    # At a learning rate of 1e-3 each step ends where the run began.
    assert all(torch.equal(after[name], tensor) for name, tensor in began.items() if after[name].is_floating_point())


def test_mixes_are_scored_and_the_best_stays() -> None:
    began = weights(BERT.attached()[0])
    plain = BERT.job(short(evaluate_every=100))
    recorded = run(plain)[-1]
    job = BERT.job(short(evaluate_every=100, mixes=(0.25, 0.75), metric="loss"))
    events = run(job)
    mixed = [event for event in events if isinstance(event, Mixed)]
    assert [event.share for event in mixed] == [0.75, 0.25]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert isinstance(recorded, Finished)
    assert finished.scores == finished.recorded
    chosen = min([(recorded.scores["loss"], 1.0), *((event.scores["loss"], event.share) for event in mixed)])
    assert finished.scores["loss"] == chosen[0]
    assert (finished.share, recorded.share) == (chosen[1], 1.0)
    trained, after = weights(plain.model), weights(job.model)
    floating = [name for name, tensor in began.items() if tensor.is_floating_point()]
    assert all(torch.equal(after[n], torch.lerp(began[n], trained[n], chosen[1])) for n in floating)


def test_the_trained_weights_stay_where_no_mix_is_better() -> None:
    plain = BERT.job(short(epochs=8, evaluate_every=100, metric="loss"))
    job = BERT.job(short(epochs=8, evaluate_every=100, metric="loss", mixes=(0.01,)))
    run(plain)
    assert [event.best for event in run(job) if isinstance(event, Mixed)] == [False]
    after = weights(job.model)
    assert all(torch.equal(tensor, after[name]) for name, tensor in weights(plain.model).items())

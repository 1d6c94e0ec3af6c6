"""A head that learns in other coordinates: the same function before, taken over by its weights afterwards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.contracts.arena import SETTINGS, Fight, TensorTask, run, short
from tests.engine.jobs import BY_NAME
from whet.core import Mask
from whet.engine import standard
from whet.engine.job import Job
from whet.engine.standard import standardise
from whet.events import Finished, Step


def job(family: str, **options: Any) -> Job:
    return Fight(BY_NAME[family], "head", options).job(SETTINGS)


def plain(one: Job) -> Job:
    return replace(one, stages=[replace(stage, standardised=False) for stage in one.stages])


def outputs(one: Job) -> torch.Tensor:
    assert isinstance(one.task, TensorTask)
    one.model.eval()
    with torch.no_grad():
        logits: torch.Tensor = one.model(**one.task.inputs).logits
    return logits


def begin(one: Job, mask: Mask | None = None) -> Any:
    def forward(batch: Any, _: np.ndarray) -> Any:
        return one.model(**batch.inputs)

    return standardise(one, mask or one.stages[0].mask, np.arange(len(one.train)), forward, begun=False)


@pytest.mark.parametrize("family", ["vit", "resnet", "convnext", "swin"])
def test_the_function_is_the_same_before_and_after_and_numbers_are_standard_meanwhile(family: str) -> None:
    one = job(family)
    before = outputs(one)
    layer = next(module for module in reversed(list(one.model.modules())) if isinstance(module, nn.Linear))
    weight, read = layer.weight.detach().clone(), []
    fold = begin(one)
    hook = layer.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    assert torch.allclose(outputs(one), before, atol=1e-5)
    hook.remove()
    assert not torch.allclose(layer.weight, weight)
    assert read[0].mean(0).abs().max() < 0.2
    assert (read[0].std(0).log2().abs() < 0.75).float().mean() > 0.9
    fold()
    assert torch.allclose(outputs(one), before, atol=1e-5)
    assert torch.equal(layer.weight, weight)


def test_numbers_that_never_move_are_left_in_peace() -> None:
    one = job("resnet")
    assert isinstance(one.task, TensorTask)
    inputs = one.task.inputs["pixel_values"]
    still = replace(one, task=replace(one.task, inputs={"pixel_values": inputs[:1].expand(len(inputs), -1, -1, -1)}))
    before = outputs(still)
    fold = begin(still)
    assert torch.allclose(outputs(still), before, atol=1e-5)
    fold()
    assert torch.allclose(outputs(still), before, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "wav2vec2", "llama"])
def test_a_head_of_several_layers_and_one_of_every_token_stay_as_they_are(family: str) -> None:
    one = job(family)
    before = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    begin(one)()
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.model.state_dict().items())


def test_padding_does_not_count_where_words_are_tagged() -> None:
    one, lengths = job("bert"), np.array([2, 1])
    padded = torch.tensor([[[1.0, 5.0], [3.0, 5.0]], [[5.0, 5.0], [999.0, 999.0]]])
    tagging = replace(
        one,
        task=replace(one.task, problem="tagging"),  # type: ignore[type-var]  # a dataclass
        train=replace(one.train, lengths=lengths),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard, "readings", lambda *_: (one for one in [(np.array([0, 1]), padded)]))
        found = standard._moments(tagging, "classifier", np.arange(2), lambda *_: None)
        assert found is not None
        mean, scale = found
        assert mean.tolist() == [3.0, pytest.approx(5.0, abs=0.01)]
        assert scale[0] == 2.0
        assert standard._moments(one, "classifier", np.arange(2), lambda *_: None) is None


def test_the_run_ends_with_a_plain_layer_that_was_measured(tmp_path: Path) -> None:
    one = job("resnet")
    events = run(one)
    layers = [module for module in one.model.modules() if module._forward_pre_hooks]
    assert layers == []
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert isinstance(one.task, TensorTask)
    found = one.task.score(outputs(one).softmax(-1).numpy(), one.validation)
    assert found["accuracy"] == finished.scores["accuracy"]


def test_small_features_are_learned_from_at_once() -> None:
    losses = []
    for standardised in (True, False):
        one = job("resnet")
        layer = one.model.get_submodule("resnet.encoder")
        # As of a body whose numbers are a hundredth of the usual size.
        layer.register_forward_hook(
            lambda _, __, found: (found[0] * 0.01, *found[1:]) if isinstance(found, tuple) else replace_first(found)
        )
        one = replace(one if standardised else plain(one), settings=short(epochs=20, cache="off", learning_rate=3e-2))
        losses.append([event.loss for event in run(one) if isinstance(event, Step)][-3:])
    assert np.mean(losses[0]) < 0.7 * np.mean(losses[1])


def replace_first(found: Any) -> Any:
    found.last_hidden_state = found.last_hidden_state * 0.01
    return found

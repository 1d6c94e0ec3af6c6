from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.contracts.arena import SETTINGS, short
from tests.engine.jobs import BY_NAME
from whet.core import Parts, Stage
from whet.engine.job import Settings
from whet.engine.optim import build_optimizer, parameter_groups, set_pace
from whet.engine.schedule import Pace
from whet.model.parts import parts_of


def bert() -> tuple[nn.Module, Parts, Stage]:
    """A tiny BERT of three blocks, all of which trains."""
    model = BY_NAME["bert"].build()
    parts = parts_of(model)
    return model, parts, Stage("all", 1.0, frozenset(parts.parameters))


def by_name(settings: Settings, key: str) -> dict[str, float]:
    """What each parameter's group says under a key."""
    groups = parameter_groups(*bert(), settings)
    return {name: group[key] for group in groups for name in group["names"]}


def test_groups_hold_the_mask_and_nothing_else_each_parameter_once() -> None:
    model, parts, _ = bert()
    mask = parts.under(parts.head) | parts.under(parts.blocks[1])
    groups = parameter_groups(model, parts, Stage("some", 1.0, mask), short(layer_decay=0.9))
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(mask)
    named = dict(model.named_parameters())
    assert all(named[n] is p for group in groups for n, p in zip(group["names"], group["params"], strict=True))


def test_biases_and_norms_do_not_decay() -> None:
    shapes = bert()[1].parameters
    decays = by_name(short(weight_decay=0.1), "weight_decay")
    assert decays == {name: 0.1 if len(shape) > 1 else 0.0 for name, shape in shapes.items()}
    assert set(decays.values()) == {0.0, 0.1}


def test_layer_decay_slows_each_block_further_from_the_head() -> None:
    parts = bert()[1]
    scales = by_name(short(layer_decay=0.5), "scale")
    expected = [
        *((name, 1.0) for name in parts.under(parts.head)),
        *((name, 0.5) for name in parts.under(parts.blocks[2])),
        *((name, 0.25) for name in parts.under(parts.blocks[1])),
        *((name, 0.125) for name in parts.under(parts.blocks[0])),
        *((name, 0.0625) for name in parts.under(parts.stem)),
    ]
    assert scales == dict(expected)


def test_without_layer_decay_all_learn_at_one_rate() -> None:
    assert set(by_name(SETTINGS, "scale").values()) == {1.0}


def test_a_stage_names_who_learns_at_another_rate() -> None:
    model, parts, stage = bert()
    weight, bias = (f"bert.encoder.layer.2.output.dense.{kind}" for kind in ("weight", "bias"))
    stage = replace(stage, rates={weight: 16.0, bias: 0.5})
    groups = parameter_groups(model, parts, stage, short(layer_decay=0.5))
    scales = {name: group["scale"] for group in groups for name in group["names"]}
    assert scales == by_name(short(layer_decay=0.5), "scale") | {weight: 16.0 * 0.5, bias: 0.5 * 0.5}


def test_a_stage_names_matrices_that_do_not_decay() -> None:
    model, parts, stage = bert()
    weight = "bert.encoder.layer.2.output.dense.weight"
    groups = parameter_groups(model, parts, replace(stage, undecayed=frozenset({weight})), short(weight_decay=0.1))
    decays = {name: group["weight_decay"] for group in groups for name in group["names"]}
    assert decays == by_name(short(weight_decay=0.1), "weight_decay") | {weight: 0.0}


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_step_with_no_gradient_decays_matrices_only(name: str) -> None:
    model, parts, stage = bert()
    settings = short(optimizer=name, learning_rate=0.1, weight_decay=0.5)
    optimizer = build_optimizer(parameter_groups(model, parts, stage, settings), settings)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_pace(optimizer, settings, 1.0, Pace(1.0))
    optimizer.step()
    # Nesterov momentum adds its share of the first decay to the decay itself.
    decay = 0.05 if name == "adamw" else 0.05 * (1 + settings.momentum)
    for n, parameter in model.named_parameters():
        expected = before[n] * (1 - decay) if parameter.ndim > 1 else before[n]
        assert torch.allclose(parameter, expected, atol=1e-7), n


def one_step(settings: Settings, gradient: float, steps: int = 1) -> list[float]:
    """Where a single weight goes from 0 under a constant gradient."""
    weight = nn.Parameter(torch.zeros(1))
    group = {"params": [weight], "names": ["weight"], "weight_decay": 0.0, "scale": 0.5}
    optimizer = build_optimizer([group], settings)
    places = []
    for _ in range(steps):
        set_pace(optimizer, settings, 0.5, Pace(1.0))
        weight.grad = torch.full((1,), gradient)
        optimizer.step()
        places.append(weight.item())
    return places


def test_adamw_takes_steps_of_the_learning_rate_whatever_the_gradient() -> None:
    # Learning rate 0.1, half of it for the stage, half of that for the depth.
    for gradient in (1e-3, 1e3):
        assert one_step(short(learning_rate=0.1), gradient, 2) == pytest.approx([-0.025, -0.05], rel=1e-3)


def test_sgd_has_nesterov_momentum() -> None:
    settings = short(optimizer="sgd", learning_rate=0.4, momentum=0.5)
    # Velocities 1 and 1.5; each step looks ahead: 1 + 0.5 * velocity.
    assert one_step(settings, 1.0, 2) == pytest.approx([-0.15, -0.15 - 0.175])


def test_sgd_without_momentum_is_plain() -> None:
    assert one_step(short(optimizer="sgd", learning_rate=0.4, momentum=0.0), 2.0, 2) == pytest.approx([-0.2, -0.4])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_pace_sets_rate_and_momentum_of_every_group_and_returns_the_rate_of_the_head(name: str) -> None:
    settings = short(optimizer=name, learning_rate=0.1, layer_decay=0.5)
    optimizer = build_optimizer(parameter_groups(*bert(), settings), settings)
    assert set_pace(optimizer, settings, 0.5, Pace(0.2, momentum=0.7)) == pytest.approx(0.01)
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01 * group["scale"])
        assert (group["betas"] == (0.7, 0.999)) if name == "adamw" else (group["momentum"] == 0.7)


def test_pace_without_momentum_leaves_the_optimisers_own() -> None:
    optimizer = build_optimizer(parameter_groups(*bert(), SETTINGS), SETTINGS)
    set_pace(optimizer, SETTINGS, 1.0, Pace(0.2))
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}

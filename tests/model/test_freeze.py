from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.contracts.backbones import BACKBONES, Backbone
from tests.model.test_parts import with_lora
from whet.core import Mask, Parts
from whet.errors import ModelError
from whet.model.freeze import apply, frozen_depth, frozen_state, set_training_modes, training_modes
from whet.model.parts import parts_of

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
every_family = pytest.mark.parametrize("backbone", BACKBONES, ids=repr)


def head_only(parts: Parts) -> Mask:
    return parts.under(parts.head)


def last_block_only(parts: Parts) -> Mask:
    return parts.under(parts.blocks[-1])


def everything(parts: Parts) -> Mask:
    return frozenset(parts.parameters)


every_mask = pytest.mark.parametrize("choose", [head_only, last_block_only, everything])
Choose = Callable[[Parts], Mask]


def ready(model: nn.Module, parts: Parts, mask: Mask) -> nn.Module:
    """The model as the engine has it at a step with this mask."""
    apply(model, parts, mask)
    set_training_modes(model, training_modes(model, parts, mask))
    return model


def train_once(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    """One large step of plain gradient descent on an arbitrary loss."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    model(**inputs).logits.square().sum().backward()
    optimizer.step()


def input_of(model: nn.Module, name: str, inputs: dict[str, Tensor], seed: int) -> Tensor:
    """What reaches a module first when the model runs under a seed."""
    seen: list[Tensor] = []

    def note(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    handle = model.get_submodule(name).register_forward_pre_hook(note, with_kwargs=True)
    torch.manual_seed(seed)
    model(**inputs)
    handle.remove()
    return seen[0]


@every_mask
@every_family
def test_only_the_mask_receives_gradients(backbone: Backbone, choose: Choose) -> None:
    model = backbone.build()
    parts = parts_of(model)
    mask = choose(parts)
    apply(model, parts, mask)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == mask


@every_mask
@every_family
def test_what_is_frozen_is_bit_equal_after_training(backbone: Backbone, choose: Choose) -> None:
    model = backbone.build()
    parts = parts_of(model)
    mask = choose(parts)
    ready(model, parts, mask)
    before = {name: tensor.detach().clone() for name, tensor in frozen_state(model, parts, mask)}
    moving = {name: parameter.detach().clone() for name, parameter in model.named_parameters() if name in mask}
    train_once(model, backbone.inputs(4, 0))
    after = dict(frozen_state(model, parts, mask))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert any(not torch.equal(tensor, model.get_parameter(name)) for name, tensor in moving.items())


@every_family
def test_nothing_random_happens_before_the_first_block_that_trains(backbone: Backbone) -> None:
    model = backbone.build()
    parts = parts_of(model)
    ready(model, parts, last_block_only(parts))
    first, inputs = parts.blocks[-1][0], backbone.inputs(4, 0)
    assert torch.equal(input_of(model, first, inputs, seed=1), input_of(model, first, inputs, seed=2))


@every_family
def test_nothing_random_happens_before_the_first_block_that_lora_trains(backbone: Backbone) -> None:
    plain = backbone.build()
    model = with_lora(plain, parts_of(plain))
    parts = parts_of(model)
    last = parts.under(parts.blocks[-1]) | parts.under(parts.head)
    ready(model, parts, frozenset(name for name in last if "lora_" in name or "modules_to_save" in name))
    first, inputs = parts.blocks[-1][0], backbone.inputs(4, 0)
    assert torch.equal(input_of(model, first, inputs, seed=1), input_of(model, first, inputs, seed=2))


@every_family
def test_a_module_trains_exactly_where_one_of_its_parameters_does(backbone: Backbone) -> None:
    model = backbone.build()
    parts = parts_of(model)
    mask = last_block_only(parts)
    modes = training_modes(model, parts, mask)
    assert modes.keys() == dict(model.named_modules()).keys()
    inside = tuple(f"{name}." for name in parts.blocks[-1])
    for name, mode in modes.items():
        assert mode == (name in parts.blocks[-1] or name.startswith(inside)), name


@every_family
def test_training_everything_puts_every_module_into_training_mode(backbone: Backbone) -> None:
    model = backbone.build()
    parts = parts_of(model)
    assert all(training_modes(model, parts, everything(parts)).values())


def test_running_statistics_move_only_where_the_batch_norm_trains() -> None:
    model = BY_NAME["resnet"].build()
    parts = parts_of(model)
    ready(model, parts, last_block_only(parts) | head_only(parts))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(**BY_NAME["resnet"].inputs(4, 0))
    moved = {name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {name for name in before if name.startswith(parts.blocks[-1][0])}


def test_batch_norms_with_pre_trained_statistics_keep_them_where_everything_trains() -> None:
    model = BY_NAME["resnet"].build()
    with torch.no_grad():
        model.train()(**BY_NAME["resnet"].inputs(4, 0))
    parts = parts_of(model)
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert set(parts.settled) == norms
    modes = training_modes(model, parts, everything(parts))
    assert {name for name, training in modes.items() if not training} == norms
    ready(model, parts, everything(parts))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    inputs = BY_NAME["resnet"].inputs(4, 1)
    together = model(**inputs).logits
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    alone = torch.cat([model(**{name: value[i : i + 1] for name, value in inputs.items()}).logits for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_frozen_batch_norm_inside_a_block_that_trains_keeps_its_statistics() -> None:
    model = BY_NAME["resnet"].build()
    parts = parts_of(model)
    mask = frozenset(name for name in last_block_only(parts) if "convolution" in name)
    modes = training_modes(model, parts, mask)
    block = parts.blocks[-1][0]
    assert modes[f"{block}.layer.0.convolution"]
    assert not modes[f"{block}.layer.0.normalization"]


def test_dropout_beside_a_lora_layer_is_active_and_the_frozen_weight_is_not() -> None:
    plain = BY_NAME["bert"].build()
    model = with_lora(plain, parts_of(plain))
    parts = parts_of(model)
    modes = training_modes(model, parts, frozenset(name for name in parts.parameters if "lora_" in name))
    attention = "base_model.model.bert.encoder.layer.0.attention.self"
    assert modes[f"{attention}.dropout"]
    assert modes[f"{attention}.query.lora_dropout.default"]
    assert not modes[f"{attention}.query.base_layer"]
    assert not modes["base_model.model.bert.embeddings.dropout"]
    assert not modes["base_model.model.bert.encoder"]
    assert not modes[""]


def test_dropout_in_front_of_the_classifier_follows_the_head() -> None:
    model = BY_NAME["bert"].build()
    parts = parts_of(model)
    assert training_modes(model, parts, head_only(parts))["dropout"]
    assert not training_modes(model, parts, last_block_only(parts))["dropout"]


def test_dropout_between_the_embeddings_and_the_blocks_follows_the_stem() -> None:
    model = BY_NAME["bart"].build()
    parts = parts_of(model)
    assert not training_modes(model, parts, everything(parts) - parts.under(parts.stem))["model.decoder"]
    assert training_modes(model, parts, parts.under(parts.stem))["model.decoder"]


@every_family
def test_depth_of_the_frozen_prefix(backbone: Backbone) -> None:
    parts = parts_of(backbone.build())
    blocks = len(parts.blocks)
    assert frozen_depth(parts, everything(parts)) == 0
    assert frozen_depth(parts, last_block_only(parts) | frozenset(list(parts.under(parts.stem))[:1])) == 0
    assert frozen_depth(parts, last_block_only(parts)) == blocks - 1
    assert frozen_depth(parts, head_only(parts) | parts.under(parts.final_norm)) == blocks
    assert frozen_depth(parts, head_only(parts) | parts.under(parts.blocks[1])) == 1


def test_unknown_names_are_refused_together_and_nothing_changes() -> None:
    model = BY_NAME["bert"].build()
    parts = parts_of(model)
    with pytest.raises(ModelError) as raised:
        apply(model, parts, frozenset({"classifier.wieght", "nothing.like.it"}))
    assert len(raised.value.problems) == 2
    assert "did you mean 'classifier.weight'?" in raised.value.problems[0]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_long_list_of_unknown_names_is_cut() -> None:
    model = BY_NAME["bert"].build()
    with pytest.raises(ModelError) as raised:
        apply(model, parts_of(model), frozenset(f"zz{i}" for i in range(8)))
    assert raised.value.problems[-1] == "and 3 more"

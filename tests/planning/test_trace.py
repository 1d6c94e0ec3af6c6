import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.contracts.backbones import BACKBONES, Backbone
from whet import catalog
from whet.core import Parts
from whet.model.freeze import apply, set_training_modes, training_modes
from whet.model.parts import parts_of
from whet.model.recompute import recomputing
from whet.planning.shapes import attach, weight_bytes
from whet.planning.trace import Recorder, Step, Traced, trace, trace_reading

UNTRACED = {"t5": "the head looks for the end of each text", "bart": "the head looks for the end of each text"}
"""Families that ask for numbers, so that their memory is estimated."""


class Two(nn.Module):
    """Two layers without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16, bias=False)
        self.second = nn.Linear(16, 4, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(rows).relu())
        return out


def total(outputs: Any) -> Tensor:
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs["logits"]
    return logits.float().sum()


def on_meta(kind: type[nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return kind()


def test_every_tensor_is_counted_once_and_while_it_lives() -> None:
    step = Step({"rows": torch.zeros(3, 8)}, total, casts=False)
    found = trace(on_meta(Two), step)
    # In the backward pass of the first layer: two gradients of weights, one of them twice where it is turned, and at
    # most what the layers made.
    made, second, first = 3 * 16 * 4, 16 * 4 * 4, 8 * 16 * 4
    assert second <= found.peak["gradients"] <= second + first
    assert second + first <= found.bytes <= second + 2 * first + 2 * made + 100
    assert found.peak["activations"] <= 2 * made + 3 * 4 * 4
    assert found.flops == 2 * (3 * 8 * 16 + 3 * 16 * 4) + 2 * (3 * 8 * 16 + 2 * 3 * 16 * 4)
    assert found.bytes == sum(found.peak.values())


def real(model: nn.Module, inputs: dict[str, Tensor]) -> Traced:
    """The same record of a step that computes."""
    recorder = Recorder([*model.parameters(), *model.buffers(), *inputs.values()])
    hooks: list[Any] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            hooks.append(parameter.register_post_accumulate_grad_hook(recorder.is_gradient))  # type: ignore[no-untyped-call]
    with recorder:
        outputs = model(**inputs)
        recorder.kind = "logits"
        loss = total(outputs)
        del outputs
        recorder.kind = "working"
        loss.backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    return recorder.traced


def outlined(backbone: Backbone) -> PreTrainedModel:
    """The same model without weights, in training mode."""
    real_one = backbone.build()
    model = copy.deepcopy(real_one)
    nn.Module.to(model, "meta")
    return model


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "resnet", "wav2vec2"])
def test_what_pretends_allocates_what_computes_does(name: str) -> None:
    backbone = next(one for one in BACKBONES if one.name == name)
    inputs = backbone.inputs(4, 0)
    model = backbone.build()
    parts = parts_of(model)
    mask = frozenset(parts.parameters)
    for one in (model, pretended := outlined(backbone)):
        apply(one, parts, mask)
        set_training_modes(one, training_modes(one, parts, mask))
    found, expected = trace(pretended, Step(inputs, total, casts=False)), real(model, inputs)
    assert found.bytes == pytest.approx(expected.bytes, rel=0.02)
    assert found.flops == expected.flops


@pytest.mark.parametrize("method", ["full", "head", "last_blocks", "lora", "bitfit", "adapter", "p_tuning", "prompt"])
@pytest.mark.parametrize("backbone", BACKBONES, ids=repr)
def test_every_family_is_traced(backbone: Backbone, method: str) -> None:
    plain = outlined(backbone)
    from whet.errors import ModelError

    options: dict[str, object] = {"length": 3} if method in ("p_tuning", "prompt") else {}
    options |= {"count": 1} if method == "last_blocks" else {}
    try:
        attached = attach(catalog.build("method", method, options), plain, parts_of(plain))
    except ModelError:
        pytest.skip("the method refuses this family")
    step = Step(backbone.inputs(4, 0), total, hidden=attached.hidden)
    if backbone.name in UNTRACED:
        pytest.skip(UNTRACED[backbone.name])
    found = trace(attached.model, step)
    assert found.bytes > 0
    assert all(not p.requires_grad or p.is_meta for p in attached.model.parameters())


def parted(name: str) -> tuple[nn.Module, Parts, dict[str, Tensor]]:
    backbone = next(one for one in BACKBONES if one.name == name)
    model = outlined(backbone)
    parts = parts_of(model)
    apply(model, parts, frozenset(parts.parameters))
    model.train()
    return model, parts, backbone.inputs(8, 0)


def test_recomputing_keeps_less_and_computes_more() -> None:
    model, parts, inputs = parted("bert")
    plain = trace(model, Step(inputs, total))
    short = trace(model, Step(inputs, total, recompute=lambda whole: recomputing(whole, parts.blocks, random=False)))
    assert short.bytes < plain.bytes
    assert short.flops > plain.flops


def test_a_second_pass_finds_the_gradients_of_the_first() -> None:
    model, parts, inputs = parted("bert")
    once, twice = (trace(model, Step(inputs, total, micro_batches=count)) for count in (1, 2))
    assert twice.peak["gradients"] >= 4 * parts.count(frozenset(parts.parameters))
    assert twice.bytes > once.bytes
    assert twice.flops == once.flops


def test_frozen_layers_that_are_stored_count_apart() -> None:
    backbone = next(one for one in BACKBONES if one.name == "bert")
    plain = outlined(backbone)
    attached = attach(catalog.build("method", "head", {}), plain, parts_of(plain))
    inputs = backbone.inputs(8, 0)
    stored, read = (trace(attached.model, Step(inputs, total, hidden=hidden)) for hidden in (attached.hidden, ()))
    assert stored.frozen_flops > 10 * stored.flops
    assert stored.frozen_flops + stored.flops == read.flops
    assert stored.bytes < read.bytes
    assert stored.stored == [((8, 9, 32), 4)]


def test_reading_takes_less_than_a_step() -> None:
    model, _, inputs = parted("bert")
    step = trace(model, Step(inputs, total))
    model.eval()
    assert trace_reading(model, inputs, casts=True).bytes < step.bytes


def test_a_model_is_as_it_was_afterwards() -> None:
    model, _, inputs = parted("bert")
    before = dict(model.named_parameters())
    trace(model, Step(inputs, total))
    assert all(parameter is before[name] and parameter.grad is None for name, parameter in model.named_parameters())


def test_bytes_of_weights_count_tied_ones_once_and_four_bits_as_such() -> None:
    backbone = next(one for one in BACKBONES if one.name == "bert")
    plain = outlined(backbone)
    parts = parts_of(plain)
    numbers = parts.count(frozenset(parts.parameters))
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in plain.buffers())
    assert weight_bytes(plain) == 4 * numbers + buffers
    packed = attach(catalog.build("method", "qlora", {"rank": 1}), plain, parts)
    inside = sum(a * b for name, (a, b) in parts.linear.items() if ".layer." in name)
    # Half a byte for each number in place of four; the rank adds little.
    assert weight_bytes(packed.model) < 4 * numbers - 3 * inside + 40_000

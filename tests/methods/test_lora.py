"""What the variants of LoRA promise beyond the laws."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn
from transformers import RegNetConfig, RegNetForImageClassification

from tests.contracts.arena import SETTINGS, Fight, run
from tests.engine.jobs import BY_NAME
from whet import catalog
from whet.errors import ModelError
from whet.events import Finished
from whet.model.parts import parts_of
from whet.protocols import Method

QUERY = "bert.encoder.layer.0.attention.self.query"


def attached(**options: Any) -> PeftModel:
    """A tiny BERT of width 32 with LoRA of rank 4."""
    model = Fight(BY_NAME["bert"], "lora", {"rank": 4, "alpha": 8.0, **options}).attached()[0]
    assert isinstance(model, PeftModel)
    return model


def weight_after(model: nn.Module, **options: Any) -> Tensor:
    """What a layer's weight is once the update is merged."""
    method: Method = catalog.build("method", "lora", {"rank": 4, "alpha": 8.0, **options})
    return method.merge(model).get_parameter(f"{QUERY}.weight").detach()


@pytest.mark.parametrize(("scaling", "scale"), [("alpha/rank", 8 / 4), ("alpha/sqrt(rank)", 8 / 2)])
def test_the_update_is_scaled_as_told(scaling: str, scale: float) -> None:
    model = attached(scaling=scaling)
    layer = model.get_submodule(f"base_model.model.{QUERY}")
    a, b = (layer.get_parameter(f"lora_{side}.default.weight") for side in "AB")
    nn.init.normal_(b)
    expected = layer.get_parameter("base_layer.weight").detach() + scale * (b @ a).detach()
    assert torch.allclose(weight_after(model, scaling=scaling), expected, atol=1e-6)


def test_dora_gives_every_output_its_length_and_the_update_its_direction() -> None:
    model = attached(decompose=True)
    layer = model.get_submodule(f"base_model.model.{QUERY}")
    a, b = (layer.get_parameter(f"lora_{side}.default.weight") for side in "AB")
    lengths = layer.get_parameter("lora_magnitude_vector.default.weight")
    weight = layer.get_parameter("base_layer.weight").detach()
    # Outputs stand in the rows of torch's weights.
    assert torch.allclose(lengths, weight.norm(dim=1))
    nn.init.normal_(b)
    nn.init.uniform_(lengths, 0.5, 2.0)
    moved = weight + 2.0 * (b @ a).detach()
    expected = lengths.detach()[:, None] * moved / moved.norm(dim=1, keepdim=True)
    assert torch.allclose(weight_after(model, decompose=True), expected, atol=1e-6)


def test_pissa_learns_from_the_principal_part_and_leaves_the_weight_alone() -> None:
    plain = BY_NAME["bert"].build()
    left, _, right = torch.linalg.svd(plain.get_parameter(f"{QUERY}.weight").detach())
    values = 0.5 ** torch.arange(32)
    weight = left * values @ right
    with torch.no_grad():
        plain.get_parameter(f"{QUERY}.weight").copy_(weight)
    method: Method = catalog.build("method", "lora", {"rank": 4, "alpha": 8.0, "start": "pissa"})
    layer = method.attach(plain, parts_of(plain)).get_submodule(f"base_model.model.{QUERY}")
    assert torch.equal(layer.get_parameter("base_layer.weight"), weight)
    halves = [
        [layer.get_parameter(f"lora_{side}.default.parametrizations.weight.original{i}") for side in "AB"]
        for i in (0, 1)
    ]
    principal = left[:, :4] * values[:4] @ right[:4]
    for (a, b), sign in zip(halves, (1, -1), strict=True):
        assert torch.allclose(sign * 2.0 * (b @ a), principal, atol=1e-5)
        # Both factors have the same share of it.
        assert torch.allclose(a.norm(dim=1), b.norm(dim=0), atol=1e-5)


def test_pissa_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(1)
    first = torch.rand(1)
    torch.manual_seed(1)
    attached(start="pissa")
    # ``attached`` draws from a fork of its own.
    assert torch.equal(torch.rand(1), first)


def test_what_pissa_leaves_is_a_plain_adapter_of_twice_the_rank(tmp_path: Path) -> None:
    job = Fight(BY_NAME["bert"], "lora", {"rank": 4, "start": "pissa", "scaling": "alpha/sqrt(rank)"}).job(SETTINGS)
    assert isinstance(run(job)[-1], Finished)
    job.model.save_pretrained(tmp_path)  # type: ignore[operator]
    plain = BY_NAME["bert"].build()
    loaded = PeftModel.from_pretrained(plain, str(tmp_path))
    config = loaded.peft_config["default"]
    assert isinstance(config, LoraConfig)
    assert (config.r, config.init_lora_weights, config.use_rslora) == (8, True, True)
    assert config.lora_alpha / 8**0.5 == pytest.approx(32 / 4**0.5)
    layer = loaded.get_submodule(f"base_model.model.{QUERY}")
    weight = BY_NAME["bert"].build().get_parameter(f"{QUERY}.weight")
    assert torch.equal(layer.get_parameter("base_layer.weight"), weight)


def test_b_learns_faster_than_a() -> None:
    job = Fight(BY_NAME["bert"], "lora", {"rank": 4, "b_rate": 16.0}).job(SETTINGS)
    (stage,) = job.stages
    assert {name for name in stage.mask if ".lora_B." in name} == stage.rates.keys()
    assert set(stage.rates.values()) == {16.0}


def test_lengths_of_convolutions_do_not_decay() -> None:
    job = Fight(BY_NAME["resnet"], "lora", {"rank": 4, "decompose": True}).job(SETTINGS)
    (stage,) = job.stages
    lengths = {name for name in stage.mask if "magnitude" in name}
    assert lengths == stage.undecayed
    assert {len(job.parts.parameters[name]) for name in lengths} == {4}


def regnet() -> nn.Module:
    """Two stages of blocks, each with a convolution of groups of four channels."""
    return RegNetForImageClassification(
        RegNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=4)
    )


def test_grouped_convolutions_get_no_update() -> None:
    plain = regnet()
    parts = parts_of(plain)
    assert len(parts.grouped) == 2
    method: Method = catalog.build("method", "lora", {"rank": 4})
    cost = method.cost(parts)
    wrapped = method.attach(plain, parts)
    after = parts_of(wrapped)
    assert cost.trainable == after.count(method.stages(after)[0].mask)
    assert not any(f"{name}.lora" in other for name in parts.grouped for other in after.parameters)
    method.merge(wrapped)


def test_a_pattern_that_names_grouped_convolutions_only_is_refused_with_the_reason() -> None:
    plain = regnet()
    parts = parts_of(plain)
    method: Method = catalog.build("method", "lora", {"rank": 4, "targets": [parts.grouped[0]]})
    with pytest.raises(ModelError, match="grouped convolutions"):
        method.attach(plain, parts)


@pytest.mark.parametrize("method_name", ["lora", "qlora", "ia3"])
def test_layers_that_an_attention_reads_without_calling_them_are_left_out_and_refused_by_name(method_name: str) -> None:
    parts = parts_of(BY_NAME["wavlm"].build())
    options: dict[str, object] = {} if method_name == "ia3" else {"rank": 4}
    method: Method = catalog.build("method", method_name, options)
    if method_name == "lora":
        wrapped = parts_of(method.attach(BY_NAME["wavlm"].build(), parts))
        beside = {name.rpartition(".lora_A")[0].rpartition(".")[2] for name in wrapped.parameters if ".lora_A" in name}
        assert beside == {"gru_rel_pos_linear", "intermediate_dense", "output_dense"}
    named: Method = catalog.build("method", method_name, {**options, "targets": ["*.v_proj"]})
    with pytest.raises(ModelError, match=r"'\*\.v_proj' names layers.*wavlm reads without calling them.*choose 'mask'"):
        named.cost(parts)

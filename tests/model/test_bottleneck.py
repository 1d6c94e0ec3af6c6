"""Bottleneck adapters compute what their formula says, and live as peft's own adapters do."""

from operator import methodcaller
from pathlib import Path

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from tests.contracts.backbones import BACKBONES, Backbone
from whet import catalog
from whet.model.bottleneck import Bottleneck, BottleneckConfig
from whet.model.parts import parts_of
from whet.protocols import Method

TINY = {backbone.name: backbone for backbone in BACKBONES}
OUTPUT, ENTRY = "bert.encoder.layer.1.output.dense", "bert.encoder.layer.1.intermediate.dense"


def config(**told: object) -> BottleneckConfig:
    """Adapters of width 4 in the second block of the tiny BERT."""
    return BottleneckConfig(target_modules=[OUTPUT], bottleneck=4, **told)  # type: ignore[arg-type]


def filled(model: nn.Module, seed: int, name: str = "default") -> None:
    """Give an adapter weights as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter, values in model.named_parameters():
            if "bottleneck_" in parameter and f".{name}." in parameter:
                values.copy_(torch.randn(values.shape, generator=generator) / 4)


def bert(told: BottleneckConfig) -> PeftModel:
    model = get_peft_model(TINY["bert"].build(), told)
    filled(model, 1)
    model.eval()
    assert isinstance(model, PeftModel)
    return model


def seen(model: nn.Module, name: str) -> tuple[Tensor, Tensor]:
    """What a layer reads and what it returns in a forward pass."""
    found: list[tuple[Tensor, Tensor]] = []
    handle = model.get_submodule(name).register_forward_hook(lambda _, read, out: found.append((read[0], out)))
    answer(model, TINY["bert"])
    handle.remove()
    return found[-1]


def answer(model: nn.Module, backbone: Backbone) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**backbone.inputs(3, 5)).logits
    return logits


def by_hand(layer: Bottleneck, values: Tensor, name: str = "default") -> Tensor:
    down, up = layer.bottleneck_down[name], layer.bottleneck_up[name]
    assert isinstance(down, nn.Linear)
    assert isinstance(up, nn.Linear)
    return up(functional.gelu(down(values)))  # type: ignore[no-any-return]


@torch.no_grad()
def test_an_adapter_adds_what_its_formula_says_to_the_output_of_its_layer() -> None:
    model = bert(config(activation="gelu", scale=0.5))
    layer = model.get_submodule(f"base_model.model.{OUTPUT}")
    assert isinstance(layer, Bottleneck)
    _, plain = seen(model, f"base_model.model.{OUTPUT}.base_layer")
    _, adapted = seen(model, f"base_model.model.{OUTPUT}")
    assert torch.equal(adapted, plain + 0.5 * by_hand(layer, plain))
    assert not torch.equal(adapted, plain)


@torch.no_grad()
def test_a_parallel_adapter_reads_what_the_feed_forward_reads() -> None:
    model = bert(config(inputs={OUTPUT: ENTRY}, activation="gelu", scale=4.0))
    layer = model.get_submodule(f"base_model.model.{OUTPUT}")
    assert isinstance(layer, Bottleneck)
    read, _ = seen(model, f"base_model.model.{ENTRY}")
    _, plain = seen(model, f"base_model.model.{OUTPUT}.base_layer")
    _, adapted = seen(model, f"base_model.model.{OUTPUT}")
    assert torch.equal(adapted, plain + 4.0 * by_hand(layer, read))
    assert layer.entries["default"].seen is None


@pytest.mark.parametrize(
    ("name", "placement"),
    [("gpt2", "pfeiffer"), ("gpt2", "parallel"), ("t5", "pfeiffer"), ("t5", "parallel"), ("resnet", "pfeiffer")],
)
def test_every_adapter_changes_the_answer(name: str, placement: str) -> None:
    plain = TINY[name].build()
    method: Method = catalog.build("method", "adapter", {"placement": placement, "bottleneck": 4})
    model = method.attach(plain, parts_of(plain)).eval()
    before = answer(model, TINY[name])
    layers = [module for module in model.modules() if isinstance(module, Bottleneck)]
    assert len(layers) == len(parts_of(plain).blocks)
    for layer in layers:
        up = layer.bottleneck_up["default"]
        assert isinstance(up.bias, Tensor)
        nn.init.normal_(up.bias)
        assert not torch.equal(answer(model, TINY[name]), before)
        nn.init.zeros_(up.bias)


@pytest.mark.parametrize("inputs", [{}, {OUTPUT: ENTRY}], ids=["behind", "beside"])
def test_adapters_are_switched_disabled_deleted_and_removed(inputs: dict[str, str]) -> None:
    plain = answer(TINY["bert"].build(), TINY["bert"])
    model = bert(config(inputs=inputs))
    first = answer(model, TINY["bert"])
    model.add_adapter("other", config(activation="tanh"))
    filled(model, 2, "other")
    assert torch.equal(answer(model, TINY["bert"]), first)
    model.set_adapter("other")
    second = answer(model, TINY["bert"])
    assert not torch.equal(second, first)
    with model.disable_adapter():
        assert torch.equal(answer(model, TINY["bert"]), plain)
    model.set_adapter("default")
    assert torch.equal(answer(model, TINY["bert"]), first)
    model.delete_adapter("default")
    assert torch.equal(answer(model, TINY["bert"]), second)
    removed = model.unload()
    assert type(removed) is type(TINY["bert"].build())
    assert removed.state_dict().keys() == TINY["bert"].build().state_dict().keys()
    assert torch.equal(answer(removed, TINY["bert"]), plain)


@torch.no_grad()
def test_active_adapters_stand_one_behind_the_other() -> None:
    model = bert(config(activation="gelu"))
    model.add_adapter("other", config(activation="gelu"))
    filled(model, 2, "other")
    methodcaller("set_adapter", ["default", "other"])(model.base_model)
    layer = model.get_submodule(f"base_model.model.{OUTPUT}")
    assert isinstance(layer, Bottleneck)
    _, plain = seen(model, f"base_model.model.{OUTPUT}.base_layer")
    _, adapted = seen(model, f"base_model.model.{OUTPUT}")
    once = plain + by_hand(layer, plain)
    assert torch.equal(adapted, once + by_hand(layer, once, "other"))


def test_a_second_adapter_is_loaded_beside_the_first_and_gives_its_own_answer(tmp_path: Path) -> None:
    one, two = bert(config()), bert(config(inputs={OUTPUT: ENTRY}, activation="silu"))
    one.save_pretrained(str(tmp_path / "one"))
    two.save_pretrained(str(tmp_path / "two"))
    expected = [answer(model, TINY["bert"]) for model in (one, two)]
    model = PeftModel.from_pretrained(TINY["bert"].build(), str(tmp_path / "one")).eval()
    model.load_adapter(str(tmp_path / "two"), "two")
    assert torch.equal(answer(model, TINY["bert"]), expected[0])
    model.set_adapter("two")
    assert torch.equal(answer(model, TINY["bert"]), expected[1])


def test_the_config_comes_back_from_its_file(tmp_path: Path) -> None:
    told = config(inputs={OUTPUT: ENTRY}, activation="silu", dropout=0.25, scale=2.0, reduction=8.0)
    told.save_pretrained(str(tmp_path))
    read = PeftConfig.from_pretrained(str(tmp_path))
    assert isinstance(read, BottleneckConfig)
    assert read == told


@pytest.mark.parametrize("verb", ["merge_and_unload", "merge_adapter"])
def test_peft_is_told_that_an_adapter_cannot_be_merged(verb: str) -> None:
    model = bert(config())
    with pytest.raises(ValueError, match="cannot be folded into the weights"):
        methodcaller(verb)(model.base_model)


def test_an_adapter_computes_in_its_own_precision_beside_a_layer_of_half_the_precision() -> None:
    plain = TINY["bert"].build()
    model = get_peft_model(nn.Module.to(plain, torch.bfloat16), config()).eval()
    assert model.get_parameter(f"base_model.model.{OUTPUT}.bottleneck_down.default.weight").dtype == torch.float32
    assert answer(model, TINY["bert"]).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert answer(model, TINY["bert"]).dtype == torch.bfloat16

"""Linear layers in 4 bits: what they hold, compute and cost, and that transformers quantises the same from our file."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tests.contracts.arena import SETTINGS, Fight, run
from tests.contracts.backbones import BACKBONES, CLASSES, text_inputs
from tests.model.test_load import save as save_plain
from whet.core import Quantisation
from whet.errors import ModelError
from whet.methods.qlora import Qlora
from whet.model.families import NOT_CALLED
from whet.model.load import load
from whet.model.mapped import give_back
from whet.model.parts import left_whole, parts_of
from whet.model.quantise import QuantisedLinear, quantisation_of, quantise
from whet.model.save import save
from whet.model.saved import open_saved
from whet.protocols import Method

functional: Any = pytest.importorskip("bitsandbytes.functional")

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
KINDS = [Quantisation(kind, double) for kind in ("nf4", "fp4") for double in (False, True)]
LABELS = ["bad", "fair", "good"]
every_kind = pytest.mark.parametrize("quantisation", KINDS, ids=str)


def layer(width_in: int, width_out: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(width_in, width_out)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@every_kind
def test_what_is_held_is_what_bitsandbytes_makes_of_the_weight(quantisation: Quantisation) -> None:
    plain = layer(64, 9000)  # several pieces
    quantised = QuantisedLinear(plain, quantisation)
    packed, state = functional.quantize_4bit(
        plain.weight.detach(), blocksize=64, compress_statistics=quantisation.double, quant_type=quantisation.kind
    )
    assert torch.equal(quantised.weight, packed)
    assert torch.equal(quantised.scales, state.absmax)
    assert torch.equal(quantised.whole(torch.float32), functional.dequantize_4bit(packed, state))


@every_kind
@pytest.mark.parametrize("shape", [(48, 32), (16, 16), (7, 33), (5, 3), (312, 100), (64, 1)], ids=str)
def test_rows_of_any_width_keep_their_own_scales(shape: tuple[int, int], quantisation: Quantisation) -> None:
    plain = layer(*shape)
    whole = QuantisedLinear(plain, quantisation).whole(torch.float32)
    assert whole.shape == plain.weight.shape
    assert distance(whole, plain.weight.detach()) < (0.2 if quantisation.kind == "fp4" else 0.15)


def test_the_normal_quantiles_are_nearer_than_the_floating_point_numbers_and_a_number_takes_half_a_byte() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(512, 512, bias=False)
    nn.init.normal_(plain.weight)
    made = {kind: QuantisedLinear(plain, Quantisation(kind)) for kind in ("nf4", "fp4")}
    found = {kind: distance(one.whole(torch.float32), plain.weight.detach()) for kind, one in made.items()}
    assert found["nf4"] == pytest.approx(0.092, abs=0.003)
    assert found["fp4"] == pytest.approx(0.122, abs=0.003)
    held = [made["nf4"].weight, made["nf4"].scales, made["nf4"].scales_of_scales]
    assert sum(8 * t.numel() * t.itemsize for t in held) / plain.weight.numel() == pytest.approx(4.127, abs=0.001)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_product_and_gradients_are_those_of_the_whole_weight(dtype: torch.dtype) -> None:
    quantised = QuantisedLinear(layer(48, 32), Quantisation())
    other = QuantisedLinear(layer(32, 48), Quantisation())
    plain = nn.Sequential(quantised.plain(), other.plain())
    ours, theirs = (torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    ours.requires_grad_()
    theirs.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        # Two layers: the second makes its weight whole where the first did.
        outputs = [nn.Sequential(quantised, other)(ours), plain(theirs)]
    assert outputs[0].dtype == dtype
    assert torch.equal(outputs[0], outputs[1])
    for output in outputs:
        output.float().square().sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_nothing_whole_is_kept_for_the_gradient() -> None:
    quantised = QuantisedLinear(layer(64, 64), Quantisation())
    values = torch.randn(2, 64, requires_grad=True)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        quantised(values)
    assert kept == []


def test_a_copy_computes_the_same() -> None:
    quantised = QuantisedLinear(layer(48, 32), Quantisation())
    values = torch.randn(2, 48)
    assert torch.equal(copy.deepcopy(quantised)(values), quantised(values))


@pytest.mark.parametrize("backbone", [b for b in BACKBONES if b.name != "resnet"], ids=repr)
def test_the_linear_layers_of_the_blocks_are_quantised_and_the_parts_stay_what_they_were(backbone: Any) -> None:
    plain = parts_of(backbone.build())
    model = backbone.build()
    quantise(model, plain, Quantisation())
    found = parts_of(model)
    quantised = {name for name, module in model.named_modules() if isinstance(module, QuantisedLinear)}
    inside = plain.under(name for block in plain.blocks for name in block)
    expected = {name for name in plain.linear if f"{name}.weight" in inside}
    if backbone.name == "wavlm":  # its attention reads their weights
        expected -= {name for name in expected if name.rpartition(".")[2] in NOT_CALLED["wavlm"]}
    if backbone.name == "t5":  # its architecture wants these in fp32
        expected = {name for name in expected if not name.endswith(".wo")}
    assert quantised == expected
    assert (found.blocks, found.head, found.stem) == (plain.blocks, plain.head, plain.stem)
    assert found.linear == plain.linear
    assert found.count(frozenset(found.parameters)) == plain.count(frozenset(plain.parameters))
    assert set(left_whole(model)) == {name for name in plain.linear if name not in quantised}


def test_layers_that_no_weight_filled_stay_whole() -> None:
    model = BY_NAME["bert"].build()
    fresh = "bert.encoder.layer.1.output.dense"
    quantise(model, parts_of(model, [f"{fresh}.weight"]), Quantisation())
    assert type(model.get_submodule(fresh)) is nn.Linear
    assert isinstance(model.get_submodule("bert.encoder.layer.0.output.dense"), QuantisedLinear)


def test_quantised_again_is_quantised_once() -> None:
    model = BY_NAME["bert"].build()
    quantise(model, parts_of(model), Quantisation("fp4", double=False))
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    quantise(model, parts_of(model), Quantisation())
    assert quantisation_of(model) == Quantisation("fp4", double=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.named_parameters())


def test_the_layers_of_gpt2_come_back_turned() -> None:
    model: Any = BY_NAME["gpt2"].build()
    before = model.transformer.h[0].attn.c_attn
    method = Qlora(rank=2)
    merged: Any = method.merge(method.attach(model, parts_of(model)))
    after = merged.transformer.h[0].attn.c_attn
    assert isinstance(after, Conv1D)
    assert after.weight.shape == before.weight.shape
    assert distance(after.weight.detach(), before.weight.detach()) < 0.15
    assert torch.equal(after.bias, before.bias)
    assert quantisation_of(merged) is None


def test_absent_bitsandbytes_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    model = BY_NAME["bert"].build()
    with pytest.raises(ModelError, match=r"pip install \"whet\[qlora\]\""):
        quantise(model, parts_of(model), Quantisation())


# --- from and to files ------------------------------------------------------------------------------------------


def wide(family: str = "bert") -> PreTrainedModel:
    """A model whose rows end where blocks end, as they do in all larger models."""
    from dataclasses import replace

    sizes = {"hidden_size": 64, "intermediate_size": 128}
    backbone = BY_NAME[family]
    return replace(backbone, options={**backbone.options, **sizes}).build()


def trained(folder: Path, method: Method, out: Path) -> tuple[nn.Module, Tensor]:
    """A model that was loaded quantised, trained for a moment and saved, and its outputs."""
    assert isinstance(method, Qlora)
    loaded = load(str(folder), labels=LABELS, targets=CLASSES, problem="single_label", quantisation=method.quantisation)
    model = method.attach(loaded.model, parts_of(loaded.model, loaded.fresh))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.1)
    save(model, loaded.processor, out)
    return model, logits(model)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(**text_inputs(4, 3)).logits
    return found


@pytest.mark.parametrize("family", ["bert", "llama", "roberta", "distilbert"])
@pytest.mark.parametrize("kept", ["float32", "bfloat16", "float16"])
def test_quantised_while_it_is_read_is_quantised_afterwards(family: str, kept: str, tmp_path: Path) -> None:
    folder = save_plain(BY_NAME[family].build().to(getattr(torch, kept)), tmp_path, LABELS)
    arguments: Any = {"labels": LABELS, "targets": CLASSES, "problem": "single_label"}
    model = load(str(folder), **arguments).model
    quantise(model, parts_of(model), Quantisation())
    read = load(str(folder), **arguments, quantisation=Quantisation()).model
    assert {t.dtype for t in read.parameters()} == {torch.uint8, torch.float32}
    theirs = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    ours = {**dict(read.named_parameters()), **dict(read.named_buffers())}
    assert [name for name in theirs.keys() | ours.keys() if not torch.equal(theirs[name], ours[name])] == []
    assert torch.equal(logits(model), logits(read))


@every_kind
def test_what_was_saved_opens_with_its_base_quantised_likewise(quantisation: Quantisation, tmp_path: Path) -> None:
    folder = save_plain(BY_NAME["bert"].build(), tmp_path / "base", LABELS)
    method = Qlora(kind=quantisation.kind, double_quantisation=quantisation.double)
    _, expected = trained(folder, method, tmp_path / "adapter")
    opened = open_saved(tmp_path / "adapter", targets=CLASSES)
    assert quantisation_of(opened.model) == quantisation
    assert torch.equal(logits(opened.model), expected)


def test_a_damaged_account_of_the_quantisation_is_refused(tmp_path: Path) -> None:
    folder = save_plain(BY_NAME["bert"].build(), tmp_path / "base", LABELS)
    trained(folder, Qlora(), tmp_path / "adapter")
    (tmp_path / "adapter" / "quantization_config.json").write_text('{"load_in_8bit": true}')
    with pytest.raises(ModelError, match="bnb_4bit_quant_type"):
        open_saved(tmp_path / "adapter", targets=CLASSES)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_transformers_and_peft_quantise_the_same_layers_to_the_same_numbers(family: str, tmp_path: Path) -> None:
    folder = save_plain(wide(family), tmp_path / "base", LABELS)
    ours, expected = trained(folder, Qlora(), tmp_path / "adapter")
    told = json.loads((tmp_path / "adapter" / "quantization_config.json").read_text())
    config = BitsAndBytesConfig.from_dict(told)  # type: ignore[no-untyped-call]
    base: Any = AutoModelForSequenceClassification.from_pretrained(folder, quantization_config=config, dtype="float32")
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    quantised = {n: m for n, m in ours.named_modules() if isinstance(m, QuantisedLinear)}
    bits = {n: m for n, m in theirs.named_modules() if type(m).__module__.startswith("bitsandbytes")}
    assert quantised.keys() == bits.keys()
    for name, module in quantised.items():
        assert torch.equal(module.weight, bits[name].weight.data)
        state = bits[name].weight.quant_state
        assert torch.equal(module.whole(torch.float32), functional.dequantize_4bit(bits[name].weight.data, state))
    # Where a processor has bf16, bitsandbytes answers in it.
    assert torch.allclose(logits(theirs), expected, atol=0.05)


def test_the_adapter_is_all_that_is_stored(tmp_path: Path) -> None:
    folder = save_plain(BY_NAME["bert"].build(), tmp_path / "base", LABELS)
    method = Qlora()
    cost = method.cost(parts_of(BY_NAME["bert"].build()))
    trained(folder, method, tmp_path / "adapter")
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == cost.stored


def test_the_merged_model_is_the_trained_one_and_its_base_is_off_by_the_rounding(tmp_path: Path) -> None:
    fight = Fight(BY_NAME["llama"], "qlora", {"rank": 3})
    job = fight.job(SETTINGS)
    run(job)
    expected = fight.output(job.model)
    merged = fight.method.merge(job.model)
    assert torch.allclose(fight.output(merged), expected, atol=1e-5)
    merged.save_pretrained(tmp_path)  # type: ignore[operator]
    again: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(fight.output(again), fight.output(merged))
    untrained = fight.method.merge(fight.attached()[0])
    plain = fight.backbone.build()
    for name in ("model.layers.0.mlp.up_proj", "model.layers.2.self_attn.q_proj"):
        weights = [model.get_parameter(f"{name}.weight").detach() for model in (untrained, plain)]
        assert distance(*weights) == pytest.approx(0.092, abs=0.02)


# --- mapped weights ---------------------------------------------------------------------------------------------


def mapped_memory() -> int:
    """Bytes of files in the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back on Linux only")
def test_what_is_given_back_takes_no_memory_and_is_read_again(tmp_path: Path) -> None:
    expected = torch.randn(4000, 1000)
    save_file({"weight": expected}, tmp_path / "weights.safetensors")
    mapped = load_file(tmp_path / "weights.safetensors")["weight"]
    assert torch.equal(mapped, expected)
    full = mapped_memory()
    give_back(mapped)
    assert full - mapped_memory() > 0.9 * 4 * expected.numel()
    assert torch.equal(mapped, expected)


def test_memory_that_is_no_file_is_kept() -> None:
    tensor = torch.randn(1000, 1000)
    before = tensor.clone()
    give_back(tensor)
    assert torch.equal(tensor, before)

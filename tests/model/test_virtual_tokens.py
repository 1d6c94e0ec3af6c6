"""Prefixes and prompts: what they compute, how they are counted, and who can open them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from tests.contracts.backbones import BACKBONES, text_inputs
from whet import catalog
from whet.errors import ModelError
from whet.model import prefixes
from whet.model.parts import attention, longest_input, parts_of, set_attention
from whet.protocols import Method

NAMED = {backbone.name: backbone for backbone in BACKBONES}
WITH_ATTENTION = [name for name in NAMED if name not in ("resnet", "convnext", "wavlm")]


def build(name: str, method: str, **options: Any) -> nn.Module:
    """A tiny model with a method attached, always the same one."""
    plain = NAMED[name].build()
    made: Method = catalog.build("method", method, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return made.attach(plain, parts_of(plain)).eval()


@torch.no_grad()
def logits(model: nn.Module, **inputs: Tensor) -> Tensor:
    output: Tensor = model.eval()(**inputs).logits
    return output


def sources(model: nn.Module) -> list[nn.Parameter]:
    """The keys and values (l, 2 W) of every block of whet's own kind, in order."""
    layers = [module for module in model.modules() if isinstance(module, prefixes.PrefixLayer)]
    found = [layer.whet_prefix["default"].weight for layer in layers]
    assert all(isinstance(weight, nn.Parameter) for weight in found)
    return found  # type: ignore[return-value]


# --- what they compute --------------------------------------------------------------------------------------------


@pytest.fixture
def keys_seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The keys and values (l + T, 2 W) of the first row, of every attention in the order of the calls."""
    seen: list[Tensor] = []
    by_head = prefixes._by_head

    def watched(part: Tensor, like: Tensor) -> Tensor:
        seen.append(like[0].transpose(0, 1).flatten(1).clone())
        return by_head(part, like)

    monkeypatch.setattr(prefixes, "_by_head", watched)
    return seen


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "vit", "wav2vec2", "whisper"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_keys_and_values_that_the_tokens_have_anyway_change_nothing(
    family: str, implementation: str, keys_seen: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Attention over [K; K] and [V; V] is attention over K and V: every weight is halved and comes twice.
    monkeypatch.setattr(prefixes, "_PEFT_READS", {})
    inputs = {name: value[:1] for name, value in NAMED[family].inputs(1, 3).items()}
    expected = logits(NAMED[family].build(), **inputs)
    length = {"vit": 5, "wav2vec2": 39, "whisper": 16}.get(family, 9)
    model = build(family, "p_tuning", length=length)
    set_attention(model, implementation)
    for position, source in enumerate(sources(model)):
        keys_seen.clear()
        logits(model, **inputs)
        keys, values = keys_seen[2 * position : 2 * position + 2]
        assert len(keys) == length
        with torch.no_grad():
            source.copy_(torch.cat([keys, values], dim=1))
    torch.testing.assert_close(logits(model, **inputs), expected, atol=1e-5, rtol=1e-5)


def test_debertas_attention_reads_learned_keys_at_its_own_scale() -> None:
    plain = NAMED["deberta-v2"].build()
    inputs = {name: value[:1] for name, value in text_inputs(1, 3).items()}
    model = build("deberta-v2", "p_tuning", length=9)
    # Without relative positions all that is added to the scores is zero, but they are scaled as ever.
    for each in (plain, model):
        for name, parameter in each.named_parameters():
            if ".rel_embeddings." in name or ".encoder.LayerNorm." in name or name.endswith("_proj.bias"):
                parameter.data.zero_()
    expected = logits(plain, **inputs)
    assert not torch.allclose(logits(model, **inputs), expected, atol=1e-4)
    layers = [module for module in model.modules() if isinstance(module, prefixes.PrefixLayer)]
    for layer in layers:
        read: list[Tensor] = []

        def note(_: object, arguments: tuple[Any, ...], read: list[Tensor] = read) -> None:
            read.append(arguments[0])

        hook = layer.base_layer.register_forward_pre_hook(note)
        logits(model, **inputs)
        hook.remove()
        with torch.no_grad():
            keys, values = (layer.get_submodule(f"base_layer.{n}_proj")(read[0])[0] for n in ("key", "value"))
            layer.get_parameter("whet_prefix.default.weight").copy_(torch.cat([keys, values], dim=1))
    torch.testing.assert_close(logits(model, **inputs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", [name for name in WITH_ATTENTION if name != "deberta-v2"])
@pytest.mark.parametrize("method", ["p_tuning", "prompt"])
def test_every_implementation_of_attention_answers_alike(family: str, method: str) -> None:
    if (family, method) == ("swin", "prompt"):
        pytest.skip("has no row of tokens")
    model, inputs = build(family, method, length=3), NAMED[family].inputs(4, 3)
    assert attention(model) == "sdpa"
    fused = logits(model, **inputs)
    set_attention(model, "eager")
    torch.testing.assert_close(logits(model, **inputs), fused, atol=1e-5, rtol=1e-5)
    set_attention(model, "sdpa")
    assert torch.equal(logits(model, **inputs), fused)


@pytest.mark.parametrize("family", [name for name in NAMED if "input_ids" in NAMED[name].inputs(1, 0)])
@pytest.mark.parametrize("method", ["p_tuning", "prefix", "prompt"])
def test_padding_changes_no_answer(family: str, method: str) -> None:
    model, inputs = build(family, method, length=3), text_inputs(4, 3)
    together = logits(model, **inputs)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        alone = {name: value[row : row + 1, :length] for name, value in inputs.items()}
        torch.testing.assert_close(logits(model, **alone)[0], together[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama", "qwen2"])
def test_pefts_own_prefix_is_ours_with_positions_that_begin_later(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = build(family, "p_tuning", length=3)
    assert isinstance(theirs, PeftModel)
    assert theirs.peft_config["default"].peft_type == "PREFIX_TUNING"
    monkeypatch.setattr(prefixes, "_PEFT_READS", {})
    ours = build(family, "p_tuning", length=3)
    flat = theirs.get_parameter("prompt_encoder.default.embedding.weight")
    with torch.no_grad():
        for source, part in zip(sources(ours), flat.chunk(3, dim=1), strict=True):
            source.copy_(part)
    inputs = text_inputs(1, 3)
    positions = torch.arange(9)[None] + (5 if family == "roberta" else 3)
    expected = logits(theirs, **inputs)
    torch.testing.assert_close(logits(ours, **inputs, position_ids=positions), expected, atol=1e-5, rtol=1e-5)


def test_a_switched_off_adapter_leaves_the_plain_model() -> None:
    for family, method in (("distilbert", "p_tuning"), ("vit", "prompt"), ("t5", "prompt"), ("deberta-v2", "prefix")):
        inputs = NAMED[family].inputs(4, 3)
        model = build(family, method, length=3)
        assert isinstance(model, PeftModel)
        expected = logits(NAMED[family].build(), **inputs)
        with model.disable_adapter():
            assert torch.equal(logits(model, **inputs), expected)
        assert not torch.equal(logits(model, **inputs), expected)
        tuner = model.base_model
        assert isinstance(tuner, BaseTuner)
        assert torch.equal(logits(tuner.unload(), **inputs), expected)


def test_the_network_makes_what_is_saved(tmp_path: Path) -> None:
    for family in ("bert", "distilbert"):
        model = build(family, "prefix", length=3, bottleneck=8)
        model.save_pretrained(tmp_path / family)  # type: ignore[operator]
        loaded = PeftModel.from_pretrained(NAMED[family].build(), str(tmp_path / family))
        assert torch.equal(logits(loaded, **text_inputs(4, 3)), logits(model, **text_inputs(4, 3)))
        assert sum(p.numel() for p in loaded.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("family", "after"), [("gpt2", 0), ("t5", 0)])
def test_a_prompt_stands_where_the_head_still_finds_its_token(family: str, after: int) -> None:
    model = build(family, "prompt", length=3)
    assert isinstance(model, PeftModel)
    assert model.peft_config["default"].after == after  # type: ignore[attr-defined]


def test_vectors_start_as_those_of_the_vocabulary() -> None:
    for family in ("bert", "bart"):
        plain = NAMED[family].build()
        table = plain.get_input_embeddings()(torch.arange(64))
        model = build(family, "prompt", length=5)
        name = next(n for n, _ in model.named_parameters() if "prompt_encoder" in n or "whet_prompt" in n)
        distances = torch.cdist(model.get_parameter(name), table).min(1).values
        assert distances.max() < 1e-3
        random = build(family, "prompt", length=5, start="random").get_parameter(name)
        assert torch.cdist(random, table).min(1).values.min() > 1.0


# --- generation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["p_tuning", "prompt"])
def test_a_decoder_that_writes_is_pefts_own(method: str, tmp_path: Path) -> None:
    plain = GPT2LMHeadModel(GPT2Config(**NAMED["gpt2"].options))
    base = GPT2LMHeadModel(plain.config)
    base.load_state_dict(plain.state_dict())
    made: Method = catalog.build("method", method, {"length": 3})
    model = made.attach(plain, parts_of(plain)).eval()
    inputs = text_inputs(2, 3)
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    loaded = PeftModel.from_pretrained(base, str(tmp_path))
    assert torch.equal(logits(loaded, **inputs), logits(model, **inputs))
    row = {name: value[:1] for name, value in inputs.items()}
    written = loaded.generate(**row, max_new_tokens=3, min_new_tokens=3, do_sample=False)  # type: ignore[no-untyped-call]
    assert written.shape == (1, 12)


# --- room -------------------------------------------------------------------------------------------------------


def test_virtual_tokens_take_positions_from_texts() -> None:
    assert longest_input(NAMED["bert"].build()) == 32
    assert longest_input(build("bert", "prompt", length=3)) == 29
    assert longest_input(build("bert", "p_tuning", length=3)) == 29
    # Keys without a position take none.
    assert longest_input(build("distilbert", "p_tuning", length=3)) == 32
    assert longest_input(build("gpt2", "prompt", length=3)) == 29
    with pytest.raises(ModelError, match="leave no room"):
        build("gpt2", "prompt", length=32)


# --- counts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "method", "options", "numbers"),
    [
        ("bert", "p_tuning", {"length": 20}, 2 * 12 * 20 * 768),
        ("bert", "prefix", {"length": 20}, 2 * 12 * 20 * 768),
        ("bert", "prompt", {"length": 20}, 20 * 768),
        ("gpt2", "p_tuning", {"length": 10}, 2 * 12 * 10 * 768),
        ("gpt2", "prefix", {"length": 10, "reparametrise": False}, 2 * 12 * 10 * 768),
        ("gpt2", "prompt", {"length": 10}, 10 * 768),
    ],
)
def test_counts_of_base_models(family: str, method: str, options: dict[str, object], numbers: int) -> None:
    with torch.device("meta"):
        config = AutoConfig.for_model(family, num_labels=2)
        parts = parts_of(AutoModelForSequenceClassification.from_config(config))  # type: ignore[no-untyped-call]
    head = parts.count(parts.under(parts.head))
    cost = catalog.build("method", method, options).cost(parts)
    assert cost.stored == numbers + head
    made = 20 * 768 + 769 * 768 + 769 * 2 * 12 * 768 if (family, method) == ("bert", "prefix") else numbers
    assert cost.trainable == made + head


# --- who can open them --------------------------------------------------------------------------------------------

OPEN = """
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification
for name in sys.argv[2:]:
    folder = sys.argv[1] + "/" + name
    base = AutoModelForSequenceClassification.from_pretrained(folder + "/base")
    model = PeftModel.from_pretrained(base, folder + "/adapter").eval()
    torch.save(model(**torch.load(sys.argv[1] + "/inputs.pt")).logits, folder + "/logits.pt")
"""
BEGINNINGS = {
    "peft alone": "import sys\nsys.modules['whet'] = None\n",
    "whet imported": "import sys\nimport whet\nassert not {'torch', 'peft'} & sys.modules.keys()\n",
}


@pytest.mark.parametrize(
    ("beginning", "pairs"),
    [
        ("peft alone", [("bert", "prefix"), ("gpt2", "p_tuning"), ("modernbert", "prompt")]),
        ("whet imported", [("distilbert", "prefix"), ("bart", "prompt"), ("roberta", "prefix")]),
    ],
)
def test_another_process_opens_what_is_saved(beginning: str, pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    inputs = text_inputs(4, 3)
    torch.save(inputs, tmp_path / "inputs.pt")
    for family, method in pairs:
        NAMED[family].build().save_pretrained(tmp_path / family / "base")
        build(family, method, length=3).save_pretrained(tmp_path / family / "adapter")  # type: ignore[operator]
    names = [family for family, _ in pairs]
    subprocess.run(
        [sys.executable, "-c", BEGINNINGS[beginning] + OPEN, str(tmp_path), *names], check=True, capture_output=True
    )
    for family, method in pairs:
        assert torch.equal(
            torch.load(tmp_path / family / "logits.pt"), logits(build(family, method, length=3), **inputs)
        )


def test_pefts_prefix_is_what_peft_makes() -> None:
    ours = build("bert", "p_tuning", length=3)
    config = PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    theirs = get_peft_model(NAMED["bert"].build(), config).eval()
    with torch.no_grad():
        weight = ours.get_parameter("prompt_encoder.default.embedding.weight")
        theirs.get_parameter("prompt_encoder.default.embedding.weight").copy_(weight)
    assert torch.equal(logits(ours, **text_inputs(4, 3)), logits(theirs, **text_inputs(4, 3)))

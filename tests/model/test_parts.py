import itertools
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel

from tests.contracts.backbones import BACKBONES, CLASSES, VOCABULARY, Backbone
from whet.core import Parts
from whet.errors import ModelError
from whet.model.dropout import set_dropout
from whet.model.families import NOT_CALLED
from whet.model.parts import body_of, parts_of

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
every_family = pytest.mark.parametrize("backbone", BACKBONES, ids=repr)


def with_lora(model: PreTrainedModel, parts: Parts) -> nn.Module:
    """LoRA on every linear layer of the blocks (every convolution where there is none), the head saved whole."""
    inside = {name.rpartition(".")[0] for block in parts.blocks for name in parts.under(block)}
    linear = inside & set(parts.linear)
    convolutions = {name for name in inside if isinstance(model.get_submodule(name), nn.Conv2d)}
    config = LoraConfig(r=2, target_modules=sorted(linear or convolutions), modules_to_save=list(parts.head))
    return get_peft_model(model, config)


def random_model(kind: Any, family: str, **options: Any) -> PreTrainedModel:
    """A model of a transformers Auto class with random weights."""
    model: PreTrainedModel = kind.from_config(AutoConfig.for_model(family, **options))
    return model


def regions(parts: Parts) -> list[tuple[str, ...]]:
    return [parts.stem, *parts.blocks, parts.final_norm, parts.head]


def memberships(parts: Parts) -> dict[str, int]:
    """In how many regions each parameter stands."""
    counts = dict.fromkeys(parts.parameters, 0)
    for region in regions(parts):
        for name in parts.under(region):
            counts[name] += 1
    return counts


def calls(model: nn.Module, names: list[str], inputs: dict[str, Tensor]) -> list[str]:
    """The names of those modules in the order in which the model called them."""
    called: list[str] = []
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: called.append(name))
    model(**inputs)
    return called


@every_family
def test_every_parameter_belongs_to_exactly_one_part(backbone: Backbone) -> None:
    model = backbone.build()
    parts = parts_of(model)
    assert set(memberships(parts).values()) == {1}
    assert parts.parameters == {name: tuple(p.shape) for name, p in model.named_parameters()}


@every_family
def test_lora_leaves_every_parameter_in_exactly_one_part(backbone: Backbone) -> None:
    plain = backbone.build()
    before = parts_of(plain)
    modules = {name: id(plain.get_submodule(name)) for block in before.blocks for name in block}
    wrapped = with_lora(plain, before)
    after = parts_of(wrapped)
    assert set(memberships(after).values()) == {1}
    assert [tuple(f"base_model.model.{name}" for name in block) for block in before.blocks] == list(after.blocks)
    assert [id(wrapped.get_submodule(f"base_model.model.{name}")) for name in modules] == list(modules.values())
    assert after.head == tuple(f"base_model.model.{name}" for name in before.head)
    assert after.family == before.family


@every_family
def test_blocks_stand_in_execution_order_and_all_run(backbone: Backbone) -> None:
    model = backbone.build()
    names = list(itertools.chain(*parts_of(model).blocks))
    assert calls(model, names, backbone.inputs(2, 0)) == names


@every_family
def test_stem_runs_before_the_blocks_and_the_final_norm_after_them(backbone: Backbone) -> None:
    model = backbone.build()
    parts = parts_of(model)
    modules = dict(model.named_modules())
    first, last = parts.blocks[0][0], parts.blocks[-1][-1]
    stem = [name for name in parts.stem if name in modules and ".decoder." not in name]
    called = calls(model, [*stem, first, last, *parts.final_norm, *parts.head], backbone.inputs(2, 0))
    assert {name for name in stem if name in called} == set(called[: called.index(first)])
    assert set(called[called.index(last) + 1 :]) - set(stem) == {*parts.final_norm, *parts.head}


@every_family
def test_parts_do_not_depend_on_data(backbone: Backbone) -> None:
    model = backbone.build()
    with torch.device("meta"):
        empty = backbone.kind.from_config(model.config)
    assert parts_of(empty) == parts_of(model)


@every_family
def test_linear_layers_are_listed_with_their_widths(backbone: Backbone) -> None:
    model = backbone.build()
    widths = parts_of(model).linear
    seen: dict[str, tuple[int, int]] = {}
    for name in widths:

        def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            seen[name] = (inputs[0].shape[-1], output.shape[-1])

        model.get_submodule(name).register_forward_hook(note)
    model(**backbone.inputs(2, 0))
    uncalled = NOT_CALLED.get(backbone.name, ())
    assert seen == {name: width for name, width in widths.items() if name.rpartition(".")[2] not in uncalled}


def test_gpt2_linear_layers_are_found_although_they_are_no_linear() -> None:
    assert parts_of(BY_NAME["gpt2"].build()).linear["transformer.h.0.attn.c_attn"] == (32, 96)


def test_a_pooler_inside_of_the_body_belongs_to_the_head() -> None:
    assert parts_of(BY_NAME["bert"].build()).head == ("bert.pooler", "classifier")


def test_a_norm_between_encoder_and_decoder_joins_the_last_block_of_the_encoder() -> None:
    parts = parts_of(BY_NAME["t5"].build())
    assert parts.blocks[1] == ("transformer.encoder.block.1", "transformer.encoder.final_layer_norm")
    assert parts.final_norm == ("transformer.decoder.final_layer_norm",)


def test_downsampling_joins_the_block_after_it() -> None:
    swin, convnext = (parts_of(BY_NAME[name].build()) for name in ("swin", "convnext"))
    assert swin.blocks[1] == ("swin.encoder.layers.0.downsample", "swin.encoder.layers.1.blocks.0")
    assert [name.removeprefix("convnext.encoder.stages.1.") for name in convnext.blocks[1]] == [
        "downsampling_layer.0",
        "downsampling_layer.1",
        "layers.0",
    ]


def test_a_parameter_that_a_container_owns_stands_by_its_own_name() -> None:
    assert "wav2vec2.masked_spec_embed" in parts_of(BY_NAME["wav2vec2"].build()).stem


def test_the_norm_of_stable_wav2vec2_comes_after_the_blocks() -> None:
    config = BY_NAME["wav2vec2"].build().config
    config.do_stable_layer_norm = True
    parts = parts_of(BY_NAME["wav2vec2"].kind.from_config(config))
    assert parts.final_norm == ("wav2vec2.encoder.layer_norm",)


def test_weights_over_the_layers_belong_to_the_head() -> None:
    for name in ("wav2vec2", "whisper"):
        config = BY_NAME[name].build().config
        config.use_weighted_layer_sum = True
        assert "layer_weights" in parts_of(BY_NAME[name].kind.from_config(config)).head


@pytest.mark.parametrize(
    ("family", "blocks", "final_norm"),
    [
        ("electra", 12, ()),
        ("albert", 1, ()),
        ("mpnet", 12, ()),
        ("xlm-roberta", 12, ()),
        ("camembert", 12, ()),
        ("deberta", 12, ()),
        ("mistral", 32, ("norm",)),
        ("gemma", 28, ("norm",)),
        ("phi", 24, ("final_layernorm",)),
        ("phi3", 32, ("norm",)),
        ("qwen3", 32, ("norm",)),
        ("gpt_neox", 44, ("final_layer_norm",)),
        ("gpt_neo", 24, ("ln_f",)),
        ("bloom", 2, ("ln_f",)),
        ("opt", 12, ("decoder.final_layer_norm",)),
        ("mt5", 16, ("decoder.final_layer_norm",)),
        ("pegasus", 24, ("decoder.layer_norm",)),
        ("marian", 24, ()),
        ("m2m_100", 24, ("decoder.layer_norm",)),
        ("whisper", 8, ("decoder.layer_norm",)),
        ("beit", 12, ("layernorm",)),
        ("deit", 12, ("layernorm",)),
        ("dinov2", 12, ("layernorm",)),
        ("siglip_vision_model", 12, ("post_layernorm",)),
        ("mobilenet_v2", 16, ("conv_1x1",)),
        ("regnet", 22, ()),
        ("segformer", 8, ("stages.3.layer_norm",)),
        ("hubert", 12, ()),
        ("wavlm", 12, ()),
    ],
)
def test_blocks_of_other_families(family: str, blocks: int, final_norm: tuple[str, ...]) -> None:
    with torch.device("meta"):
        parts = parts_of(random_model(AutoModel, family))
    assert len(parts.blocks) == blocks
    assert parts.final_norm == final_norm
    assert set(memberships(parts).values()) == {1}


def test_a_model_without_a_base_model_has_its_head_among_its_own_modules() -> None:
    assert parts_of(BY_NAME["whisper"].build()).head == ("projector", "classifier")


def test_a_head_that_only_shares_the_embeddings_is_no_part_of_its_own() -> None:
    parts = parts_of(random_model(AutoModelForSeq2SeqLM, "t5", **BY_NAME["t5"].options))
    assert parts.head == ()
    assert "shared" in parts.stem


def test_a_head_tied_to_the_embeddings_counts_to_the_stem_once() -> None:
    model = random_model(AutoModelForMaskedLM, "xlm-roberta", vocab_size=VOCABULARY, hidden_size=24)
    parts = parts_of(model)
    tied = next(n for n, p in model.named_parameters() if p is model.get_input_embeddings().weight)
    assert tied.startswith("lm_head")
    assert tied in parts.stem
    assert parts.depth(tied) == 0
    assert set(memberships(parts).values()) == {1}


def test_an_unknown_family_is_seen_by_its_largest_list_of_layers() -> None:
    small = {"vocab_size": VOCABULARY, "d_model": 32, "num_layers": 3, "attention_heads": 2, "ffn_dim": 48}
    parts = parts_of(random_model(AutoModel, "xglm", **small))
    assert parts.blocks == (("layers.0",), ("layers.1",), ("layers.2",))
    assert parts.final_norm == ("layer_norm",)


class Unlayered(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A transformers model without any list of layers."""

    config_class = type(AutoConfig.for_model("bert"))

    def __init__(self) -> None:
        super().__init__(AutoConfig.for_model("bert"))
        self.only = nn.Linear(2, CLASSES)


def test_a_model_without_blocks_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"Unlayered.*no list of layers"):
        parts_of(Unlayered())


def test_a_model_from_elsewhere_is_refused() -> None:
    with pytest.raises(ModelError, match="Linear is no transformers model"):
        parts_of(nn.Linear(2, 2))


def test_fresh_parameters_are_found_under_the_names_that_peft_gives_them() -> None:
    model = BY_NAME["bert"].build()
    fresh = ("bert.encoder.layer.0.output.dense.weight", "classifier.bias", "classifier.weight")
    plain = parts_of(model, fresh)
    assert set(plain.fresh) == set(fresh)
    assert set(parts_of(with_lora(model, plain), fresh).fresh) == {
        "base_model.model.bert.encoder.layer.0.output.dense.base_layer.weight",
        "base_model.model.classifier.modules_to_save.default.bias",
        "base_model.model.classifier.modules_to_save.default.weight",
    }


def test_the_body_is_found_through_the_wrapping() -> None:
    model = BY_NAME["bert"].build()
    assert body_of(model) == "bert"
    assert body_of(with_lora(model, parts_of(model))) == "base_model.model.bert"
    assert body_of(BY_NAME["whisper"].build()) == ""


@every_family
def test_no_dropout_is_left_once_it_is_set_to_zero(backbone: Backbone) -> None:
    model = backbone.build().train()
    inputs = backbone.inputs(4, 0)
    drops = backbone.name not in {"resnet", "convnext"}
    assert torch.equal(model(**inputs).logits, model(**inputs).logits) is not drops
    assert (set_dropout(model, 0.0) > 0) is drops
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)


def test_setting_dropout_counts_only_what_changes() -> None:
    model = BY_NAME["bart"].build()
    encoder, decoder, head = 1 + 2 * 3, 1 + 2 * 4, 1
    assert set_dropout(model, 0.25) == encoder + decoder + head
    assert set_dropout(model, 0.25) == 0
    assert {model.model.decoder.dropout, model.model.decoder.layers[0].self_attn.dropout} == {0.25}
    assert model.model.decoder.layerdrop == 0.0


class StableDropout(nn.Module):
    """A dropout of a model's own, as older DeBERTa code has it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_prob = 0.1


def test_dropout_of_a_models_own_making_is_set_and_stochastic_depth_is_not() -> None:
    class DropPath(StableDropout):
        """Drops a whole residual branch."""

    model = nn.Sequential(StableDropout(), DropPath(), nn.LSTM(2, 2, num_layers=2, dropout=0.5))
    assert set_dropout(model, 0.0) == 2
    assert [module.drop_prob for module in model if isinstance(module, StableDropout)] == [0.0, 0.1]

"""Blocks that are removed, added, or start anew."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import whet
from tests.contracts.backbones import BACKBONES, Backbone
from whet.core import Loaded
from whet.errors import ModelError
from whet.methods.head import Head
from whet.model.parts import parts_of
from whet.model.surgery import operate
from whet.sections import Surgery

NAMED = {backbone.name: backbone for backbone in BACKBONES}
WITHOUT_LAST = {"t5", "bart", "resnet", "convnext", "swin"}
"""Backbones whose last block cannot be removed."""


def loaded(backbone: Backbone) -> Loaded:
    return Loaded(backbone.build(), None, backbone.name, "folder", ())


@pytest.mark.parametrize("name", sorted(set(NAMED) - WITHOUT_LAST))
def test_a_model_without_its_last_block_is_a_plain_model_with_the_other_blocks(name: str, tmp_path: Path) -> None:
    whole = NAMED[name].build()
    shorter = operate(loaded(NAMED[name]), Surgery(drop_blocks=1)).model
    assert len(parts_of(shorter).blocks) == len(parts_of(whole).blocks) - 1
    before = whole.state_dict()
    assert all(torch.equal(tensor, before[key]) for key, tensor in shorter.state_dict().items())
    shorter.save_pretrained(tmp_path)
    again = type(whole).from_pretrained(tmp_path)
    inputs = NAMED[name].inputs(4, 0)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, shorter(**inputs).logits)


@pytest.mark.parametrize("name", ["bert", "vit", "llama", "wav2vec2"])
def test_what_is_left_computes_what_it_computed_before(name: str) -> None:
    inputs = NAMED[name].inputs(4, 0)
    with torch.no_grad():
        whole = NAMED[name].build()(**inputs, output_hidden_states=True).hidden_states
        shorter = operate(loaded(NAMED[name]), Surgery(drop_blocks=1)).model
        # A final norm follows the last block: what goes into that block is what came out of the one before it.
        assert torch.equal(shorter(**inputs, output_hidden_states=True).hidden_states[-2], whole[-3])


@pytest.mark.parametrize("name", sorted(WITHOUT_LAST))
def test_blocks_that_cannot_be_removed_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"surgery.drop_blocks: the blocks of .* leave surgery.drop_blocks out"):
        operate(loaded(NAMED[name]), Surgery(drop_blocks=1))


@pytest.mark.parametrize(("wanted", "words"), [({"drop_blocks": 3}, "at most 2"), ({"reinitialise": 4}, "'scratch'")])
def test_more_blocks_than_there_are_are_refused(wanted: dict[str, int], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        operate(loaded(NAMED["bert"]), Surgery(**wanted))


@pytest.mark.parametrize("backbone", BACKBONES, ids=repr)
def test_the_last_block_starts_anew_and_counts_as_fresh(backbone: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.build().state_dict().items()}
    torch.manual_seed(1)
    operated = operate(loaded(backbone), Surgery(reinitialise=1))
    parts = parts_of(operated.model, operated.fresh)
    last = parts.under(parts.blocks[-1])
    assert last
    assert set(parts.fresh) == last
    after = operated.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed <= last
    assert {name for name in last if name.endswith(".weight") and len(before[name].shape) > 1} <= changed
    torch.manual_seed(1)
    again = operate(loaded(backbone), Surgery(reinitialise=1)).model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in after.items())


# --- blocks that are added ----------------------------------------------------------------------------------------

EXPANDABLE = ["gpt2", "llama", "qwen2", "modernbert", "vit", "whisper", "audio-spectrogram-transformer"]
"""Backbones that normalise what an attention or a feed-forward reads, and not what the two have added up."""


@pytest.mark.parametrize("name", EXPANDABLE)
@pytest.mark.parametrize("count", [1, 2])
def test_a_model_with_more_blocks_answers_the_same_and_is_a_plain_model(name: str, count: int, tmp_path: Path) -> None:
    whole = NAMED[name].build()
    larger = operate(loaded(NAMED[name]), Surgery(insert=count)).model
    assert len(parts_of(larger).blocks) == len(parts_of(whole).blocks) + count
    larger.save_pretrained(tmp_path)
    again = type(whole).from_pretrained(tmp_path)
    inputs = NAMED[name].inputs(4, 0)
    with torch.no_grad():
        expected = whole(**inputs).logits
        assert torch.equal(larger(**inputs).logits, expected)
        assert torch.equal(again(**inputs).logits, expected)


def test_added_blocks_are_copies_of_those_below_whose_last_layers_are_zero() -> None:
    before = NAMED["llama"].build().state_dict()
    operated = operate(loaded(NAMED["llama"]), Surgery(insert=2))
    after = operated.model.state_dict()
    # Two groups of three blocks: one of the first, one of the others.
    sources = [0, 0, 1, 2, 2]
    zero = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
    for number, source in enumerate(sources):
        added = number > 0 and source == sources[number - 1]
        for name in (name for name in before if name.startswith(f"model.layers.{source}.")):
            inside = name.removeprefix(f"model.layers.{source}.")
            found = after[f"model.layers.{number}.{inside}"]
            if added and inside in zero:
                assert not found.any()
            else:
                assert torch.equal(found, before[name])
    parts = parts_of(operated.model, operated.fresh)
    assert set(parts.fresh) == parts.under([*parts.blocks[1], *parts.blocks[4]])


def test_fresh_parameters_keep_their_names_and_head_trains_them_and_what_was_added() -> None:
    plain = NAMED["gpt2"].build()
    told = Loaded(plain, None, "gpt2", "folder", ("score.weight",))
    operated = operate(told, Surgery(insert=1))
    parts = parts_of(operated.model, operated.fresh)
    (stage,) = Head().stages(parts)
    assert stage.mask == parts.under(["score", *parts.blocks[-1]])


@pytest.mark.parametrize("name", sorted(set(NAMED) - set(EXPANDABLE)))
def test_where_no_added_block_leaves_the_answers_as_they_are_it_is_refused(name: str) -> None:
    told = loaded(NAMED[name])
    # As trained norms are: what one of weight 1 and bias 0 returns another one leaves as it is.
    with torch.no_grad():
        for parameter in told.model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(ModelError, match=r"surgery.insert: .*leave surgery.insert out"):
        operate(told, Surgery(insert=1))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"insert": 4}, "add at most 3"),
        ({"insert": 1, "drop_blocks": 1}, "leave one out"),
        ({"insert": 1, "reinitialise": 1}, "leave one out"),
    ],
)
def test_blocks_that_cannot_be_added_are_refused(wanted: dict[str, int], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        operate(loaded(NAMED["llama"]), Surgery(**wanted))


def test_a_model_with_an_added_block_is_trained_saved_and_opened_by_transformers(
    questions: Path, tiny_decoder: Path, tmp_path: Path
) -> None:
    run = whet.train(
        {"data": str(questions), "model": str(tiny_decoder), "task": "causal_lm"},
        surgery={"insert": 1},
        method={"name": "mask", "train": ["model.layers.2.*"]},
        training={"steps": 3},
        out=tmp_path / "run",
        quiet=True,
    )
    model = AutoModelForCausalLM.from_pretrained(run.folder / "model")
    assert model.config.num_hidden_layers == 3
    plain = AutoModelForCausalLM.from_pretrained(tiny_decoder).state_dict()
    after = model.state_dict()
    changed = {name for name in after if name not in plain or not torch.equal(after[name], plain[name])}
    assert changed == {name for name in after if name.startswith("model.layers.2.")}

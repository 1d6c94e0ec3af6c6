"""Blocks that are removed or start anew."""

from pathlib import Path

import pytest
import torch

from tests.contracts.backbones import BACKBONES, Backbone
from whet.core import Loaded
from whet.errors import ModelError
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

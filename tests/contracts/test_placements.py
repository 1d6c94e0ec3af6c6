"""The laws of the methods for adapters in the places where they are not by default."""

import pytest

from tests.contracts.arena import Fight
from tests.contracts.backbones import BACKBONES
from tests.contracts.test_methods import (
    test_cost_is_the_real_count,
    test_every_trainable_tensor_gets_a_gradient_and_nothing_else_does,
    test_one_forward_pass_or_many_take_the_same_step,
    test_only_the_mask_trains_and_the_rest_stays_bit_equal,
    test_output_is_unchanged_right_after_attach,
    test_saved_and_loaded_gives_the_same_output,
)
from whet.errors import ModelError
from whet.model.parts import parts_of

pytestmark = pytest.mark.laws

__all__ = [
    "test_cost_is_the_real_count",
    "test_every_trainable_tensor_gets_a_gradient_and_nothing_else_does",
    "test_one_forward_pass_or_many_take_the_same_step",
    "test_only_the_mask_trains_and_the_rest_stays_bit_equal",
    "test_output_is_unchanged_right_after_attach",
    "test_saved_and_loaded_gives_the_same_output",
]

WITHOUT = {"houlsby": ("resnet", "convnext", "wavlm"), "parallel": ("resnet",)}
PLACED = [
    (Fight(b, "adapter", {"placement": p, "bottleneck": 6}), b.name in WITHOUT[p]) for p in WITHOUT for b in BACKBONES
]


def told(fight: Fight) -> str:
    return f"{fight.options['placement']}-{fight.backbone}"


@pytest.fixture(params=[fight for fight, refused in PLACED if not refused], ids=told)
def fight(request: pytest.FixtureRequest) -> Fight:
    chosen: Fight = request.param
    return chosen


@pytest.mark.parametrize("fight", [fight for fight, refused in PLACED if refused], ids=told)
def test_a_model_without_such_a_place_is_refused(fight: Fight) -> None:
    plain = fight.backbone.build()
    with pytest.raises(ModelError, match=f"{fight.backbone} has none.*; choose 'pfeiffer'"):
        fight.method.attach(plain, parts_of(plain))
    with pytest.raises(ModelError, match="has none"):
        fight.method.cost(parts_of(plain))

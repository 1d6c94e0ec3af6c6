"""What IA3 promises beyond the laws."""

import pytest
import torch
from torch import nn

from tests.contracts.arena import SETTINGS, Fight, run
from tests.engine.jobs import BY_NAME
from whet.events import Finished

FUSED = {"gpt2": "transformer.h.0.attn.c_attn", "modernbert": "model.layers.0.attn.Wqkv"}


@pytest.mark.parametrize("family", FUSED)
def test_queries_stay_where_one_layer_computes_keys_and_values_too(family: str) -> None:
    job = Fight(BY_NAME[family], "ia3", {}).job(SETTINGS)
    assert isinstance(run(job)[-1], Finished)
    layer = job.model.get_submodule(f"base_model.model.{FUSED[family]}")
    inputs = torch.randn(4, 32)
    with torch.no_grad():
        scales = (layer(inputs) / layer.get_submodule("base_layer")(inputs)).mean(0)
    assert torch.allclose(scales[:32], torch.ones(32))
    keys, values = (scales[32:] - 1).abs().chunk(2)
    assert min(keys.mean(), values.mean()) > 1e-3


def test_keys_and_values_are_scaled_as_they_leave_and_the_feed_forward_as_it_enters() -> None:
    model, _ = Fight(BY_NAME["bert"], "ia3", {}).attached()
    block = model.get_submodule("base_model.model.bert.encoder.layer.1")
    inputs = torch.randn(4, 32)
    for name, width in (("attention.self.key", 32), ("attention.self.value", 32), ("output.dense", 48)):
        layer = block.get_submodule(name)
        vector, base = layer.get_parameter("ia3_l.default"), layer.get_submodule("base_layer")
        assert vector.numel() == width
        nn.init.uniform_(vector, 0.5, 2.0)
        given = inputs if width == 32 else torch.randn(4, 48)
        expected = base(given * vector.flatten()) if name == "output.dense" else base(given) * vector.flatten()
        assert torch.allclose(layer(given), expected)
    assert not isinstance(block.get_submodule("attention.self.query"), type(block.get_submodule("attention.self.key")))


def test_vectors_do_not_decay() -> None:
    job = Fight(BY_NAME["bert"], "ia3", {}).job(SETTINGS)
    (stage,) = job.stages
    assert stage.undecayed == {name for name in stage.mask if ".ia3_l." in name}
    assert len(stage.undecayed) == 3 * 3

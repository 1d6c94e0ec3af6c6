"""Models that tag tokens, of many families: a number for each tag and token, with every method that adds tokens."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel

from tests.contracts.backbones import BACKBONES, text_inputs
from whet import catalog
from whet.model.heads import HEADS
from whet.model.parts import parts_of

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
TAGS = 5
TEXTS = [
    name
    for name, backbone in BY_NAME.items()
    if backbone.inputs is text_inputs and name in HEADS["TokenClassification"].families
]


def build(name: str) -> PreTrainedModel:
    config = BY_NAME[name].build().config
    config.num_labels = TAGS
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForTokenClassification.from_config(config)  # type: ignore[no-untyped-call]
    model.train(False)
    return model


def test_there_are_many_families() -> None:
    assert len(TEXTS) >= 8


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("method", [None, "prompt", "prefix", "p_tuning", "lora", "adapter"])
def test_there_is_a_number_for_each_tag_and_token(name: str, method: str | None) -> None:
    model: Any = build(name)
    parts = parts_of(model)
    assert parts.head
    assert not parts.speaks
    if method is not None:
        options = {"length": 3} if method in ("prompt", "prefix", "p_tuning") else {}
        chosen = catalog.build("method", method, options)
        model = chosen.attach(model, parts).eval()
        assert any("modules_to_save" in parameter for parameter in chosen.stages(parts_of(model))[0].mask)
    inputs = text_inputs(3, 0)
    with torch.no_grad():
        logits = model(**inputs).logits
        alone = model(
            **{key: value[1:2, : int(inputs["attention_mask"][1].sum())] for key, value in inputs.items()}
        ).logits
    assert logits.shape == (3, 9, TAGS)
    # Where a token stands in its row, not in the batch, its answer stands.
    torch.testing.assert_close(logits[1, : alone.shape[1]], alone[0], atol=1e-4, rtol=1e-3)

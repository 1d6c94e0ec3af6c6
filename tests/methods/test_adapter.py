"""What adapters promise beyond the laws of all methods: counts by the papers' formulas, and runs from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import whet
from whet import catalog
from whet.core import Parts
from whet.errors import ModelError
from whet.model.parts import parts_of
from whet.protocols import Method

L, D, M = 24, 1024, 64
ONE = 2 * D * M + M + D
"""Numbers of one adapter."""
HEAD = D * D + D + 2 * D + 2
"""Numbers of BERT's pooler and of a classifier of two classes."""


@pytest.fixture(scope="module")
def bert_large() -> Parts:
    config = AutoConfig.for_model(
        "bert", hidden_size=D, num_hidden_layers=L, num_attention_heads=16, intermediate_size=4 * D
    )
    with torch.device("meta"):
        return parts_of(AutoModelForSequenceClassification.from_config(config))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("options", "adapters"),
    [
        ({"placement": "houlsby", "bottleneck": M}, L * 2 * ONE + L * 4 * D),
        ({"placement": "pfeiffer"}, L * ONE),
        ({"placement": "parallel", "bottleneck": M}, L * ONE),
        ({"reduction": 1024}, L * (2 * D + 1 + D)),
        ({"reduction": 5000}, L * (2 * D + 1 + D)),
    ],
)
def test_counts_are_those_of_the_papers(bert_large: Parts, options: dict[str, object], adapters: int) -> None:
    method: Method = catalog.build("method", "adapter", options)
    cost = method.cost(bert_large)
    assert cost.trainable == cost.stored == adapters + HEAD
    assert cost.total == bert_large.count(frozenset(bert_large.parameters)) + cost.trainable


def test_houlsby_trains_few_per_cent_of_bert_large(bert_large: Parts) -> None:
    method: Method = catalog.build("method", "adapter", {"placement": "houlsby", "bottleneck": M})
    share = (method.cost(bert_large).trainable - HEAD) / bert_large.count(frozenset(bert_large.parameters))
    assert share == pytest.approx(0.0193, abs=1e-4)


def test_a_model_with_experts_instead_of_a_feed_forward_is_refused() -> None:
    config = AutoConfig.for_model("mixtral", hidden_size=32, num_hidden_layers=1, vocab_size=64, num_local_experts=2)
    with torch.device("meta"):
        parts = parts_of(AutoModelForSequenceClassification.from_config(config))  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match=r"neither a feed-forward .* choose method 'lora'"):
        catalog.build("method", "adapter", {}).cost(parts)


OPEN = """
import sys
import whet
assert "torch" not in sys.modules and "peft" not in sys.modules
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
model = AutoPeftModelForSequenceClassification.from_pretrained(sys.argv[1], num_labels=2).eval()
tokens = AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2], return_tensors="pt")
print(model(**tokens).logits[0].softmax(-1).tolist())
"""
TEXT = "the film was kind"


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["pfeiffer", "houlsby", "parallel"])
def test_a_run_predicts_and_leaves_an_adapter_that_peft_opens(
    placement: str, reviews: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = whet.train(
        reviews,
        model=str(tiny_model),
        method={"name": "adapter", "placement": placement, "bottleneck": 8},
        training={"epochs": 2, "learning_rate": 0.01},
        out=tmp_path / "run",
        quiet=True,
    )
    assert "import whet" in (run.folder / "README.md").read_text()
    command = [sys.executable, "-c", OPEN, str(run.folder / "model"), TEXT]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    scores = run.predict([TEXT])[0].scores
    assert json.loads(ended.stdout.splitlines()[-1]) == pytest.approx([scores["bad"], scores["good"]], abs=1e-6)

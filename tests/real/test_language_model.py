"""A real pre-trained language model learns another language of texts, and says which of them it learned."""

from pathlib import Path

import pytest

import whet

SHARED = Path(__file__).parents[3] / "shared"
STORIES = SHARED / "models" / "llama-stories260k"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not STORIES.is_dir(), reason="the public models do not lie beside the checkout"),
]


@pytest.mark.parametrize(
    ("method", "most"), [("full", 0.75), ("lora", 0.75), ("adapter", 0.82), ("prefix", 0.9), ("p_tuning", 0.985)]
)
def test_stories_become_plays(method: str, most: float, tmp_path: Path) -> None:
    """``most`` is the share of the pre-trained model's loss that may be left."""
    recipe = {
        "data": {"train": str(SHARED / "data" / "tinyshakespeare")},
        "model": str(STORIES),
        "task": {"name": "causal_lm", "max_length": 128, "samples": 1},
        "method": method,
        "training": {"steps": 60, "batch_size": 16},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["loss"] < most * run.metrics["baselines"]["pretrained"]["loss"]


def test_added_blocks_alone_learn_plays(tmp_path: Path) -> None:
    recipe = {
        "data": {"train": str(SHARED / "data" / "tinyshakespeare")},
        "model": str(STORIES),
        "task": {"name": "causal_lm", "max_length": 128, "samples": 1},
        "surgery": {"insert": 2},
        "method": "head",
        "training": {"steps": 60, "batch_size": 16},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.metrics["trainable_parameters"] < 0.3 * run.metrics["total_parameters"]
    assert run.test["loss"] < 0.7 * run.metrics["baselines"]["pretrained"]["loss"]


def test_instructions_and_chats_of_others_are_read_right(tmp_path: Path) -> None:
    for name, options in (("toolcall_chat_en", {"template": "plain"}), ("alpaca_en_demo", {})):
        folder = SHARED / "data" / name
        recipe = {
            "data": {"train": str(folder / "train.jsonl"), "test": str(folder / "test.jsonl"), "incomplete": "drop"},
            "model": str(STORIES),
            "task": {"name": "causal_lm", "samples": 2, "new_tokens": 16, **options},
            "training": {"steps": 15, "batch_size": 8},
        }
        run = whet.train(recipe, out=tmp_path / name, quiet=True)
        assert run.test["loss"] < run.metrics["baselines"]["pretrained"]["loss"]


def test_results_of_arithmetic_are_compared_behind_their_sign(tmp_path: Path) -> None:
    folder = SHARED / "data" / "gsm8k"
    recipe = {
        "data": {"train": str(folder / "validation.jsonl"), "validation_share": 0.1},
        "model": str(STORIES),
        "task": {"name": "causal_lm", "samples": 3, "new_tokens": 8},
        "training": {"steps": 5, "batch_size": 8},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["exact_match"] == 0.0
    assert run.metrics["test"]["perplexity"] > 1

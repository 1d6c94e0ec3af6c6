"""A known surprise: at Adam's 0.01 a fine-tuned network loses to random weights, and R001 says why beforehand."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import whet
from whet.checks.runner import suspicious
from whet.run.folder import RunFolder

SHARED = Path(__file__).parents[3] / "shared"
DATA, MOBILENET = SHARED / "data" / "cifar10", SHARED / "models" / "mobilenetv2-0.35-224-imagenet-backbone"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets do not lie beside the checkout"),
    pytest.mark.skipif(not MOBILENET.is_dir(), reason="the public models do not lie beside the checkout"),
]

HABIT = 0.01
"""The rate at which many train small networks."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Aeroplanes and frogs: 600 pictures to learn from, 400 to be measured on."""
    folder = tmp_path_factory.mktemp("two")
    for part, count in (("train", 600), ("test", 400)):
        rows = pq.read_table(DATA / f"{part}.parquet")
        chosen = rows.filter(pc.is_in(rows["label"], value_set=pa.array(["airplane", "frog"])))
        pq.write_table(chosen.slice(0, count), folder / f"{part}.parquet")
    return {
        "data": {"train": str(folder / "train.parquet"), "test": str(folder / "test.parquet")},
        "model": str(MOBILENET),
        "task": {"name": "image_classification", "size": 64},
        "training": {"epochs": 3, "batch_size": 32},
    }


def test_pre_training_loses_at_a_hundredth_and_wins_at_its_own_rate(recipe: dict[str, Any], tmp_path: Path) -> None:
    # Measured with these rows: 0.500, 0.850 and 0.933; the standard error of 400 rows is 2.5 points at most.
    habit = {"learning_rate": HABIT}
    high = whet.train(recipe, method="full", training=habit, out=tmp_path / "high", quiet=True)
    scratch = whet.train(recipe, method="scratch", training=habit, out=tmp_path / "scratch", quiet=True)
    advised = whet.train(recipe, method="full", out=tmp_path / "advised", quiet=True)
    assert high.test["accuracy"] < scratch.test["accuracy"] - 0.15
    assert advised.test["accuracy"] > scratch.test["accuracy"] + 0.03
    found = {run.folder.name: suspicious(RunFolder.open(run.folder).recipe()) for run in (high, scratch, advised)}
    assert [finding.id for finding in found["high"]] == ["R001"]
    assert "200 times" in found["high"][0].what
    assert (found["scratch"], found["advised"]) == ([], [])
    stored = json.loads((high.folder / "findings.json").read_text())["findings"]
    assert [finding["id"] for finding in stored] == ["R001"]


def test_a_range_test_finds_a_rate_below_the_harmful_one(recipe: dict[str, Any], tmp_path: Path) -> None:
    found = whet.range_test(recipe, method="full", out=tmp_path / "rates", quiet=True).found
    assert found.suggestion is not None
    assert 1e-5 <= found.suggestion <= HABIT / 5

import json
from pathlib import Path

from tests.cli.conftest import Whet, assert_told


def test_a_plan_has_a_line_for_each_method(whet: Whet, tiny_model: Path, reviews: Path) -> None:
    ended = whet("plan", reviews, "--model", tiny_model, "--method", "full", "--method", "lora", "--terms")
    assert ended.code == 0
    for word in ("full", "lora", "100%", "activations", "runtime", "yes", "no weight was read"):
        assert word in ended.out


def test_a_plan_as_json(whet: Whet, tiny_model: Path, reviews: Path) -> None:
    ended = whet("plan", reviews, "--model", tiny_model, "--method", "head", "--json")
    told = json.loads(ended.out)
    assert told["rows"] == 48
    assert told["methods"][0]["memory"]["total"] > 0


def test_a_config_is_enough(whet: Whet, tiny_decoder: Path) -> None:
    ended = whet(
        "plan", "--config", tiny_decoder / "config.json", "--memory", "1KB", "--batch", 2, "--length", 32, "--rows", 10
    )
    assert ended.code == 0
    assert "no" in ended.out
    assert "Not with this model" in ended.out


def test_nonsense_is_refused_before_torch_is_loaded(whet: Whet, folder: Path) -> None:
    assert_told(whet("plan"), "name a data file or a recipe")
    assert_told(whet("plan", "--config", "absent.json"), "absent.json", "there is no such file")
    assert_told(whet("plan", "--set", "training.epochs=5"), "--set")
    assert_told(whet("plan", "rows.csv", "--set", "training.epoch=5"), "did you mean")

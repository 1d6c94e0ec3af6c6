"""Runs with a base in 4 bits, from a file to answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import whet
from tests.conftest import sentences, write_csv
from tests.verbs.test_train import stopped
from whet.verbs.run import Run

pytest.importorskip("bitsandbytes")


def recipe(reviews: Path, model: Path) -> dict[str, Any]:
    method = {"name": "qlora", "rank": 2, "kind": "fp4"}
    training = {"epochs": 2, "learning_rate": 0.01, "checkpoint_every": 2}
    return {"data": {"train": str(reviews)}, "model": str(model), "method": method, "training": training}


def test_a_run_answers_from_its_folder_as_it_did_when_it_was_measured(
    reviews: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = whet.train(recipe(reviews, tiny_model), out=tmp_path / "run", quiet=True)
    told = json.loads((run.folder / "model" / "quantization_config.json").read_text())
    assert (told["bnb_4bit_quant_type"], told["bnb_4bit_use_double_quant"]) == ("fp4", True)
    assert set(told["llm_int8_skip_modules"]) == {"bert.pooler.dense", "classifier"}
    assert "quantization_config=config" in (run.folder / "README.md").read_text()
    texts = ["the film was kind", "so dull"]
    rows = write_csv(tmp_path / "more.csv", ["text", "label"], sentences(40))
    again = Run(run.folder)
    assert again.predict(texts) == run.predict(texts)
    assert [answer.label for answer in again.predict(rows)] == [answer.label for answer in run.predict(rows)]
    assert again.evaluate(rows).scores == run.evaluate(rows).scores


def test_a_run_that_was_stopped_ends_at_the_very_weights(reviews: Path, tiny_model: Path, tmp_path: Path) -> None:
    wanted = recipe(reviews, tiny_model)
    whole = whet.train(wanted, out=tmp_path / "whole", quiet=True)
    stopped(wanted, tmp_path / "broken", 3)
    resumed = whet.resume(tmp_path / "broken", quiet=True)
    expected, found = (load_file(run.folder / "model" / "adapter_model.safetensors") for run in (whole, resumed))
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())

"""Folders that cannot be what they are named for: damaged models, taken run folders, a run that fails."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from tests.cli.conftest import Whet, assert_told, tree
from tests.cli.test_bad_input import GOOD, scores


def without_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def without_config(model: Path) -> None:
    (model / "config.json").unlink()


def without_tokenizer(model: Path) -> None:
    for path in model.glob("tokenizer*"):
        path.unlink()


def cut_short(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without_header(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])


def pickled(model: Path) -> None:
    without_weights(model)
    torch.save({}, model / "pytorch_model.bin")


def broken_config(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "bert", ')


def foreign_architecture(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "brt"}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_weights, ("no model.safetensors", "fetch")),
        (without_config, ("no config.json",)),
        (without_tokenizer, ("no tokenizer", "fetch it")),
        (cut_short, ("model.safetensors is damaged or cut short", "fetch it anew")),
        (without_header, ("model.safetensors is damaged or cut short", "fetch it anew")),
        (pickled, ("only pytorch_model.bin", "may run code", "convert them once")),
        (broken_config, ("config.json is not valid JSON: line 1",)),
        (foreign_architecture, ("model type 'brt'", "did you mean")),
    ],
)
def test_a_spoilt_model_folder_is_refused(
    spoil: Callable[[Path], None], words: tuple[str, ...], whet: Whet, folder: Path, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, folder / "model")
    spoil(folder / "model")
    (folder / "data.csv").write_bytes(GOOD)
    before = tree(folder)
    ended = whet("train", "data.csv", "--model", "model")
    assert ended.code == 2, ended
    assert_told(ended, "model", *words)
    assert tree(folder) == before


def test_a_model_of_the_hub_without_a_network_is_told(
    whet: Whet, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (folder / "data.csv").write_bytes(GOOD)
    ended = whet("train", "data.csv", "--model", "nobody/nothing")
    assert ended.code == 2, ended
    assert_told(ended, "model 'nobody/nothing'", "cannot be fetched", "name a folder")


def test_a_folder_that_exists_is_never_overwritten(whet: Whet, folder: Path, finished_run: Path) -> None:
    (folder / "data.csv").write_bytes(GOOD)
    before = tree(finished_run)
    ended = whet("train", "data.csv", "--out", finished_run)
    assert ended.code == 2, ended
    assert_told(ended, str(finished_run), "never overwritten", "--out")
    assert tree(finished_run) == before


def test_a_run_folder_inside_a_file_is_refused(whet: Whet, folder: Path, tiny_model: Path) -> None:
    (folder / "data.csv").write_bytes(GOOD)
    ended = whet("train", "data.csv", "--model", tiny_model, "--out", "data.csv/run")
    assert ended.code == 2, ended
    assert_told(ended, "data.csv/run cannot be made", "--out")
    assert tree(folder) == {"data.csv": GOOD}


def test_a_run_folder_where_nothing_may_be_written_is_refused(whet: Whet, folder: Path, tiny_model: Path) -> None:
    (folder / "data.csv").write_bytes(GOOD)
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    ended = whet("train", "data.csv", "--model", tiny_model, "--out", "locked/run")
    assert ended.code == 2, ended
    assert_told(ended, "locked/run cannot be made", "Permission denied", "--out")


def test_a_run_that_diverges_keeps_its_earlier_checkpoints(whet: Whet, folder: Path, tiny_model: Path) -> None:
    (folder / "data.csv").write_bytes(scores())
    wild = {"optimizer": "sgd", "learning_rate": 9, "max_gradient_norm": "null", "warmup": 0, "checkpoint_every": 1}
    options = [part for key, value in wild.items() for part in ("--set", f"training.{key}={value}")]
    ended = whet("train", "data.csv", "--model", tiny_model, "--method", "head", "--out", "run", *options)
    assert ended.code == 1, ended
    assert_told(ended, "at learning rate", "training.learning_rate=0.9")
    assert list((folder / "run" / "checkpoints").glob("step-*"))
    assert not (folder / "run" / "metrics.json").exists()

"""Plans of every task: what each reads is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import sounds
from tests.conftest import sentences
from tests.pictures import class_folders
from tests.pictures import tiny_model as picture_model
from whet.verbs.plan import plan


def tags(folder: Path, tiny_model: Path, tiny_decoder: Path) -> dict[str, Any]:
    path = folder / "tags.jsonl"
    rows = [{"tokens": t.split(), "tags": ["O"] * (len(t.split()) - 1) + ["B-X"]} for t, _ in sentences(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return {"data": str(path), "model": str(tiny_model), "task": "token_classification"}


def texts(folder: Path, tiny_model: Path, tiny_decoder: Path) -> dict[str, Any]:
    path = folder / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text, _ in sentences(60)))
    return {"data": str(path), "model": str(tiny_decoder), "task": "causal_lm"}


def prompts(folder: Path, tiny_model: Path, tiny_decoder: Path) -> dict[str, Any]:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": t, "completion": label}) for t, label in sentences(40)))
    return {"data": str(path), "model": str(tiny_decoder), "task": "causal_lm"}


def pictures(folder: Path, tiny_model: Path, tiny_decoder: Path) -> dict[str, Any]:
    model = picture_model(folder / "model", "resnet")
    return {"data": str(class_folders(folder / "colours", 30)), "model": str(model)}


def tones(folder: Path, tiny_model: Path, tiny_decoder: Path) -> dict[str, Any]:
    pytest.importorskip("soundfile")
    return {"data": str(sounds.tones_folder(folder / "tones")), "model": str(sounds.wave_model(folder / "model"))}


def speech(folder: Path, tiny_model: Path, tiny_decoder: Path) -> dict[str, Any]:
    pytest.importorskip("soundfile")
    table = sounds.spoken_table(folder / "spoken")
    return {"data": str(table), "model": str(sounds.speaking_model(folder / "model"))}


@pytest.mark.parametrize("made", [tags, texts, prompts, pictures, tones, speech])
def test_every_task_is_planned(
    made: Callable[[Path, Path, Path], dict[str, Any]], tmp_path: Path, tiny_model: Path, tiny_decoder: Path
) -> None:
    found = plan(made(tmp_path, tiny_model, tiny_decoder), methods=["full", "lora"], batch=4)
    assert found.refused == {}
    for planned in found.methods:
        assert planned.fit.memory.activations > 0
        assert planned.fit.memory.total > planned.fit.memory.runtime
        assert not planned.estimated
    assert (found.methods[0].fit.memory.logits > 1000) is (made in (texts, prompts))

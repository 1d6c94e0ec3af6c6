"""Whole runs of models that write what is said: what they learn, leave behind and take up again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import whet
from tests import sounds
from whet import recipe as recipes
from whet.errors import DataError, ModelError, RecipeError

pytest.importorskip("soundfile")


@pytest.fixture(scope="session")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.spoken_table(tmp_path_factory.mktemp("said"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("speech")
    return {
        "ctc": sounds.wave_model(folder / "ctc"),
        "unmasked": sounds.wave_model(folder / "unmasked", masked=False),
        "whisper": sounds.whisper_model(folder / "whisper"),
    }


def recipe(said: Path, model: Path, **training: Any) -> dict[str, Any]:
    return {
        "data": {"train": str(said)},
        "model": str(model),
        "method": "full",
        "task": {"name": "speech_recognition", "samples": 3, "new_tokens": 8},
        "training": {"batch_size": 6, "learning_rate": 0.005, **training},
    }


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_a_run_transcribes_without_whet(kind: str, said: Path, models: dict[str, Path], tmp_path: Path) -> None:
    import soundfile
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor

    run = whet.train(recipe(said, models[kind], epochs=8), out=tmp_path / "run", quiet=True)
    builder: Any = AutoModelForCTC if kind == "ctc" else AutoModelForSpeechSeq2Seq
    card = (run.folder / "README.md").read_text()
    assert builder.__name__ in card
    model = builder.from_pretrained(run.folder / "model").eval()
    opened: Any = AutoProcessor
    processor = opened.from_pretrained(run.folder / "model")
    for number in (0, 2):
        path = said.parent / "audio" / f"{number}.wav"
        wave, rate = soundfile.read(path, dtype="float32")
        inputs = processor(wave, sampling_rate=rate, return_tensors="pt")
        with torch.no_grad():
            if kind == "ctc":
                text = processor.batch_decode(model(**inputs).logits.argmax(-1))[0]
            else:
                text = processor.batch_decode(model.generate(**inputs, max_new_tokens=8), skip_special_tokens=True)[0]
        assert text.strip() == run.predict([str(path)])[0].label


def test_transcripts_are_found_by_name_and_classes_where_a_label_is_named(
    said: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    run = whet.train(str(said), model=str(models["ctc"]), training={"steps": 2}, out=tmp_path / "one", quiet=True)
    saved = recipes.read(run.folder / "recipe.yaml")
    assert (saved["task"]["name"], saved["task"]["decoding"]) == ("speech_recognition", "ctc")
    assert (saved["data"]["text"], saved["data"]["label"]) == ("file_name", "transcript")
    assert (saved["task"]["characters"], saved["task"]["case"], saved["training"]["metric"]) == ("abc", "lower", "wer")
    table = said.with_name("classes.csv")
    lines = said.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",speaker", *(f"{line},{i % 2}" for i, line in enumerate(lines[1:]))]))
    other = whet.train(
        str(table),
        model=str(models["ctc"]),
        data={"label": "speaker"},
        training={"steps": 2},
        out=tmp_path / "two",
        quiet=True,
    )
    assert recipes.read(other.folder / "recipe.yaml")["task"]["name"] == "audio_classification"


def test_baselines_are_an_empty_text_the_most_frequent_one_and_a_model_that_speaks_already(
    said: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    ctc = whet.train(recipe(said, models["ctc"], epochs=2), out=tmp_path / "ctc", quiet=True)
    assert set(ctc.metrics["baselines"]) == {"empty", "majority"}
    assert ctc.metrics["baselines"]["empty"] == {"wer": 1.0, "cer": 1.0}
    whisper = whet.train(recipe(said, models["whisper"], epochs=2), out=tmp_path / "whisper", quiet=True)
    assert set(whisper.metrics["baselines"]) == {"empty", "majority", "pretrained"}
    assert {"wer", "cer", "loss"} <= set(whisper.metrics["baselines"]["pretrained"])
    # Its own vocabulary spells what is said now, so its head is kept.
    raw = recipe(said, ctc.folder / "model", epochs=1)
    again = whet.train(raw, out=tmp_path / "again", quiet=True)
    assert set(again.metrics["baselines"]) == {"empty", "majority", "pretrained"}
    assert again.metrics["baselines"]["pretrained"]["wer"] == pytest.approx(ctc.test["wer"])


def test_long_sounds_are_refused_for_learning_and_heard_in_pieces_when_asked(
    said: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    raw = recipe(said, models["ctc"], epochs=10)
    run = whet.train(raw, out=tmp_path / "run", quiet=True)
    words = [str(said.parent / "audio" / f"{number}.wav") for number in (0, 3, 1)]
    import numpy as np
    import soundfile

    gap = np.zeros(int(0.08 * sounds.RATE), np.float32)
    joined = np.concatenate([part for word in words for part in (soundfile.read(word, dtype="float32")[0], gap)])
    sounds.write(tmp_path / "long.wav", joined)
    answer = run.predict([str(tmp_path / "long.wav")])[0].label
    assert isinstance(answer, str)
    assert len(answer.split()) >= 2
    raw["task"]["max_seconds"] = 0.3
    with pytest.raises(DataError, match=r"clips are longer than the 0.3 s that are read.*into pieces"):
        whet.train(raw, out=tmp_path / "other", quiet=True)


def test_a_language_is_for_whisper_and_has_to_be_known(said: Path, models: dict[str, Path], tmp_path: Path) -> None:
    raw = recipe(said, models["ctc"], steps=1)
    raw["task"]["language"] = "korean"
    with pytest.raises(ModelError, match=r"task\.language: this model writes characters"):
        whet.train(raw, out=tmp_path / "run", quiet=True)
    raw = recipe(said, models["whisper"], steps=1)
    raw["task"]["language"] = "klingon"
    with pytest.raises(ModelError, match="klingon"):
        whet.train(raw, out=tmp_path / "run", quiet=True)
    raw = recipe(said, models["whisper"], steps=1, metric="wer")
    del raw["task"]
    with pytest.raises(RecipeError, match=r"training\.metric: 'wer'"):
        whet.train(raw, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_training_sounds_are_changed_at_random(kind: str, said: Path, models: dict[str, Path], tmp_path: Path) -> None:
    changes = {"gain": 6, "noise": 20, "shift": 0.1, "speed": 0.4, "mask_time": 0.1}
    raw = recipe(said, models[kind], steps=8) | {"augment": changes}
    run = whet.train(raw, out=tmp_path / "run", quiet=True)
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert all(event["loss"] < 50 for event in events if event["event"] == "Step")

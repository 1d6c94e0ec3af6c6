"""Whole runs of models that classify sounds: what they learn, leave behind, are asked and take up again."""

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

import whet
from tests import sounds
from whet import recipe as recipes
from whet.cli.app import app
from whet.errors import DataError, ModelError, WhetError
from whet.events import Step
from whet.verbs.session import Session
from whet.verbs.train import watch

soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.tones_folder(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hearing")
    made = {name: make(folder / name) for name, make in sounds.MODELS.items()}
    return {**made, "unmasked": sounds.wave_model(folder / "unmasked", masked=False)}


def recipe(tones: Path, model: Path, **training: Any) -> dict[str, Any]:
    return {
        "data": {"train": str(tones)},
        "model": str(model),
        "method": "full",
        "training": {"batch_size": 4, "learning_rate": 0.005, **training},
    }


@pytest.mark.parametrize("kind", ["wave", "unmasked", "whisper", "spectrogram", "patches"])
def test_two_tones_are_told_apart(kind: str, tones: Path, models: dict[str, Path], tmp_path: Path) -> None:
    raw = recipe(tones, models[kind], epochs=20, learning_rate=0.01, evaluate_every=1000)
    raw["task"] = {"name": "audio_classification", "feature_encoder": "trained"}
    if kind == "patches":
        # Batch norms of a random model make nothing of a few small batches.
        raw |= {"method": "head", "training": {**raw["training"], "learning_rate": 0.05}}
    run = whet.train(raw, out=tmp_path / "run", quiet=True)
    again = run.evaluate(tones)
    assert again.scores["accuracy"] >= 0.9
    assert set(run.metrics["baselines"]) == {"majority", "features"}
    saved = recipes.read(run.folder / "recipe.yaml")["task"]
    assert (saved["name"], saved["labels"], saved["max_seconds"]) == ("audio_classification", ["high", "low"], 0.7)
    assert ("covered_seconds" in saved) is (kind == "patches")


@pytest.mark.parametrize("kind", ["patches", "unmasked"])
def test_with_frozen_blocks_stored_the_losses_are_those_without(
    kind: str, tones: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    losses = []
    for cache in ("memory", "off"):
        raw = recipe(tones, models[kind], epochs=2, cache=cache) | {"method": "head"}
        run = whet.train(raw, out=tmp_path / cache, quiet=True)
        events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
        losses.append([event["loss"] for event in events if event["event"] == "Step"])
        assert any(event["event"] == "Stored" for event in events) is (cache == "memory")
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_run_is_loaded_and_asked_without_whet(tones: Path, models: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    run = whet.train(recipe(tones, models["wave"], epochs=3), out=tmp_path / "run", quiet=True)
    card = (run.folder / "README.md").read_text()
    assert "from transformers import AutoFeatureExtractor, AutoModelForAudioClassification" in card
    model = AutoModelForAudioClassification.from_pretrained(run.folder / "model").eval()
    opened: Any = AutoFeatureExtractor
    extractor = opened.from_pretrained(run.folder / "model")
    for path in (tones / "low" / "0.wav", tones / "high" / "1.wav"):
        wave, rate = soundfile.read(path, dtype="float32")
        with torch.no_grad():
            logits = model(**extractor(wave, sampling_rate=rate, return_tensors="pt")).logits[0]
        answer = run.predict([str(path)])[0]
        assert model.config.id2label[int(logits.argmax())] == answer.label
        assert logits.softmax(-1).tolist() == pytest.approx(list(answer.scores.values()), abs=1e-5)


def test_the_feature_encoder_stays_as_it_was_unless_it_is_to_train(
    tones: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    before = load_file(models["wave"] / "model.safetensors")
    for choice in ("frozen", "trained"):
        raw = recipe(tones, models["wave"], steps=2)
        raw["task"] = {"name": "audio_classification", "feature_encoder": choice}
        run = whet.train(raw, out=tmp_path / choice, quiet=True)
        after = load_file(run.folder / "model" / "model.safetensors")
        same = [torch.equal(before[n], after[f"wav2vec2.{n}"]) for n in before if n.startswith("feature_extractor.")]
        assert same
        assert all(same) if choice == "frozen" else not any(same)
        assert not torch.equal(
            before["feature_projection.projection.weight"], after["wav2vec2.feature_projection.projection.weight"]
        )


def test_files_folders_and_tables_are_answered(tones: Path, models: dict[str, Path], tmp_path: Path) -> None:
    run = whet.train(recipe(tones, models["spectrogram"], epochs=6), out=tmp_path / "run", quiet=True)
    ask = CliRunner()
    found = ask.invoke(app, ["predict", str(run.folder), str(tones / "low" / "0.wav"), str(tones / "high" / "1.wav")])
    assert found.exit_code == 0, found.output
    assert "0.wav" in found.output
    told = ask.invoke(app, ["predict", str(run.folder), str(tones / "low"), "--json"])
    assert len(json.loads(told.output)) == 12
    shutil.copy(tones / "low" / "0.wav", tmp_path / "copy.wav")
    (tmp_path / "table.csv").write_text("file\ncopy.wav\n")
    assert run.predict(tmp_path / "table.csv") == run.predict([str(tones / "low" / "0.wav")])
    (tmp_path / "broken.wav").write_text("no sound")
    refused = ask.invoke(app, ["predict", str(run.folder), str(tmp_path / "broken.wav"), str(tmp_path / "copy.wav")])
    assert refused.exit_code != 0
    assert "broken.wav cannot be decoded" in str(refused.exception) + refused.output


def test_several_labels_from_a_parquet_file_that_holds_the_sounds(models: dict[str, Path], tmp_path: Path) -> None:
    import pyarrow as pa

    cells, labels = [], []
    for number in range(24):
        names = [name for bit, name in enumerate(sounds.TONES) if (number % 3 + 1) >> bit & 1]
        wave = np.sum([0.5 * sounds.tone(sounds.TONES[name], 0.3, seed=number) for name in names], axis=0)
        path = sounds.write(tmp_path / "audio" / f"{number}.wav", wave.astype(np.float32))
        cells.append({"bytes": path.read_bytes(), "path": path.name})
        labels.append(names)
    pq.write_table(pa.table({"audio": cells, "label": labels}), tmp_path / "train.parquet")
    run = whet.train(
        recipe(tmp_path / "train.parquet", models["spectrogram"], epochs=15), out=tmp_path / "run", quiet=True
    )
    assert run.evaluate(tmp_path / "train.parquet").scores["micro_f1"] > 0.85
    assert isinstance(run.predict([str(tmp_path / "audio" / "2.wav")])[0].label, list)


def test_files_that_cannot_be_heard_are_all_told_or_left_out(models: dict[str, Path], tmp_path: Path) -> None:
    data = sounds.tones_folder(tmp_path / "data")
    sounds.write(data / "low" / "silent.wav", np.zeros(2000, np.float32))
    (data / "high" / "empty.wav").write_bytes(b"")
    raw = recipe(data, models["wave"], steps=2)
    with pytest.raises(DataError) as caught:
        whet.train(raw, out=tmp_path / "run", quiet=True)
    told = " ".join(caught.value.problems)
    assert "2 of 26 sounds cannot be read" in told
    assert "silent.wav is silent" in told
    assert "empty.wav is empty (0 bytes)" in told
    assert "data.incomplete=drop" in told
    raw["data"]["incomplete"] = "drop"
    run = whet.train(raw, out=tmp_path / "run", quiet=True)
    assert "2 rows of data without a sound that can be read" in (run.folder / "recipe.yaml").read_text()


def test_a_model_of_texts_is_refused_with_the_way_out(tones: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"type 'bert' cannot classify sounds.*Wav2Vec2, HuBERT, WavLM, Whisper and AST"
    ):
        whet.train(recipe(tones, tiny_model), out=tmp_path / "run", quiet=True)
    with pytest.raises(ModelError, match="no model that hears comes with whet"):
        whet.train(str(tones), out=tmp_path / "run", quiet=True)


def test_training_sounds_are_changed_at_random_and_a_resumed_run_changes_them_alike(
    tones: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    changes = {"gain": 6, "noise": 20, "shift": 0.2, "speed": 0.1, "mask_time": 0.2, "mask_bands": 0.2}
    raw = recipe(tones, models["spectrogram"], epochs=2, checkpoint_every=2) | {"augment": changes}
    whole = whet.train(raw, out=tmp_path / "whole", quiet=True)
    assert (whole.folder / "augmented.wav").stat().st_size > 10000
    plain = whet.train({**raw, "augment": {}}, out=tmp_path / "plain", quiet=True)
    session = Session.start(recipes.parse(raw), tmp_path / "broken")
    for event in session.events():
        if isinstance(event, Step) and event.step == 5:
            session.stop.make("a test")
    again, _ = Session.resume(tmp_path / "broken")
    resumed = watch(again, Console(file=StringIO()))
    weights = [load_file(run.folder / "model" / "model.safetensors") for run in (whole, resumed, plain)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    with pytest.raises(WhetError, match=r"augment\.mask_bands: this model reads waves"):
        whet.train({**raw, "model": str(models["wave"])}, out=tmp_path / "waves", quiet=True)

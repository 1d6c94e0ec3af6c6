"""Clips in batches: as the models of transformers want them, whatever stands beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForImageClassification

from tests import sounds
from whet.core import Rows
from whet.data import clips as clips_of
from whet.data.clips import batch_of, read
from whet.errors import DataError
from whet.model.hearing import Hearing, open_hearing
from whet.model.log_mel import LogMel

pytest.importorskip("soundfile")

LENGTHS = (0.30, 0.05, 0.41, 0.22)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number, length in enumerate(LENGTHS):
        sounds.write(folder / f"{number}.wav", sounds.tone(300 + 100 * number, length, seed=number), subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    names: list[object] = [f"{number}.wav" for number in range(len(LENGTHS))]
    return Rows({"file": names}, "table.csv", range(2, 2 + len(names)), folder)


def opened(kind: str, folder: Path) -> tuple[Hearing, Any]:
    path = sounds.MODELS[kind](folder / kind)
    model = (AutoModelForImageClassification if kind == "patches" else AutoModel).from_pretrained(path)
    return open_hearing(kind, path, model), model.eval()


def waves(rows: Rows, folder: Path) -> list[np.ndarray]:
    import soundfile

    return [soundfile.read(folder / str(name), dtype="float32")[0] for name in rows.columns["file"]]


@pytest.mark.parametrize("kind", ["whisper", "spectrogram"])
def test_spectrograms_are_those_of_transformers_to_the_last_bit(
    kind: str, rows: Rows, folder: Path, tmp_path: Path
) -> None:
    hearing, _ = opened(kind, tmp_path)
    found = read(rows, "file", hearing, 30.0)
    batch = batch_of(found, np.arange(len(rows)))[hearing.argument]
    extractor: Any = AutoFeatureExtractor
    read_by_it = extractor.from_pretrained(tmp_path / kind)
    expected = read_by_it(waves(rows, folder), sampling_rate=sounds.RATE, return_tensors="pt")[hearing.argument]
    assert torch.equal(batch, expected)
    # Silence behind the clips is not kept.
    kept = found.inputs[hearing.argument]
    assert kept.lengths[1] < kept.lengths[2] < expected[0].numel()
    assert found.lengths.tolist() == [hearing.frames // 2] * 4


def test_waves_have_zeros_behind_them_and_a_mask_over_these(rows: Rows, folder: Path, tmp_path: Path) -> None:
    hearing, model = opened("wave", tmp_path)
    found = read(rows, "file", hearing, 30.0)
    batch = batch_of(found, np.array([2, 1]))
    assert batch["attention_mask"].sum(1).tolist() == [int(LENGTHS[2] * sounds.RATE), int(LENGTHS[1] * sounds.RATE)]
    assert batch["input_values"][1, int(LENGTHS[1] * sounds.RATE) :].abs().max() == 0
    extractor: Any = AutoFeatureExtractor
    expected = extractor.from_pretrained(tmp_path / "wave")(waves(rows, folder)[2], sampling_rate=sounds.RATE)
    assert np.array_equal(batch["input_values"][0].numpy(), expected["input_values"][0])
    # The work of a clip is the steps that the model takes for it.
    with torch.no_grad():
        steps = model(**batch).last_hidden_state.shape[1]
    assert steps == found.lengths[2]


@pytest.mark.parametrize("kind", [*sounds.MODELS, "unmasked"])
def test_a_clip_is_heard_alike_alone_and_beside_others(kind: str, rows: Rows, tmp_path: Path) -> None:
    if kind == "unmasked":
        path = sounds.wave_model(tmp_path / kind, masked=False)
        model = AutoModel.from_pretrained(path).eval()
        hearing = open_hearing(kind, path, model)
    else:
        hearing, model = opened(kind, tmp_path)
    if kind == "whisper":
        model = model.encoder
    found = read(rows, "file", hearing, 0.5)

    def answer(indices: list[int]) -> torch.Tensor:
        with torch.no_grad():
            outputs = model(**batch_of(found, np.array(indices)))
        values: torch.Tensor = outputs[0]
        return values

    alone, beside = answer([1]), answer([1, 2])
    steps = int(found.lengths[1])
    if kind == "patches":
        count = found.shape.patches
        alone, beside = (one.view(-1, count, *one.shape[1:]) for one in (alone, beside))
        steps = count
    assert torch.allclose(alone[0, :steps], beside[0, :steps], atol=1e-5)


def test_patches_are_spread_from_the_beginning_to_the_end(rows: Rows, folder: Path, tmp_path: Path) -> None:
    hearing, _ = opened("patches", tmp_path)
    found = read(rows, "file", hearing, 0.5, covered=0.4)
    assert isinstance(hearing.extractor, LogMel)
    batch = batch_of(found, np.array([2, 1]))["pixel_values"]
    count = found.shape.patches
    assert (count, batch.shape) == (4, (8, 1, 16, 32))
    whole = hearing.features(waves(rows, folder)[2])
    assert np.array_equal(batch[0, 0].numpy(), whole[:16])
    assert np.array_equal(batch[count - 1, 0].numpy(), whole[-16:])
    # A clip that is shorter than a patch stands at the end of the first and at the beginning of the last.
    assert found.filled == 1
    silence = torch.tensor(0.001).log().expand(32)
    first, last = batch[count, 0], batch[2 * count - 1, 0]
    assert first[0].allclose(silence)
    assert last[-1].allclose(silence)
    assert not first[-1].allclose(silence)
    assert not last[0].allclose(silence)
    heard = int((1 - (last == silence).all(dim=1).float()).sum())
    assert 0 < heard < 16


def test_long_clips_lose_their_end_and_that_is_told(rows: Rows, tmp_path: Path) -> None:
    hearing, _ = opened("wave", tmp_path)
    found = read(rows, "file", hearing, 0.25)
    assert (found.truncated, found.filled) == (2, 0)
    assert found.seconds.tolist() == pytest.approx(list(LENGTHS))
    told = clips_of.told({"train": found})
    assert "2 of 4 clips lose their end, the longest has 0.4 s" in told[0].reason
    with pytest.raises(DataError, match=r"2 clips are longer than the 0.25 s.*set task.max_seconds"):
        clips_of.refuse_long(rows, found, 0.25)


def test_clips_shorter_than_the_first_convolutions_end_with_silence(folder: Path, tmp_path: Path) -> None:
    hearing, model = opened("wave", tmp_path)
    assert hearing.shortest == 10 * 15 + 10
    sounds.write(tmp_path / "tiny.wav", sounds.tone(440, 0.01))
    rows = Rows({"file": ["tiny.wav"]}, "table.csv", [2], tmp_path)
    found = read(rows, "file", hearing, 1.0)
    assert (found.filled, found.lengths.tolist()) == (1, [1])
    with torch.no_grad():
        assert model(**batch_of(found, np.array([0]))).last_hidden_state.isfinite().all()
    assert "1 of 1 clips are shorter than the model reads at a time" in clips_of.told({"train": found})[0].reason


def test_how_long_and_how_many_seconds_follow_from_the_training_clips(rows: Rows, tmp_path: Path) -> None:
    assert clips_of.seconds_for(rows, "file") == (0.6, "a quarter more than the 0.4 s of the longest clip")
    assert clips_of.usual_seconds(rows, "file") == 0.4


def test_log_mel_is_what_its_settings_say(tmp_path: Path) -> None:
    hearing, _ = opened("patches", tmp_path)
    wave = sounds.tone(500, 0.3)
    found = hearing.features(wave)
    frame = wave[80 * 3 : 80 * 3 + 200] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200))
    spectrum = np.abs(np.array([sum(frame * np.exp(-2j * np.pi * k * np.arange(200) / 256)) for k in range(129)]))
    mels = 1127 * np.log(1 + np.linspace(0, 4000, 129) / 700)
    edges = np.linspace(1127 * np.log(1 + 60 / 700), 1127 * np.log(1 + 3800 / 700), 34)
    for bank in (4, 12, 30):
        low, top, high = edges[bank : bank + 3]
        weights = np.clip(np.minimum((mels - low) / (top - low), (high - mels) / (high - top)), 0, None)
        weights[0] = 0
        assert found[3, bank] == pytest.approx(np.log(spectrum @ weights + 0.001), abs=1e-4)
    assert found.shape == (1 + (2400 - 200) // 80, 32)

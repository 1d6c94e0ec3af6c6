"""Learning on public sounds that lie beside the checkout, with floors that a wrong default would fall through."""

import csv
import json
from pathlib import Path

import pytest

import whet
from tests import sounds

SHARED = Path(__file__).parents[3] / "shared"
YAMNET = SHARED / "models" / "yamnet-audioset"

pytest.importorskip("soundfile")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not YAMNET.is_dir(), reason="the public data sets and models do not lie beside the checkout"),
]


def table(name: str, label: str, split: str, path: Path, rows: int | None = None) -> Path:
    """A split of a public data set, with absolute paths."""
    folder = SHARED / "data" / name
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        chosen = [row for row in csv.DictReader(file) if row["split"] == split]
    if rows is not None:
        # As many of each label, in the order of the recordings.
        chosen = sorted(chosen, key=lambda row: int(row["file_name"].rsplit("_", 1)[1].removesuffix(".wav")))[:rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", label])
        writer.writerows([folder / row["file_name"], row[label]] for row in chosen)
    return path


def seconds(run: whet.Run, kind: str) -> float:
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    return float(sum(event["seconds"] for event in events if event["event"] == kind))


def test_a_head_on_yamnet_knows_sounds_of_the_world(tmp_path: Path) -> None:
    recipe = {
        "data": {
            "train": str(table("esc10", "label", "train", tmp_path / "train.csv")),
            "test": str(table("esc10", "label", "test", tmp_path / "test.csv")),
        },
        "model": str(YAMNET),
        "method": "head",
        "training": {"epochs": 20},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] >= 0.9


def test_stored_outputs_of_a_frozen_yamnet_save_nearly_all_of_the_time(tmp_path: Path) -> None:
    recipe = {
        "data": {"train": str(table("esc10", "label", "train", tmp_path / "train.csv"))},
        "model": str(YAMNET),
        "method": "head",
        "training": {"epochs": 5},
    }
    runs = [
        whet.train(recipe, training={"cache": cache}, out=tmp_path / cache, quiet=True) for cache in ("memory", "off")
    ]
    stored, computed = (seconds(run, "Step") + seconds(run, "Evaluated") for run in runs)
    assert computed > 15 * stored
    assert runs[0].test["accuracy"] == runs[1].test["accuracy"]


def test_a_head_on_yamnet_learns_spoken_digits(tmp_path: Path) -> None:
    recipe = {
        "data": {"train": str(SHARED / "data" / "spoken_digits" / "metadata.csv"), "label": "digit"},
        "model": str(YAMNET),
        "method": "head",
        "training": {"epochs": 20},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    # The table says who trains.
    assert json.loads((run.folder / "data.json").read_text())["splits"]["test"]["rows"] == 300
    assert run.test["accuracy"] >= 0.78


def test_the_last_blocks_of_yamnet_learn_spoken_digits(tmp_path: Path) -> None:
    recipe = {
        "data": {
            "train": str(table("spoken_digits", "digit", "train", tmp_path / "train.csv")),
            "test": str(table("spoken_digits", "digit", "test", tmp_path / "test.csv")),
            "label": "digit",
        },
        "model": str(YAMNET),
        "method": {"name": "last_blocks", "count": 8},
        "training": {"epochs": 5, "learning_rate": 0.002},
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] >= 0.85
    assert run.test["accuracy"] > run.metrics["baselines"]["features"]["accuracy"]


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_thirty_spoken_digits_are_learned_by_heart(kind: str, tmp_path: Path) -> None:
    train = table("spoken_digits", "transcript", "train", tmp_path / "thirty.csv", rows=30)
    validation = table("spoken_digits", "transcript", "test", tmp_path / "others.csv", rows=6)
    model = (
        sounds.speaking_model(tmp_path / "model")
        if kind == "ctc"
        else sounds.whisper_model(tmp_path / "model", seconds=2)
    )
    recipe = {
        "data": {"train": str(train), "validation": str(validation), "test_share": 0},
        "model": str(model),
        "method": "full",
        "task": {"name": "speech_recognition", "feature_encoder": "trained", "new_tokens": 8},
        "training": {
            "steps": 500,
            "learning_rate": 0.002 if kind == "ctc" else 0.004,
            "batch_size": 10,
            "evaluate_every": 500,
        },
    }
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.evaluate(train).scores["wer"] == 0

"""What tests of several parts share: a tiny BERT with its tokenizer, small data that it can learn, a finished run."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests import texts
from tests.texts import DECODED, POSITIONS, WORDS, sentences, write_csv

# Before torch is loaded: processes of a test run share the cores, and threads that fight for them only spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests store is not what the user stores.
os.environ["WHET_CACHE"] = tempfile.mkdtemp(prefix="whet-tests-")
atexit.register(shutil.rmtree, os.environ["WHET_CACHE"], ignore_errors=True)

__all__ = ["DECODED", "POSITIONS", "WORDS", "sentences", "write_csv"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two narrow blocks and a tokenizer of whole words."""
    return texts.encoder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two narrow blocks and a tokenizer that reads byte by byte."""
    return texts.decoder(tmp_path_factory.mktemp("models") / "decoder")


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file of sixty texts, half of them good and half of them bad."""
    return texts.reviews(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file of forty prompts and what completes them."""
    path = tmp_path_factory.mktemp("data") / "questions.csv"
    rows = [[f"{one} and {other}?", str(one + other)] for one in range(8) for other in range(5)]
    return write_csv(path, ["prompt", "completion"], rows)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, reviews: Path) -> Path:
    """The folder of a finished run of the tiny model on the reviews; tests must leave it as it is."""
    import whet

    folder = tmp_path_factory.mktemp("runs") / "finished"
    whet.train(reviews, model=str(tiny_model), method="head", training={"epochs": 1}, out=folder, quiet=True)
    return folder

"""Data sets of the hub: names, splits and labels; loading is tried against a hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from whet.data.hub import Address, splits_of
from whet.errors import DataError

COMMIT = "a" * 40
CARD = """---
configs:
- config_name: reviews
  data_files: [{split: train, path: train.csv}, {split: dev, path: dev.csv}]
- config_name: news
  data_files: [{split: train, path: train.csv}]
---
"""
REPOSITORIES = {
    "me/plain": {
        "README.md": "---\n---\n",
        "train.csv": "text,label\ngood,pos\nbad,neg\n",
        "test.csv": "text,label\na,b\n",
    },
    "me/configs": {"README.md": CARD, "train.csv": "text,label\ngood,pos\n", "dev.csv": "text,label\nbad,neg\n"},
}


class Hub(BaseHTTPRequestHandler):
    """The few answers of a hub that loading a data set asks for."""

    def do_GET(self) -> None:
        words = self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(words[2:4] if words[0] == "api" else words[1:3])
        files = REPOSITORIES.get(name)
        if files is None:
            return self.reply(404, "", {"X-Error-Code": "RepoNotFound"})
        if words[0] != "api":
            content = files.get("/".join(words[5:]))
            missing = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            if content is None:
                return self.reply(404, "", missing)
            tag = hashlib.sha1(content.encode()).hexdigest()
            return self.reply(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        if "tree" in words:
            entries = [{"type": "file", "path": path, "size": len(files[path]), "oid": path} for path in files]
            return self.reply(200, json.dumps(entries), {})
        siblings = [{"rfilename": path} for path in files]
        return self.reply(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []}), {})

    do_HEAD = do_GET  # noqa: N815  the name that the server looks for

    def reply(self, status: int, content: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content.encode()))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


PROGRAM = """
import json, sys
from whet.data.source import read_splits
from whet.errors import DataError
try:
    splits, choices = read_splits(sys.argv[1], None, None)
    print(json.dumps({part: rows.columns for part, rows in splits.items()}))
except DataError as error:
    print(f"DataError: {error}")
"""


def load(address: str, home: Path, **environment: str) -> str:
    """What a fresh process reads; the library takes its settings from the environment when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, address],
        env={**kept, **environment, "HF_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return process.stdout.strip()


@pytest.mark.slow
def test_a_data_set_is_loaded_and_then_read_from_the_cache_without_a_network(hub: str, home: Path) -> None:
    expected = {"train": {"text": ["good", "bad"], "label": ["pos", "neg"]}, "test": {"text": ["a"], "label": ["b"]}}
    assert json.loads(load("hub:me/plain@main", home, HF_ENDPOINT=hub)) == expected
    assert json.loads(load("hub:me/plain", home, HF_HUB_OFFLINE="1")) == expected


@pytest.mark.slow
def test_one_of_several_configs_has_to_be_named(hub: str, home: Path) -> None:
    message = load("hub:me/configs", home, HF_ENDPOINT=hub)
    assert message.startswith("DataError")
    assert "hub:me/configs:reviews" in message
    assert "hub:me/configs:news" in message
    assert list(json.loads(load("hub:me/configs:reviews", home, HF_ENDPOINT=hub))) == ["train", "validation"]


@pytest.mark.slow
def test_a_data_set_that_is_not_there_and_a_hub_that_is_not_reached_are_told_apart(hub: str, tmp_path: Path) -> None:
    absent = load("hub:me/nothing", tmp_path, HF_ENDPOINT=hub)
    assert absent.startswith("DataError")
    assert "check its name" in absent
    offline = load("hub:me/plain", tmp_path, HF_HUB_OFFLINE="1")
    assert offline.startswith("DataError")
    assert "connect to the network" in offline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hub:owner/name", Address("owner/name")),
        ("hub:nyu-mll/glue:sst2", Address("nyu-mll/glue", "sst2")),
        ("hub:owner/name@v1.0", Address("owner/name", None, "v1.0")),
        ("hub:owner/name:config@refs/pr/1", Address("owner/name", "config", "refs/pr/1")),
    ],
)
def test_an_address_has_a_name_a_config_and_a_revision(text: str, expected: Address) -> None:
    assert Address.of(text) == expected


@pytest.mark.parametrize("text", ["hub:", "hub:a/b/c", "hub:a b", "hub:a/b:", "hub:a/b@"])
def test_an_address_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="hub:owner/name"):
        Address.of(text)


def test_class_numbers_become_names_and_hidden_test_labels_are_left_out() -> None:
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({"text": datasets.Value("string"), "label": label, "tags": datasets.List(label)})

    def part(labels: list[int]) -> object:
        columns = {"text": ["a"] * len(labels), "label": labels, "tags": [[1, 0]] * len(labels)}
        return datasets.Dataset.from_dict(columns, features=features)

    loaded = datasets.DatasetDict(
        {"train": part([0, 1, -1]), "validation_matched": part([1]), "test": part([-1, -1]), "extra": part([0])}
    )
    splits, choices = splits_of(loaded, "me/nli")
    assert list(splits) == ["train", "validation"]
    assert splits["train"].columns["label"] == ["neg", "pos", None]
    assert splits["validation"].columns["tags"] == [["pos", "neg"]]
    reasons = {choice.path: choice.reason for choice in choices}
    assert "every 'label' is -1" in reasons["data.test"]
    assert "extra" in reasons["data.train"]


def test_a_data_set_with_one_split_trains_on_it_and_one_without_train_is_refused() -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"text": ["a"]})
    assert list(splits_of({"all": data}, "me/one")[0]) == ["train"]
    with pytest.raises(DataError, match="it has left, right"):
        splits_of({"left": data, "right": data}, "me/two")

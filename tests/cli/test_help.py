"""Help, lists, explanations and the check of a recipe: right, and without the seconds that torch takes to load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import whet as package
from tests.cli.conftest import Whet
from whet import catalog

HEAVY = {"torch", "transformers", "peft", "sklearn", "datasets", "pyarrow", "accelerate", "safetensors", "tokenizers"}
RUN = """
import json, sys
from whet.cli.app import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print()
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""

VERBS = (
    *("advise", "plan", "train", "compare", "tune", "resume", "evaluate"),
    *("predict", "report", "combine", "methods", "explain"),
)


def python(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    source = str(Path(package.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "COLUMNS": "120", "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["predict", "--help"], 0),
        (["combine", "--help"], 0),
        (["compare", "--help"], 0),
        (["compare", "reviews.csv", "--methods", "lorra"], 2),
        (["tune", "--help"], 0),
        (["tune", "reviews.csv", "--method", "lora", "--space", "method.rank=0,8"], 2),
        (["tune"], 2),
        (["explain", "R001"], 0),
        (["plan", "--help"], 0),
        (["plan", "reviews.csv", "--set", "training.epoch=3"], 2),
        (["report", "--help"], 0),
        (["methods"], 0),
        (["methods", "--json"], 0),
        (["explain", "lora"], 0),
        (["explain", "text_classification"], 0),
        (["explain", "recipe"], 0),
        (["explain", "recipe", "--json"], 0),
        (["explain", "lorra"], 2),
        (["train", "recipe.yaml"], 2),
        (["train", "reviews.csv", "--method", "lora", "--set", "method.rank=0"], 2),
        (["train"], 2),
    ],
)
def test_what_needs_no_model_loads_none(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "data: reviews.csv\nmethod: {name: lora, rank: 0}\ntask: text_classification\n"
    )
    ended = python("-c", RUN, *arguments, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["code"] == code, ended
    assert HEAVY & set(report["modules"]) == set()


def test_importing_whet_loads_nothing() -> None:
    ended = python("-c", "import sys, whet, json; dir(whet); print(json.dumps(sorted(sys.modules)))")
    modules = set(json.loads(ended.stdout))
    assert (HEAVY | {"numpy", "pydantic", "yaml", "typer", "rich"}) & modules == set()


def test_the_module_is_the_command() -> None:
    ended = python("-m", "whet", "--version")
    assert (ended.returncode, ended.stdout) == (0, f"whet {package.__version__}\n")
    assert python("-m", "whet", "trian").returncode == 2


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"'{sys.executable}' -m whet explain recipe --json | head -n 1"
    source = str(Path(package.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout == "{\n"
    assert ended.stderr == ""


def test_help_names_every_verb_and_how_to_begin(whet: Whet) -> None:
    ended = whet("--help")
    assert ended.code == 0
    for word in (*VERBS, "whet train reviews.csv"):
        assert word in ended.out
    assert whet("-h").out == ended.out


def test_without_a_verb_there_is_help(whet: Whet) -> None:
    ended = whet()
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_explained(whet: Whet, verb: str) -> None:
    lines = whet(verb, "--help").out.splitlines()
    for line in lines:
        if line.startswith("  --"):
            told = line.split("  [")[0]
            assert len(told.split("  ", 3)[-1].strip()) > 10, line


def test_methods_lists_each_with_its_sentence(whet: Whet) -> None:
    listed = whet("methods").out
    entries = json.loads(whet("methods", "--json").out)
    assert [entry["name"] for entry in entries] == list(catalog.names("method"))
    for entry in entries:
        assert entry["summary"] == catalog.summary("method", entry["name"])
        assert entry["name"] in listed
        assert entry["summary"] in " ".join(listed.split())


@pytest.mark.parametrize("name", [*catalog.names("method"), *catalog.names("task")])
def test_a_variant_is_explained_with_all_its_options(whet: Whet, name: str) -> None:
    kind: catalog.Kind = "method" if name in catalog.names("method") else "task"
    said = " ".join(whet("explain", name).out.split())
    assert " ".join(catalog.docstring(kind, name).split()) in said
    for option in catalog.options(kind, name):
        default = "" if option.required else f" = {option.default!r}"
        assert f"{option.name}: {option.type}{default}" in said
        assert " ".join(option.description.split()) in said
    assert json.loads(whet("explain", name, "--json").out) == catalog.schema(kind, name)


def test_the_recipe_is_explained_in_words_that_a_recipe_can_hold(whet: Whet) -> None:
    said = whet("explain", "recipe").out
    for line in (
        "data.train: str",
        "data.text: str | list[str] | None = None",
        "training.optimizer: 'adamw' | 'sgd' = 'adamw'",
        "training.schedule: name | {name, options} | None = None",
        "training.schedule (cosine).final: float = 0.0",
        "method: name | {name, options} | None = None",
        "seed: int = 0",
    ):
        assert f"  {line}\n" in said
    assert "Annotated" not in said
    assert json.loads(whet("explain", "recipe", "--json").out)["title"] == "whet recipe"

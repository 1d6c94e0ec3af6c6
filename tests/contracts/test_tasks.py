"""The laws of whole runs: every method on every task trains, saves and answers, or is refused with the reason."""

import json
from pathlib import Path
from typing import Any

import pytest

import whet
from tests.contracts.grounds import GROUNDS, KIN, Ground
from tests.verbs.broken import assert_resumed_is_whole
from whet import catalog
from whet import recipe as recipes
from whet.build import prepare
from whet.engine.arithmetic import Arithmetic
from whet.errors import ModelError

pytestmark = pytest.mark.laws

SOME = ("full", "last_blocks", "lora")
"""A method that trains everything, one that freezes the beginning, and one that leaves an adapter."""
FIRST = {ground.task: ground for ground in reversed(GROUNDS)}
"""Of each task the first model."""

OTHERS = [ground for ground in (*GROUNDS, *KIN) if ground not in FIRST.values()]

MEETINGS = [
    *((ground, name) for ground in FIRST.values() for name in catalog.names("method")),
    *((ground, name) for ground in OTHERS for name in SOME),
]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of rows and models."""
    return tmp_path_factory.mktemp("grounds")


def told(value: object) -> str:
    return str(value)


@pytest.mark.parametrize(("ground", "name"), MEETINGS, ids=told)
def test_every_method_trains_and_what_is_saved_answers_or_it_is_refused(
    ground: Ground, name: str, made: Path, tmp_path: Path
) -> None:
    pytest.importorskip(ground.needs)
    if name == "qlora":
        pytest.importorskip("bitsandbytes")
    recipe = ground.recipe(made, name, steps=3)
    if name in ground.refused:
        with pytest.raises(ModelError, match=ground.refused[name]) as caught:
            prepare(recipes.parse(recipe), Arithmetic())
        assert "choose" in str(caught.value)
        return
    # A finished run has compared its saved model with the trained one.
    run = whet.train(recipe, out=tmp_path / "run", quiet=True)
    asked = ground.asked(Path(recipe["data"]["train"]))
    answers = run.predict(asked)
    assert len(answers) == len(asked)
    assert answers == whet.Run(run.folder).predict(asked)


RESUMED = [
    *((ground, "full") for ground in (*GROUNDS, *KIN)),
    *((ground, name) for ground in FIRST.values() for name in ("last_blocks", "lora")),
]


@pytest.mark.parametrize(("ground", "name"), RESUMED, ids=told)
def test_a_resumed_run_ends_with_the_same_bits(ground: Ground, name: str, made: Path, tmp_path: Path) -> None:
    pytest.importorskip(ground.needs)
    assert_resumed_is_whole(ground.recipe(made, name, steps=7), tmp_path)


@pytest.mark.parametrize("ground", [*GROUNDS, *KIN], ids=told)
def test_with_frozen_blocks_stored_the_losses_are_those_without(ground: Ground, made: Path, tmp_path: Path) -> None:
    pytest.importorskip(ground.needs)
    losses = []
    for cache in ("memory", "off"):
        run = whet.train(ground.recipe(made, "last_blocks", epochs=2, cache=cache), out=tmp_path / cache, quiet=True)
        happened: list[dict[str, Any]] = [
            json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()
        ]
        losses.append([event["loss"] for event in happened if event["event"] == "Step"])
        assert any(event["event"] == "Stored" for event in happened) is (cache == "memory")
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)

import json
import time
from pathlib import Path
from typing import Any

import pytest

import whet
from whet import catalog
from whet.errors import RecipeError
from whet.planning.planned import Plan, Planned
from whet.verbs.plan import plan

LLAMA_65B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 32000,
    "hidden_size": 8192,
    "intermediate_size": 22016,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "max_position_embeddings": 2048,
}


def of(found: Plan, method: str) -> Planned:
    return next(planned for planned in found.methods if planned.method == method)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_65B))
    return path


def test_the_headline_of_qlora_follows_from_the_config_alone(llama: Path) -> None:
    started = time.monotonic()
    found = plan(config=llama, memory="48GB", batch=1, length=512, methods=["qlora", "full"])
    packed, full = of(found, "qlora"), of(found, "full")
    assert packed.fit.fits
    assert packed.fit.memory.total < 48e9
    assert packed.fit.gradient_checkpointing
    assert not full.fit.fits
    assert full.fit.memory.total > 780e9
    assert full.trainable == full.total == pytest.approx(65.2e9, rel=0.01)
    assert not packed.estimated
    assert not full.estimated
    # Twenty seconds alone on a core; tests have company.
    assert time.monotonic() - started < 120


@pytest.fixture(scope="module")
def every(tiny_model: Path, reviews: Path) -> Plan:
    return plan(reviews, model=str(tiny_model))


def test_every_method_is_planned_or_refused_with_a_reason(every: Plan) -> None:
    known = {
        name
        for name in catalog.names("method")
        if not any(option.required for option in catalog.options("method", name))
    }
    assert {planned.method for planned in every.methods} | every.refused.keys() == known
    for planned in every.methods:
        assert planned.fit.fits
        assert not planned.estimated
        assert planned.fit.memory.total == sum(planned.fit.memory.terms.values())
        assert planned.duration is not None
        assert planned.duration.total > 0
    assert all("method" in reason for reason in every.refused.values())


def test_counts_are_those_of_the_run(every: Plan, tiny_model: Path, reviews: Path, tmp_path: Path) -> None:
    for method in ("full", "lora", "head"):
        run = whet.train(
            reviews, model=str(tiny_model), method=method, training={"epochs": 1}, out=tmp_path / method, quiet=True
        )
        assert of(every, method).trainable == run.metrics["trainable_parameters"]
        assert of(every, method).total == run.metrics["total_parameters"]


def test_more_rows_at_a_time_need_more_memory(tiny_model: Path, reviews: Path) -> None:
    small, large = (
        of(plan(reviews, model=str(tiny_model), methods=["full"], batch=batch), "full") for batch in (2, 32)
    )
    assert small.fit.memory.activations < large.fit.memory.activations
    assert small.steps is not None
    assert large.steps is not None
    assert small.steps > large.steps


def test_settings_are_found_with_which_it_fits(tiny_model: Path, reviews: Path) -> None:
    whole = of(plan(reviews, model=str(tiny_model), methods=["full"], batch=32, memory="100GB"), "full")
    room = whole.fit.memory.total - whole.fit.memory.activations // 4
    found = plan(reviews, model=str(tiny_model), methods=["full"], batch=32, memory=int(room / 0.95))
    fit = of(found, "full").fit
    assert fit.fits
    assert fit.micro_batch_size < 32
    assert fit.assignments(32)[0] == f"training.micro_batch_size={fit.micro_batch_size}"
    assert fit.reason


def test_a_recipe_says_how_a_method_is_set(tiny_model: Path, reviews: Path) -> None:
    raw: dict[str, Any] = {"data": str(reviews), "model": str(tiny_model), "method": {"name": "lora", "rank": 2}}
    two, sixteen = (of(plan(one, methods=["lora"]), "lora") for one in (raw, {**raw, "method": "lora"}))
    assert two.trainable < sixteen.trainable


def test_sizes_are_read_as_people_write_them(llama: Path) -> None:
    for text, expected in (("48GB", 48 * 10**9), ("1.5 GiB", 3 * 2**29), ("500m", 5 * 10**8), ("7", 7)):
        assert plan(config=llama, memory=text, methods=["bitfit"]).room == expected
    with pytest.raises(RecipeError, match="48GB, 24GiB"):
        plan(config=llama, memory="much", methods=["bitfit"])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "name a data file or a recipe"),
        ({"source": "a.csv", "config": "config.json"}, "not both"),
        ({"source": "a.csv", "length": 5}, "leave --length"),
        ({"source": "a.csv", "methods": ["lorra"]}, "did you mean 'lora'"),
        ({"config": "c.json", "measure": True}, "leave --config"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        plan(**asked)


def test_a_length_that_the_model_cannot_read_is_refused(llama: Path) -> None:
    with pytest.raises(RecipeError, match="reads 2048"):
        plan(config=llama, length=4096)


def test_the_package_is_the_verb(tiny_model: Path, reviews: Path) -> None:
    found = whet.plan(reviews, model=str(tiny_model), methods=["head"])
    assert isinstance(found, Plan)
    assert json.loads(json.dumps(found.plain()))["methods"][0]["method"] == "head"


@pytest.mark.slow
def test_a_few_steps_tell_memory_and_time(tiny_model: Path, reviews: Path) -> None:
    found = plan(reviews, model=str(tiny_model), methods=["full"], measure=True)
    planned = of(found, "full")
    assert planned.measured
    assert planned.fit.memory.runtime > 100 * 2**20
    assert planned.duration is not None

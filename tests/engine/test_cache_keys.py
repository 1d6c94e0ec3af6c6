"""Nothing stale can be found: what the keys of a store and of a row depend on, and what they do not."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from tests.contracts.arena import probe
from tests.engine.frozen import head_job
from whet.core import Examples, Mask, Ragged
from whet.engine.arithmetic import Arithmetic
from whet.engine.cache import prefix_key, row_digests
from whet.engine.cut import find_prefix
from whet.engine.job import Job
from whet.engine.replay import Prefix

# --- the key of a store -----------------------------------------------------------------------------------------


@pytest.fixture
def keyed() -> tuple[Job, Mask, Prefix]:
    """A job, its mask and its frozen beginning."""
    made = head_job()
    mask = made.stages[0].mask
    order = np.argsort(made.train.lengths, kind="stable")
    return made, mask, find_prefix(made.model, mask, (probe(made, order[:2]), probe(made, order[-3:])))


def nudged(name: str) -> Callable[[nn.Module], None]:
    """One number of a parameter is the next that a float can hold."""

    def nudge(model: nn.Module) -> None:
        flat = model.get_parameter(name).data.view(-1)
        flat[-1] = torch.nextafter(flat[-1], torch.tensor(9.0))

    return nudge


def configured(**changes: object) -> Callable[[nn.Module], None]:
    """The config says something else."""

    def change(model: nn.Module) -> None:
        assert isinstance(model, transformers.PreTrainedModel)
        for name, value in changes.items():
            setattr(model.config, name, value)

    return change


def moved_buffer(model: nn.Module) -> None:
    model.get_buffer("bert.embeddings.position_ids")[0, -1] += 1


def other_activation(model: nn.Module) -> None:
    model.get_submodule("bert.encoder.layer.1.intermediate").intermediate_act_fn = nn.ReLU()


def halved(model: nn.Module) -> None:
    model.get_submodule("bert.encoder.layer.0").to(torch.bfloat16)


@pytest.mark.parametrize(
    "change",
    [
        nudged("bert.embeddings.word_embeddings.weight"),
        nudged("bert.encoder.layer.0.attention.self.query.bias"),
        nudged("bert.encoder.layer.2.output.LayerNorm.weight"),
        moved_buffer,
        other_activation,
        halved,
        configured(layer_norm_eps=1e-6),
        configured(hidden_act="relu"),
    ],
)
def test_the_key_changes_with_whatever_the_frozen_layers_compute(
    keyed: tuple[Job, Mask, Prefix], change: Callable[[nn.Module], None]
) -> None:
    made, mask, prefix = keyed
    before = prefix_key(made.model, mask, prefix, "fp32 mkl")
    change(made.model)
    assert prefix_key(made.model, mask, prefix, "fp32 mkl") != before


def test_the_key_changes_with_the_arithmetic_and_the_versions(
    keyed: tuple[Job, Mask, Prefix], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, mask, prefix = keyed
    found = {prefix_key(made.model, mask, prefix, arithmetic.key) for arithmetic in (Arithmetic(), Arithmetic("bf16"))}
    found |= {prefix_key(made.model, mask, prefix, Arithmetic(products="onednn").key)}
    for library in ("torch", "transformers"):
        with monkeypatch.context() as patch:
            # By the name that the cache has for it: transformers replaces its own module while it is imported.
            patch.setattr(f"whet.engine.cache.{library}.__version__", "99.0")
            found.add(prefix_key(made.model, mask, prefix, Arithmetic().key))
    assert len(found) == 5


def test_the_key_changes_with_what_is_stored(keyed: tuple[Job, Mask, Prefix]) -> None:
    made, mask, prefix = keyed
    whole = Prefix(prefix.model, prefix.plans, prefix.stored, "all", prefix.share)
    deeper = head_job(method="last_blocks")
    order = np.argsort(deeper.train.lengths, kind="stable")
    last = find_prefix(made.model, deeper.stages[0].mask, (probe(made, order[:2]), probe(made, order[-3:])))
    keys = [prefix_key(made.model, mask, each, "") for each in (prefix, whole, last)]
    assert len(set(keys)) == 3


def labelled(model: nn.Module) -> None:
    configured(id2label={0: "x", 1: "y", 2: "z", 3: "w"}, problem_type="regression")(model)
    model.get_submodule("classifier").weight = nn.Parameter(torch.randn(4, 32))
    model.get_submodule("classifier").bias = nn.Parameter(torch.randn(4))


@pytest.mark.parametrize("change", [nudged("classifier.weight"), nudged("bert.pooler.dense.bias"), labelled])
def test_the_key_stays_whatever_the_head_is(
    keyed: tuple[Job, Mask, Prefix], change: Callable[[nn.Module], None]
) -> None:
    made, mask, prefix = keyed
    before = prefix_key(made.model, mask, prefix, "fp32 mkl")
    change(made.model)
    assert prefix_key(made.model, mask, prefix, "fp32 mkl") == before


# --- the key of a row -------------------------------------------------------------------------------------------


def read(**inputs: Sequence[Sequence[int]]) -> Examples:
    """Rows as a model reads them."""
    ragged = {name: Ragged.of(rows) for name, rows in inputs.items()}
    lengths = next(iter(ragged.values())).lengths
    return Examples(ragged, np.zeros(len(lengths)), lengths, dict.fromkeys(ragged, 0))


def test_the_digest_of_a_row_is_that_of_what_the_model_reads_of_it() -> None:
    examples = read(ids=[[5, 6], [5], [5, 6], [6, 5], [5, 6, 0], [256 + 5, 6]])
    every = row_digests(examples, np.arange(6))
    assert every[0] == every[2]
    assert len(set(every.tolist())) == 5
    assert row_digests(examples, np.array([3, 0])).tolist() == [every[3], every[0]]
    other = replace(read(ids=[[9], [5, 6]]), targets=np.ones(2), fills={"ids": 7})
    assert row_digests(other, np.array([1])).tolist() == [every[0]]


def test_the_digest_of_a_row_tells_its_inputs_apart() -> None:
    ways = [
        read(ids=[[5, 6]]),
        read(numbers=[[5, 6]]),
        read(ids=[[5, 6]], types=[[0, 0]]),
        read(ids=[[5, 6]], types=[[0, 1]]),
        read(ids=[[0, 1]], types=[[5, 6]]),
        read(ids=[[5]], types=[[6]]),
        Examples({"ids": Ragged.of([[5, 6]], np.int64)}, None, np.array([2]), {"ids": 0}),
    ]
    assert len({row_digests(way, np.array([0]))[0] for way in ways}) == len(ways)

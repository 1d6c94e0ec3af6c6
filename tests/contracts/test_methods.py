"""The laws of every method on every backbone family."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.contracts.arena import ROWS, SETTINGS, Fight, probe, run, short, store_as_read, weights
from tests.contracts.backbones import BACKBONES
from tests.contracts.rows import Options, row
from whet import catalog
from whet.engine import cache
from whet.engine.cut import find_prefix
from whet.engine.job import Job
from whet.engine.loop import fit
from whet.engine.state import newest
from whet.engine.store import Store, Writer
from whet.errors import ModelError
from whet.events import Finished, NotStored, StageChanged, Step, Stored
from whet.model.freeze import apply, frozen_depth, frozen_state, set_training_modes, training_modes
from whet.model.parts import parts_of
from whet.protocols import Method

pytestmark = pytest.mark.laws

METHODS = catalog.names("method")
FIGHTS = [Fight(b, name, row(name).options) for b in BACKBONES for name in METHODS if b.name not in row(name).without]
# Two kinds of linear layers, convolutions, and both sides of an encoder-decoder.
TELLING = [b for b in BACKBONES if b.name in ("bert", "gpt2", "t5", "resnet")]
ROUNDING = [Fight(b, name, told) for b in TELLING for name in METHODS for told in row(name).rounding]
VARIANTS = [
    *(Fight(b, name, told) for b in TELLING for name in METHODS for told in row(name).variants),
    *ROUNDING,
]
# Used only where spectrograms are masked at random, which the tiny models do not do.
IDLE = {"wav2vec2.masked_spec_embed", "wavlm.masked_spec_embed"}


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Methods that need a package of an extra are left out where it is absent."""
    for told in request.node.callspec.params.values():
        name = told.method_name if isinstance(told, Fight) else told
        if isinstance(name, str) and name in METHODS:
            pytest.importorskip(row(name).needs, reason=f"{name} needs the package {row(name).needs}")


@pytest.fixture(params=FIGHTS, ids=repr)
def fight(request: pytest.FixtureRequest) -> Fight:
    chosen: Fight = request.param
    return chosen


with_variants = pytest.mark.parametrize("fight", [*FIGHTS, *VARIANTS], ids=repr)


@with_variants
def test_output_is_unchanged_right_after_attach(fight: Fight) -> None:
    before = fight.output(fight.backbone.build())
    after = fight.output(fight.attached()[0])
    if fight in ROUNDING:
        assert torch.allclose(before, after, atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(before, after) is row(fight.method_name).keeps_output


@with_variants
def test_only_the_mask_trains_and_the_rest_stays_bit_equal(fight: Fight) -> None:
    # The weights after the last step: the best ones may be of an earlier stage.
    job = fight.job(short(evaluate_every=100))
    mask = frozenset().union(*(stage.mask for stage in job.stages))
    frozen = {name: tensor.clone() for name, tensor in frozen_state(job.model, job.parts, mask)}
    before = weights(job.model)
    run(job)
    after = weights(job.model)
    assert [name for name, tensor in frozen.items() if not torch.equal(tensor, after[name])] == []
    assert [name for name in mask - IDLE if torch.equal(before[name], after[name])] == []


def test_frozen_modules_are_in_eval_mode_at_every_step(fight: Fight) -> None:
    job = fight.job(SETTINGS)
    trained: set[int] = set()
    wrong: list[str] = []
    stages = iter(job.stages)

    def watch(name: str, module: nn.Module) -> None:
        held = {id(parameter) for parameter in module.parameters()}

        def look(*_: object) -> None:
            # The set is another one in each stage.
            if torch.is_grad_enabled() and held and not held & trained and module.training:
                wrong.append(name)

        module.register_forward_pre_hook(look)

    for name, module in job.model.named_modules():
        watch(name, module)
    for event in fit(job):
        if isinstance(event, StageChanged):
            mask = next(stages).mask
            trained = {id(p) for name, p in job.model.named_parameters() if name in mask}
    assert wrong == []
    assert next(stages, None) is None


@with_variants
def test_every_trainable_tensor_gets_a_gradient_and_nothing_else_does(fight: Fight) -> None:
    model, parts = fight.attached()
    batch = fight.task.collate(fight.task.examples(), np.arange(ROWS))
    for stage in fight.method.stages(parts):
        apply(model, parts, stage.mask)
        set_training_modes(model, training_modes(model, parts, stage.mask))
        model.zero_grad(set_to_none=True)
        fight.task.loss(model(**batch.inputs), batch).backward()  # type: ignore[no-untyped-call]
        assert {name for name, p in model.named_parameters() if p.grad is not None} == stage.mask - IDLE


@with_variants
def test_saved_and_loaded_gives_the_same_output(fight: Fight, tmp_path: Path) -> None:
    job = fight.job(SETTINGS)
    run(job)
    expected = fight.output(job.model)
    job.model.save_pretrained(tmp_path)  # type: ignore[operator]
    if fight.method.keeps_base:
        from peft import PeftModel

        base: Any = row(fight.method_name).prepared(fight.backbone.build())
        loaded: nn.Module = PeftModel.from_pretrained(base, str(tmp_path))
    else:
        loaded = type(fight.backbone.build()).from_pretrained(tmp_path)
    assert torch.equal(fight.output(loaded), expected)


@with_variants
def test_merged_is_unmerged(fight: Fight) -> None:
    job = fight.job(SETTINGS)
    if not row(fight.method_name).merges:
        with pytest.raises(ModelError, match="choose"):
            fight.method.merge(job.model)
        return
    run(job)
    expected = fight.output(job.model)
    merged = fight.method.merge(job.model)
    assert type(merged) is type(fight.backbone.build())
    assert torch.allclose(fight.output(merged), expected, atol=1e-4, rtol=1e-4)


@with_variants
def test_cost_is_the_real_count(fight: Fight, tmp_path: Path) -> None:
    with torch.device("meta"):
        cost = fight.method.cost(parts_of(fight.backbone.build()))
    model, parts = fight.attached()
    mask = frozenset().union(*(stage.mask for stage in fight.method.stages(parts)))
    assert cost.trainable == sum(p.numel() for name, p in model.named_parameters() if name in mask)
    # Two numbers of a quantised weight share a byte.
    assert cost.total == sum(p.numel() * (2 if p.dtype == torch.uint8 else 1) for p in model.parameters())
    assert cost.stored == (stored_numbers(model, tmp_path) if fight.method.keeps_base else cost.total)


def stored_numbers(model: nn.Module, folder: Path) -> int:
    """How many numbers an adapter leaves behind; a network that only makes them is not stored."""
    model.save_pretrained(folder)  # type: ignore[operator]
    return sum(tensor.numel() for tensor in load_file(folder / "adapter_model.safetensors").values())


def test_same_seed_same_run(fight: Fight) -> None:
    first, second = fight.job(SETTINGS), fight.job(SETTINGS)
    losses = [[e.loss for e in run(job) if isinstance(e, Step)] for job in (first, second)]
    assert losses[0] == losses[1]
    again = weights(second.model)
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights(first.model).items())
    other = [e.loss for e in run(fight.job(short(seed=4))) if isinstance(e, Step)]
    assert other != losses[0]


def test_one_forward_pass_or_many_take_the_same_step(fight: Fight) -> None:
    if fight.backbone.name == "resnet":
        pytest.skip("batch norm in training mode sees the rows of its own forward pass only")
    settings = short(epochs=1, batch_size=5, evaluate_every=100)
    whole = run(fight.job(settings, dropout=0.0))
    split = run(fight.job(short(settings, micro_batch_size=1), dropout=0.0))
    for one, many in zip(whole, split, strict=True):
        if isinstance(one, Step):
            assert isinstance(many, Step)
            assert many.loss == pytest.approx(one.loss, abs=1e-4)
            assert many.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-2, abs=1e-4)


@with_variants
def test_resumed_is_uninterrupted_bit_for_bit(fight: Fight, tmp_path: Path) -> None:
    settings = short(evaluate_every=3, checkpoint_every=2)
    whole = fight.job(settings)
    expected = run(whole)
    broken = fight.job(settings, tmp_path)
    with closing(fit(broken)) as events:
        for event in events:
            if isinstance(event, Step) and event.step == 5:
                break
    checkpoint, complaints = newest(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.progress.step, complaints) == (4, [])
    resumed = fight.job(settings, tmp_path)
    rest = run(resumed, checkpoint)
    assert [e.loss for e in rest if isinstance(e, Step)] == [e.loss for e in expected if isinstance(e, Step)][4:]
    assert isinstance(rest[-1], Finished)
    assert rest[-1] == expected[-1]
    final = weights(resumed.model)
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(whole.model).items())


# --- outputs of frozen layers -----------------------------------------------------------------------------------

NAMED = {backbone.name: backbone for backbone in BACKBONES}
STORABLE = [
    *(replace(fight, trimmed=True) for fight in FIGHTS if row(fight.method_name).freezes),
    *(Fight(NAMED[family], name, told, trimmed=True) for name in METHODS for family, told in row(name).storing),
]


@pytest.fixture(params=STORABLE, ids=repr)
def storable(request: pytest.FixtureRequest) -> Fight:
    chosen: Fight = request.param
    return chosen


def ready(fight: Fight) -> tuple[Job, dict[str, bool]]:
    """A job in the modes of training, and those modes."""
    job = fight.job(SETTINGS)
    mask = job.stages[0].mask
    apply(job.model, job.parts, mask)
    modes = training_modes(job.model, job.parts, mask)
    set_training_modes(job.model, modes)
    return job, modes


@pytest.mark.parametrize("fight", [fight for fight in FIGHTS if not row(fight.method_name).freezes], ids=repr)
def test_nothing_is_stored_or_told_where_every_block_trains(fight: Fight) -> None:
    job, _ = ready(fight)
    every = np.arange(ROWS)
    assert list(cache.open_cache(job, job.stages[0].mask, {"train": every, "validation": every}, 0)) == []


def test_a_replay_of_stored_outputs_is_the_forward_pass_bit_for_bit(storable: Fight, tmp_path: Path) -> None:
    job, modes = ready(storable)
    model, lengths = job.model, job.train.lengths
    order = np.argsort(lengths, kind="stable")
    prefix = find_prefix(model, job.stages[0].mask, (probe(job, order[:2]), probe(job, order[-3:])))
    rows = np.arange(1, ROWS, 2)
    batch, lengths = job.task.collate(job.train, rows), lengths[rows]
    digests = cache.row_digests(job.train, rows)
    writer = Writer(Store(prefix.stored, tmp_path), lengths)
    with torch.inference_mode():
        writer.add(digests, lengths, prefix.outputs(batch.inputs, lengths))
    writer.finish()
    store = Store(prefix.stored, tmp_path)
    values = store.gather(store.find(digests), int(lengths.max()))
    statistics = {name: tensor.clone() for name, tensor in model.named_buffers()}

    def outcome(replayed: bool) -> list[Tensor | None]:
        """Outputs in training with their gradients, moved statistics, outputs in evaluation."""
        set_training_modes(model, modes)
        model.zero_grad(set_to_none=True)
        for name, tensor in model.named_buffers():
            tensor.copy_(statistics[name])
        torch.manual_seed(5)
        outputs = prefix.replay(batch.inputs, lengths, values) if replayed else model(**batch.inputs)
        job.task.loss(outputs, batch).backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in model.parameters()]
        moved = [tensor.clone() for _, tensor in model.named_buffers()]
        model.eval()
        with torch.inference_mode():
            answers = prefix.replay(batch.inputs, lengths, values) if replayed else model(**batch.inputs)
        return [outputs["logits"], *gradients, *moved, answers["logits"]]

    for plain, replayed in zip(outcome(replayed=False), outcome(replayed=True), strict=True):
        if plain is None:
            assert replayed is None
        else:
            assert replayed is not None
            assert torch.equal(plain, replayed)


def test_a_run_that_reads_stored_outputs_ends_at_the_very_weights(
    storable: Fight, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is stored is read in the first epoch only, in the very batches in which it was computed.
    quarter = row(storable.method_name).quarter
    storable = replace(storable, options={**storable.options, **quarter})
    settings = short(epochs=4 if quarter else 1)
    whole, stored = storable.job(short(settings, cache="off")), storable.job(short(settings, cache="memory"))
    store_as_read(monkeypatch, stored)
    expected, events = run(whole), run(stored)
    blocks = frozen_depth(stored.parts, stored.stages[0].mask)
    told = [event for event in events if isinstance(event, Stored | NotStored)]
    assert [event.blocks if isinstance(event, Stored) else event.reason for event in told] == [blocks]
    losses = [[(e.loss, e.gradient_norm) for e in every if isinstance(e, Step)] for every in (expected, events)]
    assert losses[0] == losses[1]
    final = weights(stored.model)
    assert [name for name, tensor in weights(whole.model).items() if not torch.equal(tensor, final[name])] == []


@pytest.mark.parametrize(
    ("name", "option"), [(name, option.name) for name in METHODS for option in catalog.options("method", name)]
)
def test_an_option_that_is_changed_changes_the_job(name: str, option: str) -> None:
    needed = {o.name: row(name).options[o.name] for o in catalog.options("method", name) if o.required}

    def outcome(options: dict[str, object]) -> tuple[object, list[float]]:
        job = Fight(BACKBONES[0], name, options).job(SETTINGS)
        return job.stages, [e.loss for e in run(job) if isinstance(e, Step)]

    assert outcome({**needed, option: row(name).changed[option]}) != outcome(needed)


@pytest.mark.parametrize(
    ("name", "options", "words"), [(name, told, words) for name in METHODS for told, words in row(name).refused]
)
def test_what_cannot_work_is_refused_with_the_way_out(name: str, options: Options, words: tuple[str, ...]) -> None:
    plain = BACKBONES[0].build()
    method: Method = catalog.build("method", name, options)
    with pytest.raises(ModelError) as error:
        method.attach(plain, parts_of(plain))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("name", "family", "word"), [(name, *told) for name in METHODS for told in row(name).without.items()]
)
def test_a_backbone_on_which_a_method_has_no_meaning_is_refused(name: str, family: str, word: str) -> None:
    plain = NAMED[family].build()
    method: Method = catalog.build("method", name, row(name).options)
    with pytest.raises(ModelError, match=word) as error:
        method.attach(plain, parts_of(plain))
    assert "choose" in str(error.value)

"""AdamW by rows does what AdamW does."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.contracts.arena import SETTINGS, Fight, run, short, weights
from tests.contracts.backbones import BACKBONES
from tests.engine.jobs import killed_after_saving
from whet.engine import rows
from whet.engine.optim import tables
from whet.engine.rows import RowAdamW, large_tables
from whet.engine.state import newest, optimizer_state, restore_optimizer
from whet.events import Finished

ROWS, WIDTH = 40, 6


def pair(**options: float) -> tuple[list[nn.Embedding], list[torch.optim.AdamW]]:
    """The same table twice: trained densely by torch's AdamW, and by rows."""
    torch.manual_seed(0)
    dense = nn.Embedding(ROWS, WIDTH, dtype=torch.float64)
    sparse = nn.Embedding(ROWS, WIDTH, sparse=True, dtype=torch.float64)
    sparse.load_state_dict(dense.state_dict())
    by_row = RowAdamW(sparse.parameters(), lr=1e-2, fused=True, **options)  # type: ignore[arg-type]
    return [dense, sparse], [torch.optim.AdamW(dense.parameters(), lr=1e-2, fused=True, **options), by_row]  # type: ignore[arg-type]


def steps(pairs: list[nn.Embedding], optimizers: list[torch.optim.AdamW], count: int, seed: int = 1) -> None:
    """Steps of a falling rate that read few rows, some of them hardly ever; the loss depends on the rows."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        read = torch.randint(0, ROWS if number % 31 == 0 else 5, (3,), generator=generator)
        target = torch.randn(3, WIDTH, generator=generator, dtype=torch.float64)
        for table, optimizer in zip(pairs, optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 1e-2 * (1 - number / (count + 1))
            optimizer.zero_grad()
            if isinstance(optimizer, RowAdamW):
                optimizer.about_to_read(table.weight, read)
            (table(read) * target + table(read) ** 2).sum().backward()
            optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("count", [1, 2, 50, 700])
def test_settled_rows_are_those_of_adamw(count: int, decay: float) -> None:
    pairs, optimizers = pair(weight_decay=decay)
    steps(pairs, optimizers, count)
    assert isinstance(optimizers[1], RowAdamW)
    optimizers[1].settle()
    torch.testing.assert_close(pairs[1].weight, pairs[0].weight, atol=2e-5, rtol=0)
    for key in ("exp_avg", "exp_avg_sq", "step"):
        by_row, dense = (o.state[t.weight][key] for t, o in zip(pairs, optimizers, strict=True))
        torch.testing.assert_close(by_row, dense, atol=1e-4, rtol=1e-4, check_dtype=False)


def test_what_is_put_off_is_seen_before_it_is_settled() -> None:
    pairs, optimizers = pair()
    steps(pairs, optimizers, 40)
    behind = (pairs[0].weight - pairs[1].weight).abs().amax(1)
    assert int((behind > 1e-4).sum()) > 5
    everything = torch.arange(ROWS)
    assert isinstance(optimizers[1], RowAdamW)
    optimizers[1].about_to_read(pairs[1].weight, everything)
    torch.testing.assert_close(pairs[1].weight, pairs[0].weight, atol=2e-5, rtol=0)


def test_a_dense_gradient_after_sparse_ones_is_taken_from_where_they_left() -> None:
    pairs, optimizers = pair(weight_decay=0.01)
    steps(pairs, optimizers, 60)
    for table, optimizer in zip(pairs, optimizers, strict=True):
        optimizer.zero_grad()
        table.weight.grad = torch.ones_like(table.weight)
        optimizer.step()
    torch.testing.assert_close(pairs[1].weight, pairs[0].weight, atol=2e-5, rtol=0)
    assert "seen" not in optimizers[1].state[pairs[1].weight]


def test_its_state_can_be_taken_out_and_put_back() -> None:
    pairs, optimizers = pair(weight_decay=0.01)
    steps(pairs, optimizers, 60)
    other, fresh = pair(weight_decay=0.01)
    other[1].load_state_dict(pairs[1].state_dict())
    assert restore_optimizer(fresh[1], ["table"], optimizer_state(optimizers[1], ["table"])) == {}
    for table, optimizer in ((pairs[1], optimizers[1]), (other[1], fresh[1])):
        steps([table], [optimizer], 20, seed=2)
    assert torch.equal(pairs[1].weight, other[1].weight)


def test_tables_are_large_trained_and_only_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LARGE", ROWS * WIDTH)
    large, frozen, bounded = nn.Embedding(ROWS, WIDTH), nn.Embedding(ROWS, WIDTH), nn.Embedding(ROWS, WIDTH, max_norm=1)
    frozen.weight.requires_grad_(False)
    tied, head = nn.Embedding(ROWS, WIDTH), nn.Linear(WIDTH, ROWS)
    head.weight = tied.weight
    model = nn.ModuleList([large, frozen, bounded, tied, head, nn.Embedding(ROWS - 1, WIDTH)])
    assert large_tables(model) == {id(large.weight)}


def full_run(monkeypatch: pytest.MonkeyPatch, *, by_row: bool) -> dict[str, Tensor]:
    """All weights after a run of a tiny BERT, whose word embeddings count as large or do not."""
    monkeypatch.setattr(rows, "LARGE", 1000 if by_row else 10**9)
    job = Fight(BACKBONES[0], "full", {}).job(short(SETTINGS, epochs=6), dropout=0.0)
    assert bool(large_tables(job.model)) == by_row
    run(job)
    return weights(job.model)


def test_a_run_by_rows_ends_like_a_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, by_row = full_run(monkeypatch, by_row=False), full_run(monkeypatch, by_row=True)
    for name, tensor in dense.items():
        distance = float((by_row[name] - tensor).double().norm() / tensor.double().norm().clamp_min(1.0))
        assert distance < 1e-4, name
    before = weights(Fight(BACKBONES[0], "full", {}).attached()[0])
    table = "bert.embeddings.word_embeddings.weight"
    assert float((dense[table] - before[table]).norm() / before[table].norm()) > 0.01


def test_resumed_by_rows_is_uninterrupted_bit_for_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rows, "LARGE", 1000)
    settings = short(SETTINGS, epochs=4, checkpoint_every=2, evaluate_every=5)
    fight = Fight(BACKBONES[0], "full", {})
    whole = fight.job(settings)
    expected = run(whole)
    killed_after_saving(6, fight.job(settings, tmp_path))
    checkpoint, _ = newest(tmp_path)
    resumed = fight.job(settings, tmp_path)
    rest = run(resumed, checkpoint)
    assert isinstance(rest[-1], Finished)
    assert rest[-1] == expected[-1]
    final = weights(resumed.model)
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(whole.model).items())


def test_a_momentum_that_moves_is_followed_densely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LARGE", 1000)
    one_cycle = {"name": "one_cycle", "rise": 0.3, "start": 0.04, "final": 1e-4}
    one_cycle |= {"lowest_momentum": 0.85, "highest_momentum": 0.95}
    job = Fight(BACKBONES[0], "full", {}).job(short(SETTINGS, schedule=one_cycle))
    assert tables(job.model, job.settings, job.device) == frozenset()
    assert tables(job.model, SETTINGS, job.device) == large_tables(job.model) != frozenset()

"""What stands between a model and torch computes the same, in distribution or to the last bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from whet.engine.kernels import Kernels, round_frozen

SIZE = 200_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_scales_the_rest(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ones = torch.ones(SIZE, dtype=dtype, requires_grad=True)
    with Kernels():
        dropped = functional.dropout(ones, probability)
    zero = float((dropped == 0).float().mean())
    # Five standard errors.
    assert zero == pytest.approx(probability, abs=5 * (probability * (1 - probability) / SIZE) ** 0.5)
    kept = dropped.detach()[dropped != 0]
    assert torch.all(kept == kept[0])
    assert float(kept[0]) == pytest.approx(1 / (1 - probability), rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped.detach())


def test_neighbours_drop_independently_of_one_another() -> None:
    torch.manual_seed(0)
    with Kernels():
        kept = functional.dropout(torch.ones(SIZE), 0.5) != 0
    for distance in (1, 2, 3, 4, 5, 8):
        assert float((kept[distance:] == kept[:-distance]).float().mean()) == pytest.approx(0.5, abs=0.006)


def test_dropout_follows_torchs_generator_and_nothing_else() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with Kernels():
            return torch.stack([functional.dropout(torch.ones(64), 0.5) for _ in range(2)])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert not torch.equal(drawn(1)[0], drawn(1)[1])


def test_dropout_leaves_alone_what_is_not_dropped() -> None:
    values = torch.randn(50)
    with Kernels():
        assert torch.equal(functional.dropout(values, 0.0), values)
        assert torch.equal(functional.dropout(values, 0.5, training=False), values)
        assert torch.equal(nn.Dropout(0.5).eval()(values), values)
        assert torch.equal(functional.dropout(values, 1.0), torch.zeros(50))
        in_place = values.clone()
        assert functional.dropout(in_place, 0.5, inplace=True) is in_place
    assert int((in_place == 0).sum()) > 5


def test_a_table_gets_a_gradient_for_the_rows_it_was_read_at_but_padding() -> None:
    table = nn.Embedding(10, 3, padding_idx=0)
    heard = []
    read = torch.tensor([[1, 4, 4], [0, 0, 7]])
    with Kernels(frozenset([id(table.weight)]), lambda weight, rows: heard.append((weight, rows))):
        output = table(read)
        with torch.no_grad():
            assert torch.equal(table(read), output)
    output.sum().backward()
    gradient = table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert gradient.to_dense()[:, 0].tolist() == [0, 1, 0, 0, 2, 0, 0, 1, 0, 0]
    assert len(heard) == 1
    assert heard[0][0] is table.weight
    assert torch.equal(heard[0][1], read)


def test_a_frozen_weight_that_was_rounded_before_gives_what_rounding_it_now_gives() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[0].requires_grad_(False)
    rounded = round_frozen(model)
    assert set(rounded) == {id(model[0].weight)}
    values = torch.randn(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(values)
        with Kernels(rounded=rounded):
            found = model(values)
    assert torch.equal(found, expected)


def test_weights_given_by_name_and_layers_outside_of_autocast_are_left_alone() -> None:
    linear, table = nn.Linear(8, 8).requires_grad_(False), nn.Embedding(10, 3)
    values, read = torch.randn(5, 8), torch.tensor([1, 2])
    with Kernels(frozenset([id(table.weight)]), rounded=round_frozen(linear)):
        assert torch.equal(functional.linear(values, weight=linear.weight), values @ linear.weight.T)
        assert torch.equal(functional.embedding(read, weight=table.weight), table.weight[read])
        assert linear(values).dtype == torch.float32


def test_what_is_left_out_of_a_replay_is_not_rounded() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).requires_grad_(False)
    second = model[1]
    assert isinstance(second, nn.Linear)
    assert set(round_frozen(model, ["0"])) == {id(second.weight)}

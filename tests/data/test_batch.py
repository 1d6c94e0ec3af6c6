import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core import Ragged
from whet.data.batch import epoch_batches, pad, sorted_batches

row_lengths = st.lists(st.integers(1, 300), min_size=1, max_size=200).map(np.array)
sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32)


def like_texts(rows: int) -> np.ndarray:
    """(rows,) lengths as texts have them: many short ones, a few long ones."""
    return np.random.default_rng(0).lognormal(3.0, 0.6, rows).astype(int).clip(4, 256)


def padded(lengths: np.ndarray, batches: list[np.ndarray]) -> int:
    """Tokens that are computed for an epoch, padding included."""
    return sum(len(batch) * int(lengths[batch].max()) for batch in batches)


def as_sets(batches: list[np.ndarray]) -> set[frozenset[int]]:
    """Which rows meet."""
    return {frozenset(batch.tolist()) for batch in batches}


@given(row_lengths, sizes, seeds, st.integers(0, 5))
def test_an_epoch_has_each_row_once_in_full_batches_and_one_rest(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    full, rest = divmod(len(lengths), batch_size)
    assert [len(batch) for batch in batches] == [batch_size] * full + [rest] * (rest > 0)


@given(row_lengths, sizes, seeds)
def test_the_same_seed_and_epoch_give_the_same_batches(lengths: np.ndarray, batch_size: int, seed: int) -> None:
    first, second = (epoch_batches(lengths, batch_size, seed=seed, epoch=3) for _ in range(2))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


@pytest.mark.parametrize("rows", [64, 320, 2000])
def test_other_rows_meet_in_every_epoch_and_with_every_seed(rows: int) -> None:
    # All lengths differ: nothing but chance can bring other rows together.
    lengths = np.arange(4, 4 + rows)
    plans = [
        as_sets(epoch_batches(lengths, 16, seed=seed, epoch=epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    for number, plan in enumerate(plans):
        for other in plans[number + 1 :]:
            assert len(plan & other) <= 0.25 * len(plan)


@pytest.mark.parametrize("rows", [200, 1000, 5000])
def test_batches_of_like_length_need_far_less_padding_than_random_ones(rows: int) -> None:
    lengths = like_texts(rows)
    order = np.random.default_rng(1).permutation(rows)
    by_chance = padded(lengths, [order[i : i + 16] for i in range(0, rows, 16)])
    by_length = padded(lengths, epoch_batches(lengths, 16, seed=0, epoch=0))
    real = int(lengths.sum())
    assert by_length - real < 0.4 * (by_chance - real)


def test_long_batches_come_anywhere_in_an_epoch() -> None:
    lengths = like_texts(1600)
    longest = [int(lengths[batch].max()) for batch in epoch_batches(lengths, 16, seed=0, epoch=0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_the_batches_of_an_epoch_stay_what_they_were_when_a_run_was_saved() -> None:
    batches = epoch_batches(np.array([5, 9, 5, 7, 30, 31, 8]), 2, seed=1, epoch=2)
    assert [batch.tolist() for batch in batches] == [[5, 4], [6, 1], [0, 3], [2]]


@given(row_lengths, st.integers(1, 2000))
def test_evaluation_batches_hold_each_row_once_the_longest_first_within_the_budget(
    lengths: np.ndarray, tokens: int
) -> None:
    batches = sorted_batches(lengths, tokens)
    order = np.concatenate(batches)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert lengths[order].tolist() == sorted(lengths.tolist(), reverse=True)
    assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens for batch in batches)


def test_no_rows_make_no_batches() -> None:
    assert sorted_batches(np.zeros(0, dtype=np.int64), 100) == []
    assert epoch_batches(np.zeros(0, dtype=np.int64), 4, seed=0, epoch=0) == []


def test_rows_without_a_token_can_be_batched() -> None:
    assert [batch.tolist() for batch in sorted_batches(np.zeros(3, dtype=np.int64), 2)] == [[0, 1], [2]]


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=9), st.data())
def test_padding_keeps_the_values_and_fills_the_right(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5))
    array = pad(Ragged.of(rows), np.array(chosen), fill=-7)
    longest = max(len(rows[index]) for index in chosen)
    assert array.tolist() == [rows[index] + [-7] * (longest - len(rows[index])) for index in chosen]
    assert array.dtype == np.int64


def test_no_rows_of_many_are_padded_to_nothing() -> None:
    assert pad(Ragged.of([[1, 2], [3]]), np.zeros(0, dtype=np.int64), fill=0).shape == (0, 0)


@given(st.lists(st.lists(st.lists(st.integers(-9, 99), max_size=5), max_size=5), max_size=4))
def test_joined_rows_are_those_of_all_parts(parts: list[list[list[int]]]) -> None:
    joined = Ragged.joined([Ragged.of(part) for part in parts])
    expected = [row for part in parts for row in part]
    assert [joined[row].tolist() for row in range(len(joined))] == expected
    assert joined.lengths.tolist() == [len(row) for row in expected]
    assert joined.values.dtype == np.int32


def test_a_number_too_large_for_a_token_is_no_other_number() -> None:
    with pytest.raises(OverflowError):
        Ragged.of([[1], [2**31]])

"""Differences and their noise, against values that are known otherwise."""

from math import comb

import numpy as np
import pytest

from whet.evaluate.compare import Sample, difference, loss_difference, mcnemar, mean, resamples


def rows(values: list[float] | np.ndarray) -> Sample:
    array = np.asarray(values, dtype=float)
    return Sample.of_rows(array, array > 0.5)


def test_the_error_of_a_mean_is_the_one_of_the_textbook() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, 400)
    found = mean([rows(values)])
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / 20, rel=0.06)
    assert found.low == pytest.approx(found.value - 1.96 * found.error, abs=0.03)
    assert found.high == pytest.approx(found.value + 1.96 * found.error, abs=0.03)


def test_a_difference_on_the_same_rows_is_surer_than_two_scores() -> None:
    generator = np.random.default_rng(1)
    one = (generator.random(1000) < 0.8).astype(float)
    other = one.copy()
    other[:30] = 1 - other[:30]
    apart = difference([rows(one)], [rows(other)])
    assert apart.value == pytest.approx((one - other).mean())
    assert apart.error == pytest.approx((one - other).std(ddof=1) / 1000**0.5, rel=0.06)
    alone = mean([rows(one)]).error
    assert apart.error < alone / 2


def test_a_score_that_is_no_mean_is_computed_anew_on_rows_drawn_anew() -> None:
    values = np.random.default_rng(2).normal(size=300)
    as_score = mean([Sample.of_score(300, lambda rows: float(values[rows].mean()))])
    assert as_score.error == pytest.approx(values.std(ddof=1) / 300**0.5, rel=0.15)


def test_seeds_add_their_own_noise_even_where_there_are_few() -> None:
    # Rows tell nothing here: all that is uncertain is the seed. The error of a mean of S is deviation / sqrt(S).
    scores = np.array([0.80, 0.83, 0.89])
    samples = [Sample(score, np.full(2000, score)) for score in scores]
    found = mean(samples)
    assert found.value == pytest.approx(0.84)
    assert found.error == pytest.approx(scores.std(ddof=1) / 3**0.5, rel=0.06)
    # The same seeds stand side by side: what they have in common cancels out.
    shifted = [Sample(one.score - 0.01, one.draws - 0.01) for one in samples]
    apart = difference(samples, shifted)
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.01, 0.01, 0.01))


@pytest.mark.parametrize(("ours", "theirs"), [(8, 2), (2, 8), (5, 5), (12, 0), (0, 0)])
def test_mcnemar_is_the_binomial_of_the_rows_that_only_one_gets_right(ours: int, theirs: int) -> None:
    one = np.array([1] * ours + [0] * theirs + [1] * 40 + [0] * 20, dtype=float)
    other = np.array([0] * ours + [1] * theirs + [1] * 40 + [0] * 20, dtype=float)
    trials, least = ours + theirs, min(ours, theirs)
    tail = sum(comb(trials, k) for k in range(least + 1)) / 2**trials
    assert mcnemar([rows(one)], [rows(other)]) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_knows_the_table_of_a_textbook() -> None:
    # 59 against 121 discordant pairs: exact two-sided p.
    one, other = np.array([1.0] * 121 + [0.0] * 59), np.array([0.0] * 121 + [1.0] * 59)
    assert mcnemar([rows(one)], [rows(other)]) == pytest.approx(4.434e-06, rel=1e-3)


def test_of_several_seeds_a_row_counts_once() -> None:
    right, wrong = np.ones(10), np.zeros(10)
    mixed = np.array([1.0] * 5 + [0.0] * 5)
    assert mcnemar([rows(right), rows(right)], [rows(wrong), rows(mixed)]) == pytest.approx(2 / 2**10)
    assert mcnemar([rows(right)], [Sample(0.0, np.zeros(3))]) is None


def test_everybody_is_measured_on_the_same_rows_drawn_anew() -> None:
    one, other = list(resamples(7, 3)), list(resamples(7, 3))
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert len({tuple(row) for row in one}) == 3


def test_losses_of_rows_are_compared_in_pairs() -> None:
    generator = np.random.default_rng(3)
    ours, theirs = generator.normal(1.0, 1.0, 500), generator.normal(0.0, 0.1, 500)
    one, other = (Sample(0.0, np.zeros(2), losses=losses) for losses in (ours + theirs, ours))
    apart = loss_difference([one], [other])
    assert apart is not None
    assert apart.value == pytest.approx(theirs.mean())
    assert apart.error == pytest.approx(theirs.std(ddof=1) / 500**0.5)
    assert loss_difference([one], [Sample(0.0, np.zeros(2))]) is None
    shifted = Sample(0.0, np.zeros(2), losses=ours + theirs + 0.2)
    both = loss_difference([one, shifted], [other, other])
    assert both is not None
    assert both.error == pytest.approx((apart.error**2 + 0.1**2) ** 0.5)

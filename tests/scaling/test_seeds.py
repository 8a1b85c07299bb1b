"""Intervals of means over seeds, against numbers by hand and their own promise."""

import numpy as np
import pytest

from chemscale_bench.scaling.seeds import Mean, gap, mean_over_seeds


def test_the_spread_is_that_of_all_sizes_within_a_decade() -> None:
    params = [1e3, 1e3, 1e4, 1e4, 1e5, 1e5, 1e5]
    loss = [5.0, 9.0, 2.0, 2.2, 1.0, 1.1, 1.2]
    mean = mean_over_seeds(params, loss, 1e5)
    # Relative squares: 2 (0.1 / 2.1)^2 and 2 (0.1 / 1.1)^2, on 1 + 2 degrees of freedom; t of 3 at 95 % is 2.35336.
    error = 1.1 * np.sqrt((2 * (0.1 / 2.1) ** 2 + 2 * (0.1 / 1.1) ** 2) / 3 / 3)
    assert mean == pytest.approx((1.1, error, 3))
    assert mean.interval(0.9) == pytest.approx((1.1 - 2.353363 * error, 1.1 + 2.353363 * error))


def test_a_single_run_is_as_sure_as_its_neighbours_and_unknown_without_any() -> None:
    assert mean_over_seeds([3e4, 3e4, 1e5], [2.0, 2.2, 1.0], 1e5) == pytest.approx((1.0, np.sqrt(2) * 0.1 / 2.1, 1))
    alone = mean_over_seeds([1e3, 1e3, 1e5], [2.0, 2.2, 1.0], 1e5)
    assert alone.free == 0
    assert np.isnan(alone.interval(0.9)).all()
    assert np.isnan(gap(alone, Mean(0.5, 0.1, 2), 0.9)[1:]).all()


def test_a_gap_is_welch_where_each_mean_has_its_own_seeds_only() -> None:
    from scipy.stats import ttest_ind

    first, second = [1.0, 1.3, 1.1], [0.8, 0.85]
    found = gap(*(mean_over_seeds([1e4] * len(each), each, 1e4) for each in (first, second)), 0.9)
    expected = ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.9)))


def test_sizes_that_missed_a_decade_share_their_spread() -> None:
    assert mean_over_seeds([29_120, 29_120, 314_784], [2.0, 2.2, 1.0], 314_784).free == 1


def test_a_spread_that_falls_with_size_makes_intervals_of_the_largest_wide() -> None:
    rng, sizes = np.random.default_rng(0), np.repeat([3e4, 6e4, 1e5, 3e5], 2)
    losses = sizes**-0.1 * np.exp(rng.normal(0, [0.02, 0.02, 0.015, 0.015, 0.01, 0.01, 0.01, 0.01], (1_000, 8)))
    ends = [mean_over_seeds(sizes, each, 3e5).interval(0.9) for each in losses]
    assert 0.92 < np.mean([low <= 3e5**-0.1 <= high for low, high in ends]) < 0.99


def test_intervals_of_two_seeds_hold_as_promised_and_are_far_narrower_than_those_of_two_alone() -> None:
    rng, sizes = np.random.default_rng(0), np.repeat([3e4, 6e4, 1e5, 3e5], 2)
    held, told, pooled, alone = 0, 0, [], []
    for _ in range(1_000):
        loss, other = sizes**-0.1 * np.exp(rng.normal(0, 0.01, (2, 8)))
        mean, rival = (mean_over_seeds(sizes, each, 3e5) for each in (loss, other))
        low, high = mean.interval(0.9)
        held += low <= 3e5**-0.1 <= high
        told += gap(mean, rival, 0.9).p < 0.1
        pooled.append(high - low)
        alone.append(np.ptp(mean_over_seeds(sizes[6:], loss[6:], 3e5).interval(0.9)))
    assert held / 1_000 == pytest.approx(0.9, abs=0.03)
    assert told / 1_000 == pytest.approx(0.1, abs=0.03)
    assert np.mean(pooled) < 0.5 * np.mean(alone)

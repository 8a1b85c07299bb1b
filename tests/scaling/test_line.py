"""A straight line recovers the truth it was drawn from, and its intervals hold it as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chemscale_bench.scaling.line import slope_difference, straight_line


def test_a_line_worked_out_by_hand() -> None:
    # x = 0..3, y = 1, 2, 4, 5: slope 1.4, intercept .9, residual variance .1 over Sxx = 5; t(.95, 2) = 2.919986.
    line = straight_line([0, 1, 2, 3], [1, 2, 4, 5])
    assert line
    assert line.slope == pytest.approx(1.4)
    assert line.intercept == pytest.approx(0.9)
    assert line.slope_interval == pytest.approx((1.4 - 2.919986 * 0.02**0.5, 1.4 + 2.919986 * 0.02**0.5))
    assert line.intercept_interval == pytest.approx((0.9 - 2.919986 * 0.07**0.5, 0.9 + 2.919986 * 0.07**0.5))


def test_where_the_line_reaches_a_height() -> None:
    line = straight_line([0, 1, 2, 3], [1, 2, 4, 5])
    assert line
    x, (low, high) = line.reaches(-2)
    assert x == pytest.approx(-2.9 / 1.4)
    for end in (low, high):  # there the band of the line passes through the height
        band = 2.919986 * np.sqrt(0.1 * (1 / 4 + (end - 1.5) ** 2 / 5))
        assert abs(0.9 + 1.4 * end + 2) == pytest.approx(band)
    assert low < x < high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, x = np.random.default_rng(0), np.linspace(0.8, 1.4, 8)
    held = np.zeros((2000, 3))
    for each in held:
        line = straight_line(x, 33 * x - 16.4 + rng.normal(0, 1.0, len(x)))
        assert line
        ends = (line.slope_interval, line.intercept_interval, line.reaches(0.0)[1])
        each[:] = [low < truth < high for truth, (low, high) in zip((33, -16.4, 16.4 / 33), ends, strict=True)]
    assert held.mean(0) == pytest.approx(0.9, abs=0.025)


def test_the_difference_of_two_slopes_by_hand() -> None:
    # Standard errors .02**.5 of two degrees of freedom each: together .04**.5 of four, t(.95, 4) = 2.131847.
    first, second = straight_line([0, 1, 2, 3], [1, 2, 4, 5]), straight_line([0, 1, 2, 3], [5, 4, 2, 1])
    assert first
    assert second
    found = slope_difference(first, second)
    assert found.value == pytest.approx(2.8)
    assert found.interval == pytest.approx((2.8 - 2.131847 * 0.2, 2.8 + 2.131847 * 0.2))
    assert found.p == pytest.approx(2 * stats.t.sf(14, 4))
    assert slope_difference(first, first).p == 1


def test_slopes_without_an_error_differ_surely_or_not_at_all() -> None:
    even, steep = straight_line([0, 1, 2], [0, 1, 2]), straight_line([0, 1, 2], [0, 2, 4])
    assert even
    assert steep
    assert slope_difference(steep, even) == (1.0, (1.0, 1.0), 0.0)
    assert slope_difference(even, even) == (0.0, (0.0, 0.0), 1.0)


def test_equal_slopes_of_unequal_scatter_are_told_apart_as_rarely_as_they_should() -> None:
    rng, told = np.random.default_rng(0), 0
    for _ in range(1000):
        lines = [straight_line(x := np.arange(n), x + rng.normal(0, sd, n)) for n, sd in ((5, 0.3), (9, 1.0))]
        assert lines[0]
        assert lines[1]
        told += slope_difference(lines[0], lines[1]).p < 0.1
    assert told / 1000 == pytest.approx(0.1, abs=0.03)


def test_what_tells_nothing() -> None:
    assert straight_line([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert straight_line([1, 2], [1, 2]) is None
    line = straight_line([0, 1, 2, 3], [1, -1, 1, -1])  # a slope that may be 0
    assert line
    assert line.reaches(10.0)[0] == pytest.approx(1.5 - 10 / 0.4)
    assert np.isnan(line.reaches(10.0)[1]).all()
    level = straight_line([0, 1, 2, 3], [2, 2, 2, 2])
    assert level
    assert np.isnan(level.reaches(1.0)[0])

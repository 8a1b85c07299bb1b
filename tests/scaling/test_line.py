"""A straight line recovers the truth it was drawn from, and its intervals hold it as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chemscale_bench.scaling.line import straight_line


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


def test_how_likely_a_slope_is_where_there_is_none() -> None:
    line = straight_line([0, 1, 2, 3], [1, 2, 4, 5])
    assert line
    assert line.p == pytest.approx(2 * stats.t.sf(1.4 / 0.02**0.5, 2))
    steep, even = straight_line([0, 1, 2], [0, 2, 4]), straight_line([0, 1, 2], [2, 2, 2])
    assert steep
    assert even
    assert (steep.p, even.p) == (0.0, 1.0)


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

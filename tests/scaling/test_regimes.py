"""Breaks are found where they were planted, and not where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from chemscale_bench.scaling import UnidentifiedError, find_regimes
from chemscale_bench.scaling.regimes import _Bend, _best_bend

SIZES = np.geomspace(1e5, 1e9, 9)


def grid(limits: list[float], exponent: float, seed: int, noise: float = 0.01) -> tuple[np.ndarray, ...]:
    """A row of `SIZES` for each limit, flat beyond it."""
    params = np.tile(SIZES, len(limits))
    tokens = np.repeat(np.geomspace(1e8, 1e11, len(limits)), len(SIZES))
    loss = 10 * np.minimum(params, np.repeat(limits, len(SIZES))) ** -exponent
    return params, tokens, loss * np.exp(noise * np.random.default_rng(seed).normal(size=len(loss)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(2, 6), min_size=2, max_size=4).map(sorted),
    st.floats(0.1, 0.4),
    st.integers(0, 10_000),
    st.floats(0.05, 0.95),
)
def test_breaks_are_found_within_one_grid_step(breaks: list[int], exponent: float, seed: int, within: float) -> None:
    step = SIZES[1] / SIZES[0]
    limits = [float(SIZES[place] * step**within) for place in breaks] + [np.inf]
    params, tokens, loss = grid(limits, exponent, seed)
    regimes = find_regimes(params, tokens, loss)
    for curve, limit in zip(regimes.curves, limits, strict=True):
        if np.isfinite(limit):
            assert limit / step <= curve.limited_beyond <= limit * step
        else:
            assert curve.limited_beyond == np.inf


def test_exponent_of_the_power_law_points_and_of_all() -> None:
    params, tokens, loss = grid([3e6, 3e7], 0.17, seed=0)
    curve = find_regimes(params, tokens, loss).headline
    assert curve.law is not None
    assert curve.law_of_all is not None
    low, high = curve.law.confidence_interval("exponent")
    assert low < 0.17 < high
    assert curve.law_of_all.exponent_ < low


def test_the_reverse_axis_is_called_model_limited() -> None:
    params, tokens, loss = grid([3e6, 3e7], 0.17, seed=0)
    regimes = find_regimes(tokens, params, loss, along="tokens")
    assert set(regimes.label) == {"power_law", "model_limited"}
    assert (find_regimes(params, tokens, loss).label == "data_limited").sum() == (regimes.label != "power_law").sum()


def test_a_curve_that_is_flat_from_the_start_is_limited_throughout() -> None:
    params, tokens, loss = grid([1e4, 1e12], 0.2, seed=0)
    regimes = find_regimes(params, tokens, loss)
    assert (regimes.label[tokens == 1e8] == "data_limited").all()
    assert "no power-law points" in regimes.curves[0].refusal


def test_no_curve_with_a_law_is_refused() -> None:
    with pytest.raises(UnidentifiedError, match="no curve along params"):
        _ = find_regimes([1e6, 1e7], [1e9, 1e9], [2, 1.5]).headline


def test_straight_curves_are_called_broken_as_rarely_as_the_significance_says() -> None:
    """Without a change of slope to ask for, so that the F test alone decides: its level, and its degrees of freedom."""
    from unittest.mock import patch

    from chemscale_bench.scaling import regimes

    called = tried = 0
    with patch.object(regimes, "LEAST_CHANGE", 1.0):
        for seed in range(100):
            found = find_regimes(*grid([np.inf, np.inf], 0.2, seed, noise=0.05))
            called += sum(np.isfinite(curve.limited_beyond) for curve in found.curves)
            tried += len(found.curves)
    assert called / tried <= 0.01


@pytest.mark.parametrize("points", [4, 6, 12])
@pytest.mark.parametrize("free", [1, 10])
def test_a_bend_holds_if_chance_at_any_of_its_places_makes_one_in_a_hundred(points: int, free: int) -> None:
    """Two parameters more, tried at all places between the second size and the last but one."""
    edge = brentq(lambda ratio: (points - 2) * stats.f.sf(ratio, 2, free) - 0.01, 1, 1e6)
    bend = _Bend(points, 0.0, 3.0 + 2 * edge, 3.0, 0.2, 0.2, 0.1)
    assert not bend.holds(1.001, free)
    assert bend.holds(0.999, free)
    assert not bend.holds(0.999, 0)
    assert not bend._replace(points=3).holds(1e-9, free)
    assert not bend._replace(second_slope=0.141).holds(0.999, free), "the slope falls below 0.7 of what it was"
    assert bend._replace(second_slope=0.139).holds(0.999, free)


def test_a_bent_line_by_hand() -> None:
    """Twice three points, falling by 0.3 to x = 2 and by 0.1 from there on; the second point was seen twice."""
    x = np.array([0.0, 1, 1, 2, 3, 4])
    y = np.array([5.0, 4.6, 4.8, 4.4, 4.3, 4.2])
    bend = _best_bend(x, y)
    assert (bend.points, bend.place) == (5, pytest.approx(2))
    assert (bend.first_slope, bend.second_slope) == (pytest.approx(0.3), pytest.approx(0.1))
    assert bend.bent == pytest.approx(0, abs=1e-20)
    mean, fall = np.average(y, weights=np.ones(6)), -np.polyfit(x, y, 1)[0]
    at = np.unique(x)
    means = np.array([5, 4.7, 4.4, 4.3, 4.2])
    assert bend.slope == pytest.approx(fall)
    line = mean - fall * (at - x.mean())
    assert bend.straight == pytest.approx(np.sum(np.array([1, 2, 1, 1, 1]) * (means - line) ** 2))
    alone = _best_bend(np.array([1.0, 1.0]), np.array([2.0, 3.0]))
    assert (alone.points, alone.slope, alone.place) == (1, 0.0, np.inf)


def test_a_curve_with_less_than_two_fifths_of_the_fall_of_the_richest_is_limited_throughout() -> None:
    params = np.tile(SIZES, 2)
    tokens = np.repeat([1e8, 1e10], len(SIZES))
    for share, limited in ((0.38, True), (0.42, False)):
        loss = 10 * params ** np.repeat([-0.2 * share, -0.2], len(SIZES))
        found = find_regimes(params, tokens, loss * np.exp(1e-4 * np.sin(np.arange(18))))
        assert [curve.limited_beyond for curve in found.curves] == [0 if limited else np.inf, np.inf]
        assert found.headline.at == 1e10
        assert found.headline.law is found.curves[1].law


def test_three_sizes_are_enough_to_be_flat() -> None:
    params, tokens = np.tile([1e6, 1e7, 1e8], 2), np.repeat([1e8, 1e10], 3)
    found = find_regimes(params, tokens, 10 * params ** np.repeat([-0.01, -0.2], 3))
    assert [curve.limited_beyond for curve in found.curves] == [0, np.inf]


def test_a_curve_of_one_run_is_kept_and_not_judged() -> None:
    params, tokens = np.array([1e6, 1e7, 1e8, 1e6]), np.array([1e8, 1e8, 1e8, 1e9])
    found = find_regimes(params, tokens, 10 * params**-0.2)
    assert [(curve.at, len(curve.rows), curve.limited_beyond) for curve in found.curves] == [
        (1e8, 3, np.inf), (1e9, 1, np.inf),
    ]  # fmt: skip
    assert found.headline.at == 1e8

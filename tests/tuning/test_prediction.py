"""The line from early to final values against scipy's, and where it says nothing."""

import math

import numpy as np
import pytest
from scipy import stats

from chemscale_bench.tuning.prediction import LEAST, NEIGHBOURS, predict, rank_correlation

EARLY, FINAL = [1.0, 2.0, 3.0, 4.0, 6.0], [2.0, 2.5, 4.5, 4.0, 7.0]


def by_scipy(x: np.ndarray, y: np.ndarray, at: float, level: float) -> tuple[float, float, float]:
    """Value and prediction interval for a new point (Student's t, n - 2 degrees of freedom)."""
    line = stats.linregress(x, y)
    noise = np.sum((y - line.intercept - line.slope * x) ** 2) / (len(x) - 2)
    error = np.sqrt(noise + noise / len(x) + (line.stderr * (at - x.mean())) ** 2)
    value, half = line.intercept + line.slope * at, stats.t(len(x) - 2).ppf((1 + level) / 2) * error
    return value, value - half, value + half


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_papers_line_is_least_squares_with_its_prediction_interval(level: float) -> None:
    found = predict(EARLY, FINAL, 5.0, level, local=False)
    assert found == pytest.approx(by_scipy(np.array(EARLY), np.array(FINAL), 5.0, level))
    far = predict(EARLY, FINAL, 20.0, level, local=False)
    assert far == pytest.approx(by_scipy(np.array(EARLY), np.array(FINAL), 20.0, level))


def test_what_is_positive_is_fitted_in_logarithms() -> None:
    found = predict(EARLY, FINAL, 5.0)
    assert found == pytest.approx(np.exp(by_scipy(np.log(EARLY), np.log(FINAL), math.log(5), 0.9)))
    negative = predict([*EARLY[:4], -6.0], FINAL, 3.5)
    assert negative == pytest.approx(by_scipy(np.array([*EARLY[:4], -6.0]), np.array(FINAL), 3.5, 0.9))
    assert predict(EARLY, [*FINAL[:4], 0.0], 3.5) == pytest.approx(
        by_scipy(np.array(EARLY), np.array([*FINAL[:4], 0.0]), 3.5, 0.9)
    )


def test_beyond_the_finished_trials_their_end_counts() -> None:
    assert predict(EARLY, FINAL, 600.0) == predict(EARLY, FINAL, 6.0)
    assert predict(EARLY, FINAL, 0.001) == predict(EARLY, FINAL, 1.0)


def test_thirty_nearest_neighbours_are_fitted() -> None:
    early = np.geomspace(1, 2, NEIGHBOURS)
    near = predict(early, early**2, 1.5)
    assert NEIGHBOURS == 30
    assert near == pytest.approx((2.25,) * 3)
    assert predict([*early, 50.0, 60.0], [*early**2, 1.0, 1.0], 1.5) == pytest.approx((2.25,) * 3)
    assert predict([*early[:-1], 50.0], [*early[:-1] ** 2, 1.0], 1.5) != pytest.approx((2.25,) * 3)


@pytest.mark.parametrize(
    ("early", "final", "at"),
    [
        (EARLY[:4], FINAL[:4], 2.0),
        ([*EARLY[:4], math.inf], FINAL, 2.0),
        (EARLY, [*FINAL[:4], math.nan], 2.0),
        (EARLY, FINAL, math.inf),
        ([3.0] * 5, FINAL, 3.0),
    ],
)
def test_nothing_is_said_of_too_few_or_of_equal_estimates(early: list[float], final: list[float], at: float) -> None:
    assert LEAST == 5
    assert predict(early, final, at) is None


def test_a_prediction_that_explodes_stays_a_number() -> None:
    found = predict([1.0, 1.1, 1.2, 1.3, 1.4], [1e-300, 1e300, 1e-300, 1e300, 1e-300], 1.2)
    assert found is not None
    assert math.isfinite(found.high)


def test_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(0)
    early = random.integers(0, 6, 20).astype(float)  # with ties
    final = early + random.normal(0, 2, 20)
    assert rank_correlation(early, final) == pytest.approx(stats.spearmanr(early, final).statistic)
    assert rank_correlation([*early, math.nan], [*final, 1.0]) == rank_correlation(early, final)
    assert rank_correlation(EARLY, [5.0, 4.0, 3.0, 2.0, 1.0]) == pytest.approx(-1)
    for x, y in ((EARLY[:4], FINAL[:4]), ([1.0] * 5, FINAL), (EARLY, [1.0] * 5)):
        assert rank_correlation(x, y) is None

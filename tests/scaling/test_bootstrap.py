"""Residuals that are drawn are those by hand, and outliers are not drawn."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest

from chemscale_bench.scaling import bootstrap
from chemscale_bench.scaling.bootstrap import Fitted, regular, replicate, resample
from chemscale_bench.scaling.forms import AdditiveForm, BrokenForm, Form
from chemscale_bench.scaling.laws import PowerLaw

POWER = AdditiveForm(("x",), floor=False)


def fitted(residual: list[float], group: list[int], form: Form = POWER) -> Fitted:
    """A law of log loss 0 everywhere, and runs that lie off it by so much."""
    theta = np.zeros(len(form.names))
    count = len(residual)
    return Fitted(
        form, theta, np.linspace(-1, 1, count)[:, None], np.array(residual), np.ones(count), np.array(group), 1e-3,
        np.zeros(1),
    )  # fmt: skip


def drawn(of: Fitted, at: list[int], count: int = 4000) -> np.ndarray:
    return resample(of, np.random.default_rng(0), count, np.array(at))


def values(draws: np.ndarray) -> list[float]:
    return sorted({round(float(value), 9) for value in draws.ravel()})


def test_single_runs_are_scaled_by_the_degrees_of_freedom_about_their_median() -> None:
    """Four runs, two parameters: the root of two and t by the normal distribution, 1.775, of what lies about 3."""
    draws = drawn(fitted([1, 2, 4, 9], [0, 1, 2, 3]), [0, 1, 1, 2])
    assert draws.shape == (4000, 4)
    assert values(draws) == pytest.approx([off * 2**0.5 * 2.91999 / 1.64485 for off in (-2, -1, 1, 6)], rel=1e-4)
    assert (draws[:, 1] == draws[:, 2]).all(), "what a size has is shared by its runs"
    assert (draws[:, 0] != draws[:, 1]).mean() == pytest.approx(0.75, abs=0.03)
    assert np.bincount(np.searchsorted(values(draws), draws[:, 0].round(9))) == pytest.approx(1000, rel=0.1)


def test_of_many_runs_the_scale_is_n_by_the_degrees_of_freedom() -> None:
    """Forty runs, two parameters: 40 / 38, which is more than its root and t by the normal distribution."""
    draws = drawn(fitted([1.0, -1.0] * 20, list(range(40))), [0])
    assert values(draws) == pytest.approx([-40 / 38, 40 / 38])


def test_place_and_width_of_a_break_cost_no_degree_of_freedom() -> None:
    """Of the five parameters of a broken law (six points) three count: the root of two, t of three by the normal."""
    form = BrokenForm(1, floor=False)
    found = values(drawn(fitted([1, 2, 4, 9, 0, 0], list(range(6)), form), [0]))
    assert found == pytest.approx([off * 2**0.5 * 2.35336 / 1.64485 for off in (-1.5, -0.5, 0.5, 2.5, 7.5)], rel=1e-4)


def test_three_runs_have_the_interval_of_students_t() -> None:
    """One degree of freedom: 90 % hold the exponent in nine of ten tables; without t, it is in six."""
    random = np.random.default_rng(1)
    size, held = np.array([50.0, 200.0, 950.0]), 0
    for _ in range(60):
        loss = np.exp(-0.5 * np.log(size) + 0.02 * random.normal(size=3))
        low, high = PowerLaw(replicates=100, on_flat="ignore").fit(size, loss).confidence_interval("exponent")
        held += low <= 0.5 <= high
    assert held >= 48


def test_without_a_degree_of_freedom_residuals_stay() -> None:
    assert values(drawn(fitted([1, 2], [0, 1]), [0])) == [-0.5, 0.5]


def test_means_of_sizes_and_deviations_of_their_runs_are_drawn_apart() -> None:
    """Pairs about 0, 3 and 9, apart by 1, 2, 4: root of 6/4, t of four by the normal; half of each pair's own."""
    of = fitted([-1, 1, 1, 5, 5, 13], [0, 0, 1, 1, 2, 2])
    scale = 1.5**0.5 * 2.131847 / 1.644854
    means = [scale * (mean - 3) for mean in (0, 3, 9)]
    deviations = [sign * scale * off for off in (1, 2, 4) for sign in (-1, 1)]
    expected = sorted({round(mean + off, 9) for mean in means for off in deviations})
    assert values(drawn(of, [0, 0])) == pytest.approx(expected)
    draws = drawn(of, [0, 0, 1])
    assert np.corrcoef(draws[:, 0], draws[:, 1])[0, 1] > 0.4
    assert abs(np.corrcoef(draws[:, 0], draws[:, 2])[0, 1]) < 0.05


def test_means_of_pairs_are_scaled_by_students_t_alone() -> None:
    """Four pairs, three parameters that count: t of five by the normal, not the root of 8/5, which is more."""
    residual = [mean + off for mean in (-4, 0, 2, 6) for off in (-1, 1)]
    means = [8 / 5 * (mean - 1) / ((8 / 5) ** 0.5 / (2.0150484 / 1.6448536)) for mean in (-4, 0, 2, 6)]
    found = values(drawn(fitted(residual, [0, 0, 1, 1, 2, 2, 3, 3], BrokenForm(1, floor=False)), [0]))
    assert found == pytest.approx(sorted(mean + off for mean in means for off in (-8 / 5, 8 / 5)), rel=1e-5)


def test_sizes_that_were_seen_once_have_no_deviations_to_draw() -> None:
    """A pair about -2, apart by 2, and single runs at 1 and 4: the pair's deviations, shrunk for a third of sizes."""
    scale = 2**0.5 * 2.919986 / 1.644854
    off = scale * (1 / 3) ** 0.5
    expected = sorted(scale * mean + sign * off for mean in (-2, 1, 4) for sign in (-1, 1))
    assert values(drawn(fitted([-1, 1, 3, 6], [0, 0, 1, 2]), [0])) == pytest.approx(expected, rel=1e-5)


def test_an_outlier_among_many_is_not_regular_and_not_drawn() -> None:
    residual = [-0.02, -0.01, 0.0, 0.01, 0.02] * 4
    assert regular(fitted(residual, list(range(20)))).all()
    residual[9] = 0.09  # five robust deviations are 0.074
    of = fitted(residual, list(range(20)))
    assert np.flatnonzero(~regular(of)).tolist() == [9]
    assert np.abs(drawn(of._replace(regular=regular(of)), [0])).max() < 0.03
    assert np.abs(drawn(of, [0])).max() > 0.09
    residual[9] = 0.07
    assert regular(fitted(residual, list(range(20)))).all()


def test_at_most_a_tenth_are_outliers_and_half_a_per_cent_is_none() -> None:
    residual = [0.001, -0.001] * 10
    residual[4] = 0.004
    assert regular(fitted(residual, list(range(20)))).all()
    residual[4], residual[9], residual[14] = 0.1, 0.2, 0.3
    assert np.flatnonzero(~regular(fitted(residual, list(range(20))))).tolist() == [9, 14]
    assert regular(fitted([0.0, 0.001, -0.001, 0.0005, 0.05], list(range(5)))).all(), "one of five is a fifth"


def test_runs_are_reweighted_from_ten_groups_per_parameter_on() -> None:
    random = np.random.default_rng(0)
    for groups, method in ((20, "runs"), (19, "residuals")):
        of = fitted((0.01 * random.normal(size=groups)).tolist(), list(range(groups)))
        assert replicate(of, 5, 0).tolist() == replicate(of, 5, 0, method).tolist()
        other = "residuals" if method == "runs" else "runs"
        assert replicate(of, 5, 0).tolist() != replicate(of, 5, 0, other).tolist()


@pytest.mark.parametrize("method", ["runs", "residuals"])
def test_refits_scatter_as_the_law_is_told_and_not_at_all_without_noise(method: bootstrap.Method) -> None:
    exact = fitted([0.0] * 8, list(range(8)))
    assert replicate(exact, 7, 0, method) == pytest.approx(np.zeros((7, 2)), abs=1e-9)
    noisy = fitted([0.01, -0.01, 0.02, -0.02, 0.01, -0.01, 0.0, 0.0], list(range(8)))
    refits = replicate(noisy, 300, 0, method)
    assert refits.shape == (300, 2)
    # The mean of eight runs with deviations of 0.013 or so.
    assert 0.002 < refits[:, 0].std() < 0.012
    with patch.object(bootstrap, "BATCH_ELEMENTS", 8 * 100):
        assert len(np.unique(replicate(noisy, 250, 0, method), axis=0)) > 200, "batches are not alike"

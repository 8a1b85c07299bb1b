"""Fits reach the published optimum, recover what was planted, and depend on nothing they should not depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import huber
from sklearn.base import clone

from chemscale_bench.scaling import BrokenPowerLaw, JointLaw, PowerLaw, PowerLawWithFloor
from chemscale_bench.scaling.bootstrap import Fitted, replicate
from chemscale_bench.scaling.forms import AdditiveForm


def test_chinchilla_optimum_to_the_printed_digits(chinchilla: Any) -> None:
    law = JointLaw().fit(*chinchilla)
    assert law.objective_ <= 0.0010183
    assert round(law.params_exponent_, 4) == 0.3473
    assert round(law.tokens_exponent_, 4) == 0.3672
    assert round(law.irreducible_, 4) == 1.8172
    assert law.params_scale_ == pytest.approx(477.8, abs=0.1)
    assert law.tokens_scale_ == pytest.approx(2143, abs=1)


def test_chinchilla_intervals_hold_the_published_centres(chinchilla: Any) -> None:
    law = JointLaw(replicates=1000).fit(*chinchilla)
    published = {"params_exponent": 0.3478, "tokens_exponent": 0.3658, "irreducible": 1.8169}
    for name, value in published.items():
        low, high = law.confidence_interval(name)
        assert low < value < high, name


def test_the_objective_is_a_sum_not_a_mean(chinchilla: Any) -> None:
    """Averaging stops L-BFGS early, with other exponents; ours must be the minimum of the *summed* loss."""
    law = JointLaw().fit(*chinchilla)
    summed = huber(1e-3, law.residuals_).sum()
    assert law.objective_ == pytest.approx(summed, rel=1e-5)
    n, d = np.log(chinchilla.params), np.log(chinchilla.tokens)

    def total(theta: np.ndarray) -> float:
        terms = [theta[0] + 0 * n, theta[1] - theta[2] * n, theta[3] - theta[4] * d]
        return float(huber(1e-3, np.log(chinchilla.loss) - np.logaddexp.reduce(terms)).sum())

    start = np.array([0.5, 5.0, 0.5, 5.0, 0.5])
    averaged = minimize(lambda theta: total(theta) / 240, start, method="L-BFGS-B")
    assert total(averaged.x) > 1.02 * law.objective_
    assert abs(averaged.x[2] - law.params_exponent_) > 0.005


def test_a_scaled_loss_changes_only_the_scales(chinchilla: Any) -> None:
    one, two = JointLaw().fit(*chinchilla), JointLaw().fit(chinchilla.params, chinchilla.tokens, 7 * chinchilla.loss)
    assert two.params_exponent_ == pytest.approx(one.params_exponent_, abs=1e-6)
    assert two.irreducible_ == pytest.approx(7 * one.irreducible_, rel=1e-6)


def test_order_of_rows_does_not_matter(chinchilla: Any) -> None:
    shuffled = np.random.default_rng(0).permutation(len(chinchilla.loss))
    one, two = JointLaw().fit(*chinchilla), JointLaw().fit(*(column[shuffled] for column in chinchilla))
    assert two.tokens_exponent_ == pytest.approx(one.tokens_exponent_, abs=1e-6)


def test_fits_are_deterministic(planted: Any) -> None:
    noisy = planted.loss * np.exp(0.01 * np.random.default_rng(0).normal(size=30))
    one, two = (JointLaw(replicates=100).fit(planted.params, planted.tokens, noisy) for _ in range(2))
    np.testing.assert_array_equal(one.replicates_, two.replicates_)


def test_joint_law_is_recovered_without_noise(planted: Any) -> None:
    law = JointLaw().fit(*planted)
    assert law.irreducible_ == pytest.approx(0.9, rel=1e-4)
    assert law.params_exponent_ == pytest.approx(0.3, rel=1e-4)
    assert law.tokens_exponent_ == pytest.approx(0.35, rel=1e-4)


def test_floor_is_recovered_without_noise() -> None:
    x = np.geomspace(1e5, 1e9, 8)
    law = PowerLawWithFloor().fit(x, 0.4 + 30 * x**-0.3)
    assert (law.irreducible_, law.scale_, law.exponent_) == pytest.approx((0.4, 30, 0.3), rel=1e-4)


def test_two_breaks_are_recovered_without_noise() -> None:
    x = np.geomspace(1e3, 1e11, 33)
    loss = 5 * x**-0.05 * (1 + (x / 1e5) ** 2) ** -0.15 * (1 + (x / 1e8) ** 2) ** 0.1
    law = BrokenPowerLaw(2, floor=False).fit(x, loss)
    assert (law.exponent_, law.change_1_, law.change_2_) == pytest.approx((0.05, 0.3, -0.2), abs=2e-3)
    assert np.log10([law.break_1_, law.break_2_]) == pytest.approx([5, 8], abs=0.05)


def test_weight_two_equals_a_row_twice() -> None:
    x, loss = np.geomspace(1e5, 1e8, 6), np.array([2.0, 1.71, 1.4, 1.22, 1.0, 0.86])
    weighted = PowerLaw().fit(x, loss, sample_weight=[1, 1, 2, 1, 1, 1])
    doubled = PowerLaw().fit(np.append(x, x[2]), np.append(loss, loss[2]))
    assert weighted.exponent_ == pytest.approx(doubled.exponent_, abs=1e-9)


def test_one_wild_point_hardly_moves_the_exponent() -> None:
    x = np.geomspace(1e5, 1e9, 9)
    loss = 20 * x**-0.2
    loss[4] *= 2
    assert PowerLaw().fit(x, loss).exponent_ == pytest.approx(0.2, abs=1e-6)


def test_clone_and_parameters_follow_scikit_learn() -> None:
    law = clone(BrokenPowerLaw(2, seed=3))
    assert law.get_params()["breaks"] == 2
    assert law.get_params()["seed"] == 3


def test_warm_started_replicates_are_minima(chinchilla: Any) -> None:
    """A refit from the optimum must end where a global search on the same resample ends."""
    law = JointLaw(replicates=20, bootstrap="runs").fit(*chinchilla)
    random = np.random.default_rng(law.seed)
    weight = random.exponential(size=(20, law.fitted_.group.max() + 1))[:, law.fitted_.group]
    for row in range(3):
        searched = JointLaw().fit(*chinchilla, sample_weight=weight[row])
        assert law.replicates_[row, 2] == pytest.approx(searched.params_exponent_, abs=1e-4)


def test_seeds_of_one_size_stay_together() -> None:
    """Noise shared by the runs of a size must widen the interval."""
    u = np.repeat(np.linspace(-2, 2, 6), 4)[:, None]
    group = np.repeat(np.arange(6), 4)
    form, theta = AdditiveForm(("x",), floor=False), np.array([0, 0.2])

    def spread(noise: np.ndarray) -> float:
        fitted = Fitted(form, theta, u, -0.2 * u[:, 0] + 0.01 * noise, np.ones(24), group, 1e-3, np.zeros(1))
        return float(np.std(replicate(fitted, 200, 0, "residuals")[:, 1]))

    draws = [np.random.default_rng(seed) for seed in range(10)]
    shared = np.mean([spread(random.normal(size=6)[group]) for random in draws])
    own = np.mean([spread(random.normal(size=24)) for random in draws])
    assert shared > 1.3 * own

"""What is known before any run, by hand, and calculus that has to hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chemscale_bench.scaling.belief import Measured, Noise, prior, relevance

CENTRE = (1e6, 1e8)


@pytest.mark.parametrize(
    ("family", "terms", "exponents", "noise"),
    [
        ("language_model", (0.5, 0.2, 0.3), (0.3, 0.35), (0.006, 0.005, 0.003)),
        ("force_field", (0.1, 0.3, 0.6), (0.25, 0.5), (0.04, 0.03, 0.02)),
    ],
)
def test_what_published_studies_let_expect(family: Any, terms: Any, exponents: Any, noise: Any) -> None:
    belief = prior(family, *CENTRE)
    assert np.exp(belief.predict([CENTRE[0]], [CENTRE[1]])) == pytest.approx([1])
    larger = terms[0] + terms[1] * 10 ** -exponents[0] + terms[2] * 100 ** -exponents[1]
    assert np.exp(belief.predict([1e7], [1e10])) == pytest.approx([larger])
    assert np.array(belief.exponents()) == pytest.approx(np.array([(one, 0.15) for one in exponents]))
    assert tuple(belief.noise) == noise
    levels = belief.covariance[np.ix_([0, 1, 3], [0, 1, 3])]
    assert levels == pytest.approx(9 + np.diag([0.25, 1, 1])), "the unit is not known, and shared"
    assert np.sqrt(np.diag(belief.covariance))[5:] == pytest.approx([0.05, 0.01])


def test_the_gradient_is_that_of_the_prediction() -> None:
    belief = prior("language_model", *CENTRE)
    params, data = [1e5, 1e7], [1e9, 3e8]
    for place, step in enumerate(1e-6 * np.eye(7)):
        up, down = (belief._replace(theta=belief.theta + sign * step).predict(params, data) for sign in (1, -1))
        assert belief.gradient(params, data)[:, place] == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_the_best_data_make_the_loss_least_at_one_compute() -> None:
    belief = prior("language_model", *CENTRE)
    for params in (1e5, 1e7):
        compute = params * belief.best_data(params)
        sizes = params * np.geomspace(0.5, 2, 2001)
        losses = belief.predict(sizes, compute / sizes)
        assert sizes[losses.argmin()] == pytest.approx(params, rel=1e-3)


def test_the_weight_of_what_two_data_sizes_report() -> None:
    """Two runs report at the first data size, one of them at the second too, none at the third."""
    seed, size, point = 0.3, 0.2, 0.1
    weight = Noise(seed, size, point).weight(np.array([[2.0, 1, 0], [1, 1, 0], [0, 0, 0]]))
    covariance = [
        [seed**2 / 2 + size**2 + point**2, seed**2 / 2 + size**2],
        [seed**2 / 2 + size**2, seed**2 + size**2 + point**2],
    ]
    assert weight[:2, :2] == pytest.approx(np.linalg.inv(covariance))
    assert not weight[2].any()
    assert not weight[:, 2].any()


def test_errors_grow_towards_small_compute() -> None:
    assert relevance([1e6, 1e5, 1e6], [1e8, 1e8, 1e4], 1e14) == pytest.approx([1, 10**-0.125, 10**-0.5])


def test_an_interval_holds_what_is_not_known_the_drift_and_noise() -> None:
    belief = prior("language_model", *CENTRE)
    params, data = np.array([1e6, 1e8]), np.array([1e8, 1e10])
    low, high = belief.predict_interval(params, data, 1e15, 0.9)
    gradient = belief.gradient(params, data)
    noise = 0.006**2 + 0.005**2 + 0.003**2
    for place, decades in ((0, 0), (1, 3)):  # inside what is known, and three decades beyond it
        variance = gradient[place] @ belief.covariance @ gradient[place] + 0.015**2 * decades + noise
        assert (high - low)[place] == pytest.approx(2 * 1.6448536 * math.sqrt(variance))
    assert (low + high) / 2 == pytest.approx(belief.predict(params, data))


def test_uncertainty_of_exponents_and_of_a_loss() -> None:
    belief = prior("language_model", *CENTRE)
    known = np.stack([belief.precision, 4 * belief.precision])
    assert belief.uncertainty(known, "exponent", np.ones(2)) == pytest.approx(np.log([0.15, 0.075]))
    data = belief.best_data(1e7)
    gradient = belief.gradient([1e7], [data])[0]
    variance = gradient @ belief.covariance @ gradient
    found = belief.uncertainty(known, 1e7, np.array([1e7 * data, 1e5 * data]))
    assert found == pytest.approx(np.log([variance, variance / 4 + 2 * 0.015**2]) / 2)


def test_one_run_tells_the_level_and_its_noise_limits_what_it_tells() -> None:
    """Log loss is linear in the level alone: a Gaussian's update, by hand."""
    before = prior("language_model", *CENTRE)
    after = before.after([Measured(1e6, (1e8,), (7.0,))])
    assert after.predict([1e6], [1e8]) == pytest.approx([math.log(7)], abs=0.01)
    gradient = after.gradient([1e6], [1e8])[0]
    noise = 0.006**2 + 0.005**2 + 0.003**2
    assert after.precision == pytest.approx(before.precision + np.outer(gradient, gradient) / noise, rel=1e-3)


def test_seeds_average_out_and_sizes_do_not() -> None:
    before = prior("language_model", *CENTRE)
    shared = 0.005**2 + 0.003**2
    for seeds in (1, 4):
        runs = [Measured(1e6, (1e8,), (1.0,))] * seeds
        told = before.after(runs).precision - before.precision
        gradient = before.gradient([1e6], [1e8])[0]
        assert told[1, 1] == pytest.approx(gradient[1] ** 2 / (0.006**2 / seeds + shared), rel=1e-3)


def test_a_run_of_less_compute_tells_less() -> None:
    """A hundredth of the compute: errors are 100^1/8 times larger, and what it tells 100^1/4 times less."""
    before = prior("language_model", *CENTRE)
    runs = [Measured(1e6, (1e8,), (1.0,)), Measured(1e4, (1e8,), (float(np.exp(before.predict([1e4], [1e8])[0])),))]
    after = before.after(runs)
    noise = 0.006**2 + 0.005**2 + 0.003**2
    gradients = after.gradient([1e6, 1e4], [1e8, 1e8])
    told = np.outer(gradients[0], gradients[0]) / noise + np.outer(gradients[1], gradients[1]) / noise / 100**0.25
    assert after.precision == pytest.approx(before.precision + told, rel=1e-3)


def test_exact_runs_bring_a_belief_to_their_law() -> None:
    before, runs = prior("language_model", *CENTRE), []
    for params in np.geomspace(1e4, 1e8, 6):
        data = np.geomspace(1e6, 1e10, 5)
        loss = 1.5 + 0.9 * (params / 1e6) ** -0.4 + 0.6 * (data / 1e8) ** -0.25
        runs.append(Measured(float(params), tuple(data), tuple(loss)))
    after = before.after(runs)
    (alpha, _), (beta, _) = after.exponents()
    assert (alpha, beta) == pytest.approx((0.4, 0.25), abs=0.01)
    assert np.exp(after.predict([1e9], [1e11])) == pytest.approx(1.5 + 0.9 * 1000**-0.4 + 0.6 * 1000**-0.25, rel=0.01)


def test_losses_that_rise_leave_a_size_with_a_best_number_of_tokens() -> None:
    before = prior("language_model", *CENTRE)
    runs = [Measured(params, (1e7, 1e8), (1.2 * params**0.05, 1.1 * params**0.05)) for params in (1e4, 1e5, 1e6, 1e7)]
    after = before._replace(precision=before.precision / 4).after(runs)
    (alpha, _), (beta, _) = after.exponents()
    assert alpha == 0.02
    assert beta >= 0.02
    assert np.isfinite(after.best_data(1e7))

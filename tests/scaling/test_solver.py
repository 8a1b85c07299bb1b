"""Minima by hand: with the exponent held at zero a power law is one number, Huber's estimate of location."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from chemscale_bench.scaling import solver
from chemscale_bench.scaling.forms import AdditiveForm
from chemscale_bench.scaling.solver import Minimum, huber, minimise

VALUES = np.array([0.0, 0.2, 5.2])


def locate(
    values: np.ndarray, weight: Any, delta: float, ends: tuple[float, float] = (-9.0, 9.0), rows: int = 1, **how: Any
) -> Minimum:
    bounds = np.array([ends[0], 0.0]), np.array([ends[1], 0.0])
    start, u = np.full((rows, 2), 3.0), np.arange(3.0)[:, None]
    return minimise(AdditiveForm(("x",), floor=False), start, u, values, np.array(weight), delta, bounds, **how)


def test_huber_is_square_then_linear() -> None:
    assert huber(np.array([0.0, -0.5, 1.0, 3.0, -3.0]), 1.0) == pytest.approx([0, 0.125, 0.5, 2.5, 2.5], rel=1e-5)
    assert huber(np.array([4.0]), 2.0) == pytest.approx(6, rel=1e-5)


@pytest.mark.parametrize(
    ("weight", "delta", "place", "objective"),
    [
        ([1, 1, 1], 10.0, 1.8, (1.8**2 + 1.6**2 + 3.4**2) / 2),  # the mean
        ([2, 1, 1], 10.0, 1.35, (2 * 1.35**2 + 1.15**2 + 3.85**2) / 2),
        ([1, 1, 1], 1.0, 0.6, (0.6**2 + 0.4**2) / 2 + 4.6 - 0.5),  # the far one pulls with 1
        ([2, 1, 1], 1.0, 0.4, 0.4**2 + 0.2**2 / 2 + 4.8 - 0.5),
        ([1, 1, 0], 1.0, 0.1, 0.01),
    ],
)
def test_the_place_that_huber_chooses(weight: list[float], delta: float, place: float, objective: float) -> None:
    found = locate(VALUES, weight, delta)
    assert found.theta[0] == pytest.approx([place, 0], abs=1e-5)
    assert found.objective[0] == pytest.approx(objective, rel=1e-5)
    assert found.converged.all()


@pytest.mark.parametrize("start", [-1.0, 0.0, 2.0, 5.2, 7.0])
def test_of_places_that_are_equally_good_the_middle_is_taken(start: float) -> None:
    """Between two far points Huber's loss is flat: where a fit ended there was up to its start, and to rounding."""
    form, bounds = AdditiveForm(("x",), floor=False), (np.array([-9.0, 0.0]), np.array([9.0, 0.0]))
    found = minimise(form, np.array([[start, 0]]), np.zeros((2, 1)), VALUES[[0, 2]], np.ones(2), 1e-3, bounds)
    assert found.theta[0, 0] == pytest.approx(2.6, abs=1e-6)


def test_a_bound_holds() -> None:
    assert locate(VALUES, [1, 1, 1], 1.0, (-9, 0.5)).theta[0, 0] == 0.5
    assert locate(VALUES, [1, 1, 1], 1.0, (0.7, 9)).theta[0, 0] == 0.7
    assert locate(VALUES, [1, 1, 1], 1.0, (-9, 0.5)).converged.all()


@pytest.mark.parametrize(("values", "ends", "place"), [(VALUES, (-9, 3), 1.8), (VALUES + 3, (3, 9), 4.8)])
def test_a_start_at_a_bound_leaves_it_however_flat_it_is_there(
    values: np.ndarray, ends: tuple[float, float], place: float
) -> None:
    assert locate(values, [0.1, 0.1, 0.1], 10.0, ends).theta[0, 0] == pytest.approx(place, abs=1e-5)


@pytest.mark.parametrize(("exponent", "ends"), [(0.1, (0.0, 0.1)), (0.5, (0.5, 9.0))])
def test_at_a_bound_the_others_are_as_good_as_with_that_parameter_fixed(
    exponent: float, ends: tuple[float, float]
) -> None:
    """Sizes far from their centre, where scale and exponent pull at each other; the truth, 0.3, is out of reach."""
    form, u = AdditiveForm(("x",), floor=False), np.array([[1.0], [2], [4], [5], [9]])
    log_loss, start = 1 - 0.3 * u[:, 0] + 0.1 * np.array([1, -1, 0, 1, -1]), np.array([[0.0, 0.3]])
    found = minimise(form, start, u, log_loss, np.ones(5), 0.2, (np.array([-9, ends[0]]), np.array([9, ends[1]])))
    fixed = minimise(form, start, u, log_loss, np.ones(5), 0.2, (np.array([-9, exponent]), np.array([9, exponent])))
    assert found.theta[0] == pytest.approx(fixed.theta[0], abs=1e-6)
    scales = np.linspace(-2, 3, 50_001)
    losses = huber(log_loss - scales[:, None] + exponent * u[:, 0], 0.2).sum(axis=1)
    assert found.theta[0, 0] == pytest.approx(scales[losses.argmin()], abs=1e-3)


def test_problems_are_solved_side_by_side_and_in_parts() -> None:
    values, weight = np.array([VALUES, VALUES + 1, VALUES - 2]), [[1, 1, 1], [2, 1, 1], [1, 1, 0]]
    expected = [0.6, 1.4, -1.9]
    assert locate(values, weight, 1.0, rows=3).theta[:, 0] == pytest.approx(expected, abs=1e-5)
    with patch.object(solver, "CHUNK_ELEMENTS", 6):
        assert locate(values, weight, 1.0, rows=3).theta[:, 0] == pytest.approx(expected, abs=1e-5)
    with patch.object(solver, "CHUNK_ELEMENTS", 1):
        assert locate(values, weight, 1.0, rows=3).theta[:, 0] == pytest.approx(expected, abs=1e-5)


def test_too_few_iterations_do_not_converge() -> None:
    assert not locate(VALUES, [1, 1, 1], 1e-3, iterations=1).converged.any()
    assert locate(VALUES, [1, 1, 1], 1e-3, iterations=30).converged.all(), "a median, in a few steps"


def test_the_gradient_and_the_hessian_of_the_objective_are_exact() -> None:
    random, form = np.random.default_rng(0), AdditiveForm(("params", "tokens"), floor=True)
    u, theta = random.normal(size=(9, 2)), 0.5 * random.normal(size=(1, 5))
    target, weight = form.log_loss(theta, u) + 0.3 * random.normal(size=(1, 9)), random.uniform(1, 2, (1, 9))
    free = np.full((1, 5), -9.0), np.full((1, 5), 9.0)
    problem, row = solver._Problem(form, u, target, weight, 0.2, *free), np.array([0])
    gradient, newton, majorant = problem.system(theta, row)
    for place, step in enumerate(1e-6 * np.eye(5)):
        up, down = theta + step, theta - step
        slope = (problem.objective(up, row) - problem.objective(down, row)) / 2e-6
        assert gradient[:, place] == pytest.approx(slope, abs=1e-7)
        bend = (problem.system(up, row)[0] - problem.system(down, row)[0]) / 2e-6
        assert newton[0, place] == pytest.approx(bend[0], abs=1e-6)
    residual = np.abs(target - form.log_loss(theta, u))[0]
    jacobian = form.derivatives(theta, u).jacobian[0]
    share = np.where(residual < 0.2, 1, 0.2 / residual)
    reweighted = weight[0] * (share + solver.TAIL * (1 - share))
    assert majorant[0] == pytest.approx((jacobian.T * reweighted) @ jacobian)

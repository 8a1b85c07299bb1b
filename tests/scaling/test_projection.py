"""Where fits start, and the limits of what data can speak of."""

import numpy as np
import pytest
from scipy.optimize import nnls

from chemscale_bench.scaling.forecast import FORMS
from chemscale_bench.scaling.forms import AdditiveForm, BrokenForm
from chemscale_bench.scaling.projection import (
    JOINT,
    additive_starts,
    affine_starts,
    best_fit,
    bounds,
    broken_starts,
    non_negative_least_squares,
)


def test_limits_by_hand() -> None:
    """Sizes a factor e and e^3 apart, and tokens over e^2; the smallest log loss is -1."""
    u = np.array([[-2.0, 0.0], [-1.0, 1.0], [2.0, -1.0]])
    low, high = bounds(JOINT, u, np.array([0.5, -1.0, 0.0]))
    assert low == pytest.approx([-1 + np.log(1e-5), -61, 0, -61, 0])
    assert high == pytest.approx([0, 59, 15, 59, 15])
    form = BrokenForm(1, floor=False)
    assert form.names == ("log_scale", "exponent", "change_1", "log_break_1", "log_width_1")
    low, high = bounds(form, u[:, :1], np.array([0.5, -1.0, 0.0]))
    assert low == pytest.approx([-61, 0, -7.5, -2, np.log(1 / 4)])
    assert high == pytest.approx([59, 7.5, 7.5, 2, np.log(2)])
    low, high = bounds(FORMS["interaction"], u, np.zeros(3))
    assert low[-2:].tolist() == [-5, -0.5]
    assert high[-2:].tolist() == [5, 0.5]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_non_negative_least_squares_are_those_of_scipy(size: int) -> None:
    random = np.random.default_rng(size)
    basis, weight = random.normal(0.2, 1, (40, 8, size)), random.uniform(0.5, 2, (40, 8))
    found = non_negative_least_squares(basis, weight)
    for one, root, x in zip(basis, np.sqrt(weight), found, strict=True):
        assert x == pytest.approx(nnls(one * root[:, None], root)[0], abs=1e-8)
    assert (found == 0).any(), "some are on the edge"


def test_a_law_whose_exponents_are_on_the_grid_is_a_start() -> None:
    """Ten exponents from 0.1 to 10 over the span, of each axis."""
    params, tokens = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-2, 2, 4)))
    u, (alpha, beta) = np.column_stack([params, tokens]), (np.geomspace(0.1, 10, 10)[[5, 3]] / (2, 4))
    log_loss = np.log(0.7 + 0.2 * np.exp(-alpha * params) + 0.4 * np.exp(-beta * tokens))
    starts = additive_starts(JOINT, u, log_loss, np.ones(16))
    assert starts.shape == (100, 5)
    truth = [np.log(0.7), np.log(0.2), alpha, np.log(0.4), beta]
    assert np.abs(starts - truth).max(axis=1).min() < 1e-6
    theta, objective = best_fit(JOINT, u, log_loss, np.ones(16), 1e-3)
    assert theta == pytest.approx(truth, abs=1e-6)
    assert objective < 1e-15


def test_without_a_floor_there_are_two_numbers_for_an_axis() -> None:
    u = np.linspace(-1, 1, 5)[:, None]
    exponent = float(np.geomspace(0.1, 10, 10)[4] / 2)
    starts = additive_starts(AdditiveForm(("x",), floor=False), u, 1 - exponent * u[:, 0], np.ones(5))
    assert starts.shape == (10, 2)
    assert starts[4] == pytest.approx([1, exponent])


def test_other_forms_start_at_the_joint_law() -> None:
    joint = np.array([[-1.0, -2.0, 0.3, -3.0, 0.5]])
    assert affine_starts(FORMS["tied"], joint).tolist() == [[-1, -2, -3, 0.4]]
    assert affine_starts(FORMS["interaction"], joint).tolist() == [[-1, -2, 0.3, -3, 0.5, 0, 0]]


@pytest.mark.parametrize(("breaks", "floor", "count"), [(1, False, 27), (1, True, 135), (2, False, 63)])
def test_broken_laws_start_on_a_grid_of_places_widths_and_floors(breaks: int, floor: bool, count: int) -> None:
    form, u = BrokenForm(breaks, floor), np.linspace(-3, 3, 25)[:, None]
    theta = np.array([*([-9.0] if floor else []), 1.0, 0.2])  # a break at 0, a bend over 0.08 of the span
    theta = np.concatenate([theta, *([[0.3, 0.0, np.log(0.08 * 6)]] * breaks)])[None]
    if breaks == 2:
        theta[0, [3, 6]] = np.quantile(u, np.linspace(0.1, 0.9, 7))[[1, 4]]
    if floor:  # of 0.3 of the smallest loss
        theta[0, 0] = form.power(theta, u).min() + np.log(0.3 / 0.7)
    log_loss = form.log_loss(theta, u)[0]
    starts = broken_starts(form, u, log_loss, np.ones(25))
    assert starts.shape == (count, len(form.names))
    miss = np.abs(form.log_loss(starts, u) - log_loss).max(axis=1)
    assert miss.min() < 1e-8
    assert starts[miss.argmin()] == pytest.approx(theta[0], abs=1e-6)


def test_a_start_is_near_the_law_whatever_one_wild_point_says() -> None:
    u = np.linspace(-1, 1, 9)[:, None]
    exponent = float(np.geomspace(0.1, 10, 10)[4] / 2)
    log_loss = 1 - exponent * u[:, 0]
    log_loss[2] += 0.5
    starts = additive_starts(AdditiveForm(("x",), floor=False), u, log_loss, np.ones(9))
    assert starts[4, 0] == pytest.approx(1, abs=0.01)

"""Gradients and Hessians are exact."""

from __future__ import annotations

import numpy as np
import pytest

from chemscale_bench.scaling.forecast import FORMS as FORECASTS
from chemscale_bench.scaling.forms import AdditiveForm, BrokenForm, Form

FORMS = {
    "power": AdditiveForm(("x",), floor=False),
    "floor": AdditiveForm(("x",), floor=True),
    "joint": AdditiveForm(("params", "tokens"), floor=True),
    "broken": BrokenForm(1, floor=False),
    "broken with floor": BrokenForm(1, floor=True),
    "two breaks": BrokenForm(2, floor=True),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_derivatives_equal_finite_differences(form: Form) -> None:
    random = np.random.default_rng(0)
    features = 2 if "exponent_tokens" in form.names else 1
    u, c = 2 * random.normal(size=(7, features)), random.normal(size=(1, 7))
    theta = 0.5 * random.normal(size=(1, len(form.names)))
    found = form.derivatives(theta, u)
    np.testing.assert_allclose(found.log_loss, form.log_loss(theta, u), rtol=1e-14)
    for j, step in enumerate(1e-6 * np.eye(len(form.names))):
        up, down = form.derivatives(theta + step, u), form.derivatives(theta - step, u)
        np.testing.assert_allclose(found.jacobian[0, :, j], (up.log_loss - down.log_loss)[0] / 2e-6, atol=2e-8)
        slope = c[0] @ (up.jacobian - down.jacobian)[0] / 2e-6
        np.testing.assert_allclose(found.curvature(c)[0, j], slope, atol=2e-8)


def test_forms_of_a_forecast_contain_each_other() -> None:
    u = np.random.default_rng(0).normal(size=(9, 2))
    joint = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    for name in ("scale", "interaction"):
        theta = np.pad(joint, ((0, 0), (0, len(FORECASTS[name].names) - 5)))
        np.testing.assert_allclose(FORECASTS[name].log_loss(theta, u), FORECASTS["joint"].log_loss(joint, u))
    tied = FORECASTS["tied"].log_loss(np.array([[0.1, 0.2, 0.4, 0.3]]), u)
    np.testing.assert_allclose(tied, FORECASTS["joint"].log_loss(np.array([[0.1, 0.2, 0.3, 0.4, 0.3]]), u))


@pytest.mark.parametrize("name", FORECASTS)
def test_derivatives_of_several_laws_at_once_are_exact(name: str) -> None:
    form, random = FORECASTS[name], np.random.default_rng(1)
    u, theta, step = random.normal(size=(7, 2)), random.normal(size=(3, len(form.names))), 1e-5
    found, c = form.derivatives(theta, u), random.normal(size=(3, 7))
    for place in range(theta.shape[1]):
        shift = step * np.eye(theta.shape[1])[place]
        up, down = form.derivatives(theta + shift, u), form.derivatives(theta - shift, u)
        np.testing.assert_allclose((up.log_loss - down.log_loss) / 2 / step, found.jacobian[:, :, place], atol=1e-8)
        slope = np.einsum("rn,rnp->rp", c, up.jacobian - down.jacobian) / 2 / step
        np.testing.assert_allclose(slope, found.curvature(c)[:, place], atol=1e-8)


def test_parameters_of_a_broken_form_come_break_by_break() -> None:
    assert BrokenForm(2, floor=True).names == (
        "log_floor", "log_scale", "exponent", "change_1", "log_break_1", "log_width_1",
        "change_2", "log_break_2", "log_width_2",
    )  # fmt: skip

"""Gradients and Hessians are exact."""

from __future__ import annotations

import numpy as np
import pytest

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

"""The frontier is the minimum over sizes, and a plan says what other sizes cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import JointLaw, UnidentifiedError, compute_optimal, flops_of, isoflop, plan


def test_closed_form_equals_a_search(planted: Any) -> None:
    law = JointLaw(replicates=100).fit(*planted)
    best = compute_optimal(law, [1e18, 1e21])
    for flops, params, loss in zip(best.flops, best.params, best.loss, strict=True):
        sizes = params * np.geomspace(0.5, 2, 2001)
        searched = law.predict(sizes, flops / 6 / sizes)
        assert sizes[searched.argmin()] == pytest.approx(params, rel=1e-3)
        assert searched.min() == pytest.approx(loss, rel=1e-9)
    np.testing.assert_allclose(6 * best.params * best.tokens, best.flops)
    assert best.params_power == pytest.approx(0.35 / 0.65, rel=1e-3)


def test_detours_cost_what_they_say(planted: Any) -> None:
    law = JointLaw(replicates=100).fit(*planted)
    spend = plan(law, 1e20)
    for other in (spend.half_size, spend.double_size):
        assert other.extra_loss > 0
        saved = compute_optimal(law, [1e20 * (1 - other.wasted)])
        assert saved.loss[0] == pytest.approx(other.loss, rel=1e-5)
    assert spend.double_size.params == pytest.approx(4 * spend.half_size.params)
    assert spend.beyond == pytest.approx(1e20 / (6 * 1e9 * 1e11))


def test_intervals_contain_the_truth_for_chinchilla(chinchilla: Any) -> None:
    law = JointLaw().fit(*chinchilla)
    best = compute_optimal(law, [1e21])
    assert best.params_interval.low[0] < best.params[0] < best.params_interval.high[0]
    assert best.params_power == pytest.approx(0.514, abs=0.001)


def test_isoflop_is_biased_but_near(planted: Any) -> None:
    budgets = np.repeat([1e18, 1e19, 1e20], 7)
    best = 2e7 * (budgets / 1e18) ** 0.54
    params = best * np.tile(np.geomspace(0.1, 10, 7), 3)
    tokens = budgets / 6 / params
    found = isoflop(params, tokens, 0.9 + 60 * params**-0.3 + 900 * tokens**-0.35)
    assert len(found.flops) == 3
    assert found.params_power == pytest.approx(0.35 / 0.65, abs=0.05)
    with pytest.raises(UnidentifiedError, match="5 sizes at equal FLOPs"):
        isoflop(*planted)


def test_gpu_hours() -> None:
    assert flops_of(8, "H200", 0.4) == pytest.approx(8 * 3600 * 989e12 * 0.4)
    assert flops_of(1, "H100 SXM", 1) == flops_of(1, "h100", 1)
    for bad, says in (
        ((1, "abacus", 0.4), "device must be"),
        ((1, "h100", 4), "mfu must"),
        ((0, "h100", 0.4), "gpu_hours"),
    ):
        with pytest.raises(UserError, match=says):
            flops_of(*bad)

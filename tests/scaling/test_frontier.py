"""The frontier is the minimum over sizes, and a plan says what other sizes cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chemscale_bench.scaling import Forecast, JointLaw, UnidentifiedError, compute_optimal, isoflop, plan
from chemscale_bench.scaling.frontier import _parabola, losses_along, searched_sizes, undominated


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


def test_the_lowest_point_of_a_parabola_lies_between_grid_points() -> None:
    grid = np.linspace(2.0, 7.0, 11)
    curves = np.array([(grid - 4.2) ** 2, 3 + 0.1 * (grid - 2.6) ** 2, -grid, grid, 0 * grid])
    lowest = _parabola(grid, curves)
    assert lowest[:2] == pytest.approx([4.2, 2.6])
    assert lowest[2:].tolist() == [6.5, 2.5, 2.5], "without a minimum the last but one"
    steep = np.where(grid < 4.4, 1.0, np.where(grid < 4.6, 0.0, 0.9))
    assert _parabola(grid, steep[None])[0] == pytest.approx(4.5 + 0.5 * 0.1 / 3.8)


def test_the_frontier_of_a_forecast_is_a_search_over_sizes(planted: Any) -> None:
    noisy = planted.loss * np.exp(0.01 * np.random.default_rng(0).normal(size=30))
    forecast = Forecast(replicates=40).fit(planted.params, planted.tokens, noisy)
    best = compute_optimal(forecast, [1e19, 6e22], 0.8)
    for place, flops in enumerate(best.flops):
        sizes = best.params[place] * np.geomspace(0.5, 2, 4001)
        losses = forecast.predict(sizes, flops / 6 / sizes)
        assert best.params[place] == pytest.approx(sizes[losses.argmin()], rel=0.01)
        assert best.loss[place] == pytest.approx(losses.min(), rel=1e-6)
        assert best.tokens[place] == pytest.approx(flops / 6 / best.params[place])
        interval = forecast.predict_interval([best.params[place]], [best.tokens[place]], 0.8)
        assert best.loss_interval.low[place] == pytest.approx(interval.low[0])
        assert best.params_interval.low[place] <= best.params_interval.high[place]
        assert best.tokens_interval.low[place] * best.params_interval.high[place] == pytest.approx(flops / 6, rel=0.01)
    about = compute_optimal(forecast, 6e20 * 10 ** np.array([-0.5, 0.5])).params  # a decade about the largest compute
    assert best.params_power == pytest.approx(np.log10(about[1] / about[0]), abs=1e-6)
    low, high = best.params_power_interval
    assert 0.4 < low < 0.35 / 0.65 < high < 0.7
    assert losses_along(forecast, np.log(best.flops / 6)) == pytest.approx(np.log(best.loss))
    # Two decades about the sizes of the runs, one more where compute is ten times the largest; two steps of 160 off.
    for flops, end in ((6e20, 1e11), (6e21, 1e12)):
        step = np.log(end / 1e4) / 160
        ends = 1e4 * np.exp(2 * step), end / np.exp(2 * step)
        assert searched_sizes(forecast, np.log(flops / 6)) == pytest.approx(ends)


def test_a_frontier_needs_both_exponents(planted: Any) -> None:
    flat = JointLaw(replicates=5, on_flat="nan").fit(
        planted.params, planted.tokens, 0.9 + 60 * planted.params**-0.3 + 0 * planted.tokens
    )
    with pytest.raises(UnidentifiedError, match=r"frontier needs a positive tokens_exponent.*wider range of tokens"):
        compute_optimal(flat, [1e20])


def test_runs_that_no_cheaper_one_beats() -> None:
    compute = np.array([1.0, 2, 2, 3, 4, 5])
    loss = np.array([5.0, 4, 3, 3.5, 3, 2])
    assert undominated(compute, loss).tolist() == [True, False, True, False, False, True]

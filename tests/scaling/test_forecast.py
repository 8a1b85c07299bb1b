"""Forecasts beyond the data hold what they promise, and a fit says what to distrust."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.scaling_backtest import score, tables
from chemscale_bench.scaling import Forecast, JointLaw, PowerLaw, UnidentifiedError, compute_optimal, plan, validate
from chemscale_bench.scaling import forecast as forecasts
from chemscale_bench.scaling.analysis import analyse
from chemscale_bench.scaling.forecast import FORMS
from chemscale_bench.scaling.frontier import undominated
from chemscale_bench.scaling.isoflop import isoflop
from chemscale_bench.scaling.weighting import closeness

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "scaling" / "published"

# Losses of ChemGPT on one H200 when its largest size learnt at the wrong rate: rows are sizes, columns are tokens.
SIZES, BUDGETS = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8], [1e6, 3e6, 1e7, 2e7]
LOSSES = [
    [1.2513, 1.1039, 1.0028, 0.9595], [1.2159, 1.0417, 0.9088, 0.8555], [1.2230, 1.0425, 0.8969, 0.8317],
    [1.2169, 1.0193, 0.8481, 0.7699], [1.1823, 1.0065, 0.8323, 0.7448], [1.1775, 0.9938, 0.8217, 0.7291],
    [1.2545, 1.1083, 0.9254, 0.8145],
]  # fmt: skip


def measured(sizes: int) -> pd.DataFrame:
    """The runs of the smallest sizes."""
    rows = [
        {"params": size, "tokens": budget, "loss": loss}
        for size, losses in zip(SIZES[:sizes], LOSSES, strict=False)
        for budget, loss in zip(BUDGETS, losses, strict=True)
    ]
    return pd.DataFrame(rows)


def test_a_clean_law_is_continued(planted: Any) -> None:
    forecast = Forecast(replicates=200).fit(*planted)
    assert forecast.predict([1e10], [1e12])[0] == pytest.approx(0.9 + 60 * 1e10**-0.3 + 900 * 1e12**-0.35, rel=2e-3)
    assert sum(forecast.weights_.values()) == pytest.approx(1)
    best, law = compute_optimal(forecast, [1e21]), compute_optimal(JointLaw(replicates=100).fit(*planted), [1e21])
    assert best.params[0] == pytest.approx(law.params[0], rel=0.05)
    assert best.params_power == pytest.approx(0.35 / 0.65, abs=0.01)


def test_the_interval_grows_beyond_the_data_and_not_inside(planted: Any) -> None:
    noisy = planted.loss * np.exp(0.01 * np.random.default_rng(0).normal(size=30))
    forecast = Forecast(replicates=300).fit(planted.params, planted.tokens, noisy)
    low, high = forecast.predict_interval(1e7 * np.array([1, 100, 1000, 10_000]), [1e9, 1e11, 1e12, 1e13])
    width = np.log(high / low)
    assert width[0] < width[1] < width[2] < width[3]
    one_run = forecast.predict_interval(1e9, 1e11, of="run")
    assert np.log(one_run.high / one_run.low) > width[1]


@pytest.fixture(scope="module")
def scattered() -> tuple[Forecast, np.ndarray, np.ndarray]:
    """A forecast from runs with noise, their log compute in decades, and their log losses."""
    params, tokens = np.repeat(np.geomspace(1e6, 1e9, 6), 5), np.tile(np.geomspace(1e8, 1e11, 5), 6)
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=30))
    loss = (0.9 + 60 * params**-0.3 + 900 * tokens**-0.35) * noise
    return Forecast(replicates=40).fit(params, tokens, loss), np.log10(params * tokens), np.log(loss)


def test_a_backtest_foretells_the_runs_above_a_cut_from_those_below(scattered: Any) -> None:
    forecast, decades, _ = scattered
    assert len(forecast.backtests_) > 1
    for test in forecast.backtests_:
        edge = np.log10(test.compute)
        above = np.flatnonzero(decades > edge + 1e-9)
        assert test.held_out.tolist() == above.tolist()
        assert test.fitted == 30 - len(above) >= 8
        assert test.decades == pytest.approx(np.maximum(decades[above] - edge, 0.1))
        assert test.errors.shape == (len(FORMS), len(above))
    widest = max(test.held_out.size for test in forecast.backtests_)
    assert widest == (decades > decades.max() - 1.0 - 1e-9).sum(), "a decade at most"
    assert all(np.abs(test.errors[1]).mean() < 0.03 for test in forecast.backtests_), "`joint` is what was planted"


def test_weights_noise_and_drift_by_hand(scattered: Any) -> None:
    """Weights fall as the fourth power of what a form was off by; drift is .015 worth 8 cuts, and what cuts say."""
    forecast, decades, log_loss = scattered
    tests, shares = forecast.backtests_, np.array(list(forecast.weights_.values()))
    off = np.mean([np.abs(test.errors).mean(axis=1) for test in tests], axis=0)
    assert shares == pytest.approx((off + 1e-3) ** -4 / ((off + 1e-3) ** -4).sum())
    assert forecast.heaviest_ == list(FORMS)[int(shares.argmax())]
    residual = log_loss - forecast.log_mean(forecast.log_sizes_)
    assert forecast.residuals_ == pytest.approx(residual)
    parameters = shares @ [4, 5, 6, 7]
    weight = closeness(decades, log_loss)
    assert forecast.noise_**2 == pytest.approx(np.average(residual**2, weights=weight) * 30 / (30 - parameters))
    seen = [np.mean(np.maximum((shares @ t.errors) ** 2 - forecast.noise_**2, 0) / t.decades) for t in tests]
    says = 0.5 * min(len(tests), 4)
    assert forecast.drift_**2 == pytest.approx((8 * 0.015**2 + says * np.mean(seen)) / (8 + says))


def test_shocks_grow_with_the_root_of_the_decades_and_a_run_has_noise_besides(scattered: Any) -> None:
    forecast = scattered[0]
    ln10 = np.log(10)
    sizes = np.array([[7, 9], [9, 12], [10, 14]]) * ln10  # inside, one decade beyond the largest, and four
    shocks = forecast.log_shocks(sizes, 40_000)
    assert (shocks[:, 0] == 0).all()
    assert shocks[:, 2] == pytest.approx(2 * shocks[:, 1])
    says = 8 + 0.5 * min(len(forecast.backtests_), 4)
    assert np.quantile(shocks[:, 1], 0.9) == pytest.approx(forecast.drift_ * stats.t.ppf(0.9, says), rel=0.03)
    run = forecast.log_shocks(sizes, 40_000, "run")
    assert run[:, 0].std() == pytest.approx(forecast.noise_, rel=0.02)
    assert (run - shocks).std() == pytest.approx(forecast.noise_, rel=0.02)
    low, high = forecast.predict_interval(1e9, 1e12, 0.8)
    drawn = forecast.log_draws(sizes[1:2])
    assert 38 <= len(drawn) <= 42
    ends = np.quantile(drawn + forecast.log_shocks(sizes[1:2], len(drawn)), [0.1, 0.9])
    assert np.log([low, high]) == pytest.approx(ends)


def test_without_a_backtest_a_drift_is_assumed() -> None:
    few = measured(7).iloc[[0, 5, 10, 15, 17]]
    forecast = Forecast(replicates=5).fit(*few.to_numpy().T)
    assert forecast.drift_ == 0.04
    shocks = forecast.log_shocks(np.array([[0.0, np.log(10) * (forecast.largest_ + 1)]]), 40_000)
    assert np.quantile(shocks, 0.9) == pytest.approx(0.04 * stats.t.ppf(0.9, 4), rel=0.03)


@pytest.mark.parametrize(("off", "told"), [(-0.08, True), (0.02, False)])
def test_a_size_is_off_the_curve_beyond_three_times_the_scatter(off: float, told: bool) -> None:
    params, tokens = np.repeat(np.geomspace(1e6, 1e9, 6), 5), np.tile(np.geomspace(1e8, 1e11, 5), 6)
    loss = (0.9 + 60 * params**-0.3 + 900 * tokens**-0.35) * np.exp(0.01 * np.random.default_rng(0).normal(size=30))
    shifted = loss * np.where(params == params[12], np.exp(off), 1)
    found = Forecast(replicates=5).fit(params, tokens, shifted).off_curve()
    assert [each.rows.tolist() for each in found] == ([list(range(10, 15))] if told else [])
    assert all(each.error == pytest.approx(off, abs=0.03) for each in found)


@pytest.mark.parametrize(("budgets", "told"), [(2, False), (3, True)])
def test_nine_settings_of_other_sizes_judge_a_size_and_seeds_are_none(
    budgets: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasts, "CUTS", ())  # no backtest is asked for
    params, tokens = np.repeat(np.geomspace(1e6, 1e8, 5), 2 * budgets), np.tile(np.geomspace(1e8, 1e10, budgets), 10)
    tokens = tokens if told else tokens * (params / 1e6) ** 0.1  # or two of them would be too few for any law
    loss = (0.9 + 60 * params**-0.3 + 900 * tokens**-0.35) * np.exp(0.1 * (params == params[-1]))
    found = Forecast(replicates=5).fit(params, tokens, loss).off_curve()
    assert [params[each.rows[0]] for each in found] == ([1e8] if told else [])


def test_runs_near_the_frontier_of_much_compute_weigh_most() -> None:
    decades = np.array([10.0, 12.0, 12.1, 14.0])
    weight = closeness(decades, np.log([3.0, 2.0, 3.0, 1.5]))
    assert weight[3] == 1
    assert weight[0] == pytest.approx(0.1)
    assert weight[2] / weight[1] == pytest.approx(10**0.025 * np.exp(-np.log(1.5) / 0.2))


def test_one_size_off_the_curve_is_named_and_nothing_else() -> None:
    report = analyse(validate(measured(7)), replicates=40)
    off = [warning for warning in report.verdict.warnings if "off the curve" in warning]
    assert len(off) == 1
    assert "size 1e+08 is off the curve of the others" in off[0]
    assert "above it in all 4 runs" in off[0]
    assert any("of 5 larger runs lie inside their 90% intervals" in warning for warning in report.verdict.warnings)
    clean = analyse(validate(measured(6)), replicates=40)
    assert not any("curve" in warning or "inside" in warning for warning in clean.verdict.warnings)
    first = clean.text().splitlines()[0]
    assert "The loss falls with" in first
    assert "Ten times the compute should reach" in first
    assert "The run that would tell most of that for its compute" in first
    assert report.numbers()["forecast/warnings"] >= 2


def test_the_first_sentence_says_why_there_is_no_law_or_that_its_forecast_is_too_wide() -> None:
    narrow = analyse(validate(measured(1)), replicates=20).text().splitlines()[0]
    assert narrow.startswith("These runs do not tell how the loss scales with params and tokens: a forecast needs ")
    params, tokens = np.repeat([3e4, 1e5, 3e5], 3), np.tile([3e4, 1e5, 3e5], 3)
    loss = np.array([1.9679, 1.5774, 1.2869, 1.8242, 1.4922, 1.2262, 1.8134, 1.4536, 1.1757])  # of a demo
    few = validate(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
    first = analyse(few, replicates=100).text().splitlines()[0]
    assert "it foretold the 1 larger one to " in first
    assert "1 of 1 inside its 90% interval." in first
    assert "These runs do not tell what ten times the compute would reach: 0.5" in first
    assert " or more (90%), with no upper bound." in first
    assert "Ten times the compute should reach" not in first
    clean = validate(few.frame.assign(loss=1 + params**-0.3 + 30 * tokens**-0.4))
    first = analyse(clean, replicates=10).text().splitlines()[0]
    assert re.search(r"none seen twice: \d+ times the most tokens of any run, so take it for a direction\. ", first)


def test_a_bad_run_is_named_and_does_not_widen_the_law(planted: Any) -> None:
    params, tokens = np.repeat(np.geomspace(1e7, 1e9, 5), 5), np.tile(np.geomspace(1e9, 1e11, 5), 5)
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    loss *= np.exp(0.01 * np.random.default_rng(0).normal(size=25))
    clean = JointLaw(replicates=300).fit(params, tokens, loss).confidence_interval("irreducible")
    loss[7] *= 1.3
    law = JointLaw(replicates=300).fit(params, tokens, loss)
    low, high = law.confidence_interval("irreducible")
    assert high - low < 1.3 * (clean.high - clean.low)
    assert Forecast(replicates=50).fit(params, tokens, loss).suspects_.tolist() == [7]
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})
    assert (
        "Warning: row 7 (3.16e+07 params, 1e+10 tokens) lies far off the law"
        in analyse(validate(frame), replicates=10).text()
    )


def test_size_and_data_in_step_tell_the_loss_against_compute() -> None:
    params = np.geomspace(1e7, 1e9, 9)
    loss = 1.8 + 480 * params**-0.35 + 2100 * (20 * params) ** -0.37
    report = analyse(validate(pd.DataFrame({"params": params, "tokens": 20 * params, "loss": loss})), replicates=100)
    assert report.joint is None
    assert report.forecast is None
    assert "tokens do not follow from their params" in report.refusals["joint law"]
    first = report.text().splitlines()[0]
    truth = 1.8 + 480 * (1e9 * 10**0.5) ** -0.35 + 2100 * (2e10 * 10**0.5) ** -0.37
    assert f"should reach {truth:.4g}" in first


def test_exponents_are_never_negative() -> None:
    x = np.geomspace(1e5, 1e9, 8)
    assert PowerLaw(on_flat="ignore").fit(x, 2 + 0.1 * np.log10(x)).exponent_ == 0


def test_a_plan_names_the_run_that_tells_most() -> None:
    forecast = Forecast(replicates=200).fit(*measured(6).to_numpy().T)
    spend = plan(forecast, 1e18)
    run = spend.next_run
    assert run is not None
    assert 6 * 10**forecast.largest_ * 0.999 <= run.flops <= 5e17
    assert run.params * run.tokens * 6 == pytest.approx(run.flops)
    assert run.params >= measured(6)["params"].min() * 0.999
    assert 0 < run.narrows < 1
    assert spend.half_size.extra_loss > 0
    assert spend.double_size.extra_loss > 0


def test_five_runs_are_forecast_without_a_backtest() -> None:
    few = measured(7).iloc[[0, 5, 10, 15, 17]]
    forecast = Forecast(replicates=50).fit(*few.to_numpy().T)
    assert not forecast.backtests_
    assert set(forecast.weights_) == {"tied"}
    with pytest.raises(UnidentifiedError, match="more settings than that, got 4"):
        Forecast().fit(*measured(7).iloc[[0, 7, 17, 14]].to_numpy().T)
    with pytest.raises(UnidentifiedError, match="more settings than that, got 4"):
        Forecast().fit(*measured(7).iloc[[0, 7, 17, 14, 14]].to_numpy().T)


def test_eight_runs_below_a_cut_are_enough_for_a_backtest() -> None:
    table = measured(7).iloc[[0, 1, 3, 8, 9, 11, 16, 17, 19]]
    (test,) = Forecast(replicates=5).fit(*table.to_numpy().T).backtests_
    assert (test.fitted, test.held_out.tolist()) == (8, [8])


def test_isoflop_looks_through_a_window() -> None:
    params = np.tile(2e7 * np.geomspace(0.02, 20, 13), 2)
    tokens = np.repeat([1e18, 1e20], 13) / 6 / params
    loss = np.log(params / (2e7 * np.repeat([1, 10], 13))) ** 2 + 2
    loss[0] = loss[13] = 2.5  # far from the minimum, and no part of the parabola
    assert isoflop(params, tokens, loss).params_power == pytest.approx(0.5)
    assert isoflop(params, tokens, loss, window=1e4).params_power != pytest.approx(0.5, abs=0.01)


def test_undominated_runs() -> None:
    kept = undominated(np.array([1.0, 2.0, 2.0, 3.0, 4.0]), np.array([3.0, 2.5, 2.6, 2.8, 2.0]))
    assert kept.tolist() == [True, True, False, False, True]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs ../shared/data/scaling/published beside the project")
def test_published_runs_lie_inside() -> None:
    """On nine studies of other people: up to a tenth of the largest compute is fitted, the rest is predicted."""
    chosen = [(name, frame) for name, frame in tables(PUBLISHED) if "gadre" not in name and "," not in name]
    new = np.array([score(Forecast(replicates=200), frame)[0] for _, frame in chosen])
    old = np.array([score(JointLaw(on_flat="ignore", replicates=200), frame)[0] for _, frame in chosen])
    assert 0.85 <= new[:, 0].mean() <= 0.99
    assert old[:, 0].mean() < 0.6
    assert new[:, 3].mean() < 0.6 * old[:, 3].mean()
    assert np.median(new[:, 2]) < 2 * np.median(old[:, 2])

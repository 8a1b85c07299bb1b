"""Plans by searches, and the next run by the covariance that it was chosen for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import Forecast, JointLaw, compute_optimal, flops_of, plan
from chemscale_bench.scaling.planning import _far, describe_plan, log_draws, next_run


@pytest.fixture(scope="module")
def forecast() -> Forecast:
    params, tokens = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 5)))
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=30))
    return Forecast(replicates=60).fit(params, tokens, (0.9 + 60 * params**-0.3 + 900 * tokens**-0.35) * noise)


@pytest.fixture(scope="module")
def demo() -> Forecast:
    params, tokens = np.repeat([3e4, 1e5, 3e5], 3), np.tile([3e4, 1e5, 3e5], 3)
    loss = np.array([1.9679, 1.5774, 1.2869, 1.8242, 1.4922, 1.2262, 1.8134, 1.4536, 1.1757])
    return Forecast(replicates=200).fit(params, tokens, loss)


def test_a_plan_of_a_joint_law(planted: Any) -> None:
    law = JointLaw(replicates=30).fit(*planted)
    spend = plan(law, 1e22, 0.8)
    params, tokens = float(spend.frontier.params[0]), float(spend.frontier.tokens[0])
    assert params * tokens * 6 == pytest.approx(1e22)
    assert spend.beyond == pytest.approx(1e22 / (6 * 1e9 * 1e11))
    assert spend.next_run is None
    for other, factor in ((spend.half_size, 0.5), (spend.double_size, 2)):
        assert (other.params, other.tokens) == pytest.approx((params * factor, tokens / factor))
        assert other.loss == pytest.approx(float(law.predict([other.params], [other.tokens])[0]))
        assert other.extra_loss == pytest.approx(other.loss - spend.frontier.loss[0])
        more = np.exp(log_draws(law, [other.params], [other.tokens])) - np.exp(log_draws(law, [params], [tokens]))
        assert other.extra_loss_interval == pytest.approx(np.quantile(more[:, 0], [0.1, 0.9]))
    cheap = plan(law, 1e22, flops_per_param_token=12)
    assert cheap.frontier.params[0] * cheap.frontier.tokens[0] * 12 == pytest.approx(1e22)
    assert cheap.beyond == pytest.approx(1e22 / (12 * 1e9 * 1e11))


def test_what_a_detour_wastes_is_what_the_optimum_does_not_need(planted: Any) -> None:
    law = JointLaw(replicates=5).fit(*planted)
    spend = plan(law, 1e20)
    for other in (spend.half_size, spend.double_size):
        assert 0 < other.wasted < 0.5
        assert compute_optimal(law, [1e20 * (1 - other.wasted)]).loss[0] == pytest.approx(other.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("asked", "beyond", "said"),
    [  # of runs of 1e6 to 1e9 params on 1e8 to 1e11 tokens
        ((3e9, 3e11), 0.5, ""),
        ((3.1e9, 1e10), 1.0, "3.1 times the most params of any run"),
        ((1e7, 3.1e11), 1.0, "3.1 times the most tokens of any run"),
        ((5.9e9, 5.9e11), 4.0, ""),  # times the root of how far the budget is beyond
        ((6.1e9, 6.1e11), 4.0, "6.1 times the most params of any run and 6.1 times the most tokens of any run"),
        ((1e6 / 2.9, 1e8 / 2.9), 1.0, ""),
        ((2.5e5, 1e10), 100.0, "4 times fewer params than any run"),
    ],
)
def test_more_than_three_times_outside_the_runs_is_far(asked: tuple[float, float], beyond: float, said: str) -> None:
    assert _far(asked, np.array([[1e6, 1e11], [1e9, 1e8]]), beyond) == said


@pytest.mark.parametrize(("asked", "up_to"), [(7e20, 7e20), (6e21, 3e21)])
def test_no_other_candidate_tells_more_for_its_flops(asked: float, up_to: float, forecast: Forecast) -> None:
    """Of sizes a factor 1, 2 and 4 about the best ones, from the largest compute so far on."""
    largest = 6 * 1e9 * 1e11
    budgets = np.geomspace(largest, up_to, 24)
    best, aim = compute_optimal(forecast, budgets), compute_optimal(forecast, [asked])
    sizes = np.append(np.concatenate([best.params * factor for factor in (0.25, 0.5, 1, 2, 4)]), aim.params)
    spent = np.append(np.tile(budgets, 5), asked)
    beyond = np.maximum(np.log10(spent / largest), 0)
    covariance = np.cov(log_draws(forecast, sizes, spent / 6 / sizes).T, ddof=0)
    covariance += forecast.drift_**2 * np.minimum(beyond[:, None], beyond)
    variance = covariance.diagonal() + forecast.noise_**2
    tells = (covariance[-1] ** 2 / variance / covariance[-1, -1])[:-1]
    place = int(np.argmax(tells / spent[:-1]))
    run = next_run(forecast, asked)
    assert run == pytest.approx((sizes[place], spent[place] / 6 / sizes[place], spent[place], tells[place]))


def test_the_next_run_is_the_one_of_most_covariance_for_its_flops(forecast: Forecast) -> None:
    largest, asked = 6 * 1e9 * 1e11, 6e23
    run = next_run(forecast, asked)
    assert run
    assert run.flops == pytest.approx(6 * run.params * run.tokens)
    assert largest * (1 - 1e-9) <= run.flops <= asked / 2 * (1 + 1e-9)
    best = plan(forecast, asked).frontier
    sizes = np.array([run.params, best.params[0]]), np.array([run.tokens, best.tokens[0]])
    drawn = log_draws(forecast, *sizes)
    beyond = np.log10(np.array([run.flops, asked]) / largest)
    covariance = np.cov(drawn.T, ddof=0) + forecast.drift_**2 * np.minimum(beyond[:, None], beyond)
    variance = covariance[0, 0] + forecast.noise_**2
    assert run.narrows == pytest.approx(covariance[0, 1] ** 2 / variance / covariance[1, 1], rel=1e-6)
    near = next_run(forecast, 1.5 * largest)
    assert near
    assert largest * (1 - 1e-9) <= near.flops <= 1.5 * largest * (1 + 1e-9), "never more than is asked about"
    assert next_run(forecast, 0.9 * largest) is None, "larger ones were made"


def test_the_run_that_tells_most_is_no_smaller_than_those_that_were_measured() -> None:
    """Of six runs of an hour's study it was 91 params, which nobody can train."""
    params = [10_040, 10_040, 10_040, 29_120, 29_120, 99_008]
    loss = [2.1003, 1.3669, 1.9881, 1.9679, 1.5634, 1.8242]
    forecast = Forecast(replicates=100).fit(params, [3e4, 3e5, 3e4, 3e4, 1e5, 3e4], loss)
    run = plan(forecast, 1e14).next_run
    assert run is not None
    assert run.params == pytest.approx(10_040)
    assert run.params * run.tokens * 6 == pytest.approx(run.flops)


def test_a_budget_needs_a_best_size_and_none_of_its_thirtieth(forecast: Forecast) -> None:
    """Waste is what the optimum does not need, which is far more than a thirtieth of the budget."""
    budget = 1e12
    with pytest.raises(UserError, match=r"a best size within reach .* at 3\.3e\+10 FLOPs"):
        plan(forecast, budget / 30)
    spend = plan(forecast, budget)
    for other in (spend.half_size, spend.double_size):
        enough = compute_optimal(forecast, [budget * (1 - other.wasted)])
        assert enough.loss[0] == pytest.approx(other.loss, rel=1e-3)


def test_a_plan_as_text(forecast: Forecast, planted: Any) -> None:
    lines = describe_plan(plan(forecast, 1.2e22), 0.9).splitlines()
    assert lines[0] == "budget   1.2e+22 FLOPs; 90% intervals"
    assert [line.split()[0] for line in lines] == ["budget", "params", "tokens", "loss", "half", "twice", "The", "next"]
    assert "The budget is 20 times the largest fitted one" in lines[6]
    assert "The budget is 1.5 times" in describe_plan(plan(JointLaw(replicates=5).fit(*planted), 9e20), 0.9)
    inside = describe_plan(plan(JointLaw(replicates=5).fit(*planted), 1e20), 0.9).splitlines()
    assert [line.split()[0] for line in inside] == ["budget", "params", "tokens", "loss", "half", "twice"]


def test_an_upper_end_beyond_the_worst_run_is_none(forecast: Forecast, demo: Forecast) -> None:
    """A demo's runs: the best size for ten times their compute is far from all of them, and refits disagree on it."""
    raw = compute_optimal(demo, [54e11])
    assert raw.loss_interval.high[0] > 1.9679, "else there is nothing to tell"
    lines = describe_plan(plan(demo, 54e11), 0.9).splitlines()
    told = {line.split(" ")[0]: line for line in lines}
    assert told["loss"].endswith(f"[{raw.loss_interval.low[0]:#.5g}, no upper bound]")
    assert ", no upper bound], wastes" in told["half"]
    assert " [no lower bound, " in told["twice"]
    assert told["far"].startswith("far      1.5e+02 times the most tokens of any run: ")
    assert "these runs tell none" in told["no"]
    near = describe_plan(plan(forecast, 1.2e22), 0.9)
    assert not {"no", "far"} & {line.split(" ")[0] for line in near.splitlines()}


def test_an_end_of_what_was_searched_is_none(demo: Forecast) -> None:
    """The best size of some refits lies below all that were searched, so that this is no lower end of it."""
    text = describe_plan(plan(demo, 54e10), 0.9)
    assert "\nparams   6.38e+03  [no lower bound, " in text
    assert ", no upper bound]\nloss" in text


def test_flops_of_gpu_hours() -> None:
    assert flops_of(2, "h100", 1.0) == 2 * 3600 * 989e12
    assert flops_of(0.5, "A100", 0.4) == pytest.approx(0.5 * 3600 * 312e12 * 0.4)
    assert flops_of(8, "H200", 0.4) == pytest.approx(8 * 3600 * 989e12 * 0.4)
    assert flops_of(1, "H100 SXM", 1) == flops_of(1, "h100", 1)
    for bad, says in (
        ((1, "abacus", 0.4), "device must be"),
        ((1, "h100", 4), "mfu must"),
        ((0, "h100", 0.4), "gpu_hours"),
    ):
        with pytest.raises(UserError, match=says):
            flops_of(*bad)

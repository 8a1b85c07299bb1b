"""Everything that a table tells, under flat names and in a report."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import validate
from chemscale_bench.scaling.analysis import Analysis, analyse

PARAMS, TOKENS = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 4)))
RUNS = pd.DataFrame({"params": PARAMS, "tokens": TOKENS, "loss": 0.3 + 60 * PARAMS**-0.3 + 900 * TOKENS**-0.35})


@pytest.fixture(scope="module")
def found() -> Analysis:
    unfinished = RUNS.iloc[:3].assign(status="failed", loss=9.0)
    return analyse(validate(pd.concat([RUNS.assign(status="finished"), unfinished])), replicates=10)


def test_numbers_are_those_of_the_laws(found: Analysis) -> None:
    numbers = found.numbers()
    assert (numbers["runs/rows"], numbers["runs/left_out"]) == (20, 3)
    for name, value in (("params_exponent", 0.3), ("tokens_exponent", 0.35), ("irreducible", 0.3)):
        assert numbers[f"joint/{name}"] == pytest.approx(value, rel=1e-3)
        low, high = numbers[f"joint/{name}_low"], numbers[f"joint/{name}_high"]
        assert low == pytest.approx(value, rel=1e-3)
        assert high == pytest.approx(value, rel=1e-3)
    assert numbers["joint/rms"] == pytest.approx(0, abs=1e-6)
    assert numbers["joint/objective"] == found.joint.objective_  # type: ignore[union-attr]
    assert numbers["frontier/params_power"] == pytest.approx(0.35 / 0.65, abs=0.01)
    assert numbers["frontier/params_power_low"] <= numbers["frontier/params_power_high"]
    assert numbers["forecast/warnings"] == 0
    assert sum(value for name, value in numbers.items() if name.startswith("forecast/weight_")) == pytest.approx(1)
    assert 0 <= numbers["extrapolation/coverage"] <= 1
    assert numbers["extrapolation/error"] < 0.01
    for along in ("params", "tokens"):
        regimes = found.regimes[along == "tokens"]
        assert numbers[f"power_law/{along}_exponent"] == regimes.headline.law.exponent_  # type: ignore[union-attr]
        assert numbers[f"regimes/limited_along_{along}"] == (regimes.label != "power_law").sum()


def test_the_frontier_reaches_from_the_least_compute_to_a_hundred_times_the_most(found: Analysis) -> None:
    assert found.frontier is not None
    assert found.frontier.flops[[0, -1]] == pytest.approx([6e14, 100 * 6e20])
    assert found.compute is not None
    assert found.compute.chosen.range_[0][0] == pytest.approx(6e14)


def test_the_report_has_every_part_once(found: Analysis) -> None:
    text = found.text()
    for part in (
        "20 rows: 5 sizes x 4 values of tokens; 3 failed left out", "Power law along params",
        "Power law along tokens",
        "Joint law L = E + A params^-alpha + B tokens^-beta", "Forecast beyond these runs",
        "Compute-optimal parameters", "Laws along params by error", "Laws along compute alone", "larger runs inside",
    ):  # fmt: skip
        assert text.count(part) == 1, part
    assert set(found.figures()) == {
        "loss_against_params", "loss_against_tokens", "loss_over_params_and_tokens", "residuals", "frontier",
    }  # fmt: skip


def test_a_refused_table_still_has_a_report() -> None:
    found = analyse(validate(RUNS[RUNS["params"] == 1e6]), replicates=5)
    assert found.joint is None
    assert found.forecast is None
    numbers, text = found.numbers(), found.text()
    assert not any(name.startswith(("joint/", "forecast/", "frontier/", "extrapolation/")) for name in numbers)
    assert "No joint law: " in text
    assert "No power law along params: no value of tokens has 3 or more rows" in text
    assert set(found.figures()) == {"loss_against_tokens", "loss_over_params_and_tokens"}


@pytest.fixture(scope="module")
def noisy() -> Analysis:
    """Three sizes on thirteen values of tokens, two seeds of each."""
    params, tokens, seed = (grid.ravel() for grid in np.meshgrid([1e6, 3e7, 1e9], np.geomspace(1e8, 1e11, 13), [0, 1]))
    loss = (0.3 + 60 * params**-0.3 + 900 * tokens**-0.35) * np.exp(
        0.01 * np.random.default_rng(0).normal(size=len(params))
    )
    table = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "seed": seed})
    return analyse(validate(table), level=0.8, replicates=20)


def test_numbers_of_noisy_runs_are_roots_of_mean_squares_and_ends_of_intervals(noisy: Analysis) -> None:
    numbers, (params, tokens, loss) = noisy.numbers(), noisy.columns
    assert noisy.joint is not None
    assert noisy.forecast is not None
    assert noisy.frontier is not None
    for name, law in (("joint", noisy.joint), ("forecast", noisy.forecast)):
        root = np.sqrt(np.mean(np.log(loss / law.predict(params, tokens)) ** 2))
        assert numbers[f"{name}/rms"] == pytest.approx(root)
        assert f"rms {root:.2%}" in re.sub(" +", " ", noisy.text())
    assert numbers["forecast/drift"] == noisy.forecast.drift_
    for name in ("params_exponent", "irreducible"):
        ends = numbers[f"joint/{name}_low"], numbers[f"joint/{name}_high"]
        assert ends == tuple(noisy.joint.confidence_interval(name, 0.8))
        assert ends[0] < numbers[f"joint/{name}"] < ends[1]
    ends = numbers["frontier/params_power_low"], numbers["frontier/params_power_high"]
    assert ends == tuple(noisy.frontier.params_power_interval)


def test_the_law_of_compute_alone_is_one_of_means_over_seeds(noisy: Analysis) -> None:
    assert noisy.compute is not None
    means = noisy.table.frame.groupby(["params", "tokens"])["loss"].mean()
    assert noisy.compute.chosen.fitted_.log_loss.min() == pytest.approx(np.log(means.min()))


def test_the_report_of_noisy_runs(noisy: Analysis) -> None:
    lines = noisy.text().splitlines()
    assert "Power law along params (loss = scale x^-exponent), 80% intervals" in lines
    (start,) = (place for place, line in enumerate(lines) if line.startswith("Power law along params"))
    rows = [line.split() for line in lines[start + 2 : start + 14]]
    assert [row[0] for row in rows] == [f"{value:.3g}" for value in np.geomspace(1e11, 1e8, 13)[:12]]
    assert lines[start + 14].startswith("  exponent: of the runs on the straight line")
    assert "  ... and 1 more values of tokens" in lines
    assert sum("more values of params" in line for line in lines) == 0, "three are shown"
    assert noisy.joint is not None
    low, high = noisy.joint.confidence_interval("params_exponent", 0.8)
    assert any(
        line.split()
        == ["alpha", f"{noisy.joint.params_exponent_:.4g}", f"[{low:.4g},", f"{high:.4g}]", "params_exponent"]
        for line in lines
    )
    assert noisy.forecast is not None
    for test in noisy.forecast.backtests_:
        (line,) = (each for each in lines if each.startswith(f"  {test.fitted:4d} runs up to {test.compute:.2g}, "))
        assert f"{len(test.held_out):3d} above it off by: tied {np.abs(test.errors[0]).mean():.1%}, joint " in line
    assert noisy.compute is not None
    assert sum(line.endswith("<- chosen") for line in lines) == 1
    assert f"  the runner-up's error is {noisy.compute.margin:.2f} times the best one's" in lines
    assert noisy._repr_html_().startswith("<pre>The loss falls with params")
    assert "E + A params^-alpha" in noisy._repr_html_()
    assert "&lt;- chosen" in noisy._repr_html_()


def test_figures_of_a_report_are_found_by_name(noisy: Analysis) -> None:
    ends = [trace.x[0] for trace in noisy.figure("frontier").data if trace.name == "largest fitted run"]
    assert ends == [pytest.approx(6e20)] * 2
    assert noisy.figure().data[0].type == "contour"
    with pytest.raises(UserError, match=r"name must be one of loss_against_params, .* got 'curve'"):
        noisy.figure("curve")


def limited(data: str) -> Analysis:
    """Two values of `data`, of which the smaller limits what is larger than 4e6 params."""
    params, amount = np.tile(np.geomspace(1e5, 1e9, 9), 2), np.repeat([1e8, 1e10], 9)
    loss = 10 * np.minimum(params, np.where(amount == 1e8, 4e6, np.inf)) ** -0.17
    return analyse(validate(pd.DataFrame({"params": params, data: amount, "loss": loss})), replicates=10)


def test_runs_off_the_line_are_counted_from_where_something_else_limits() -> None:
    found = limited("tokens")
    rows = [line.split() for line in found.text().splitlines()]
    assert ["1e+10", "0.17", "[0.17,", "0.17]", "0.170", "9", "0", "-"] in rows
    assert ["1e+08", "0.17", "[0.17,", "0.17]", "0.051", "4", "5", "4.2e+06"] in rows
    numbers = found.numbers()
    assert (numbers["regimes/limited_along_params"], numbers["runs/left_out"]) == (5, 0)
    assert numbers["power_law/params_exponent"] == pytest.approx(0.17), "of the most tokens"


def test_frames_have_no_frontier() -> None:
    found = limited("frames")
    assert "got frames, whose FLOPs are not 6 params tokens" in found.refusals["frontier"]
    assert (found.frontier, found.compute, found.parabolas) == (None, None, None)
    lines = found.text().splitlines()
    assert "18 rows: 9 sizes x 2 values of frames; none left out" in lines
    assert "No joint law: JointLaw needs at least 3 different frames, got 2 (1e+08, 1e+10)" in found.text()
    assert "params and frames: a forecast needs at least 3 different frames, got 2" in found.verdict.found
    assert any(line.startswith("      frames                     exponent") for line in lines)

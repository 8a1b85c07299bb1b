"""Everything that a table tells, under flat names and in a report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

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

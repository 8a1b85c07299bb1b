"""A fit in words: what is said, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.scaling import JointLaw, choose_law
from chemscale_bench.scaling.choice import Extrapolation
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.verdict import headline, judge, named


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    params = np.repeat(np.geomspace(1e6, 1e9, 6), 5)
    tokens = np.tile(np.geomspace(1e8, 1e11, 5), 6)
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": 0.9 + 60 * params**-0.3 + 900 * tokens**-0.35})


@pytest.fixture(scope="module")
def joint(runs: pd.DataFrame) -> JointLaw:
    return JointLaw(replicates=20).fit(runs["params"], runs["tokens"], runs["loss"])


@pytest.fixture(scope="module")
def forecast(runs: pd.DataFrame) -> Forecast:
    return Forecast(replicates=20).fit(runs["params"], runs["tokens"], runs["loss"])


def foretold(inside: int, outside: int) -> Extrapolation:
    measured = np.array([1.0] * inside + [1.3] * outside)
    predicted = np.ones(inside + outside)
    return Extrapolation((predicted,), measured, predicted, 0.9 * predicted, 1.1 * predicted, 0.9, 20, 0.1)


def test_runs_are_named_up_to_five() -> None:
    frame = pd.DataFrame({"params": [1e6, 2e6], "tokens": [1e8, 1e8], "loss": [1, 1]}, index=[4, 9])
    assert named(frame, [1], "tokens") == "row 9 (2e+06 params, 1e+08 tokens)"
    more = frame.assign(seed=3, run_id="0123456789abcdef")
    assert named(more, [0], "frames") == "row 4 (1e+06 params, 1e+08 frames, seed 3, run 01234567)"
    assert named(frame, [0] * 5, "tokens").count("row 4") == 5
    assert "more" not in named(frame, [0] * 5, "tokens")
    assert named(frame, [0] * 6, "tokens").endswith(" and 1 more")
    assert named(frame, [0] * 7, "tokens").endswith(" and 2 more")


def test_the_headline_has_the_exponents_and_the_sizes(joint: JointLaw, runs: pd.DataFrame) -> None:
    assert headline(joint, runs, 0.9) == "alpha .30 [.30, .30], beta .35 [.35, .35], 6 sizes"
    assert headline(None, runs[runs["params"] == 1e6], 0.9) == "no law told by 5 rows, 1 size"


def test_a_good_fit_has_no_warnings(joint: JointLaw, forecast: Forecast, runs: pd.DataFrame) -> None:
    verdict = judge(runs, "tokens", joint, forecast, foretold(9, 1), None, 0.9)
    assert verdict.warnings == []
    assert verdict.found.startswith(
        "The loss falls with params to the power -0.3 and tokens to the power -0.35, towards 0.9. Fitted to the runs "
        "of up to 0.1 of the largest compute, it foretold the 10 larger ones to 2.6% on average, 9 of 10 inside their "
        "90% intervals. Ten times the compute should reach "
    )
    run = verdict.next_run
    assert run is not None
    assert verdict.found.endswith(
        f" The run that would tell most of that for its compute: {run.params:.2g} params on {run.tokens:.2g} tokens "
        f"({run.flops:.2g} FLOPs); it should take away {run.narrows:.0%} of the variance."
    )
    one = judge(runs, "tokens", joint, forecast, foretold(1, 0), None, 0.9).found
    assert "foretold the 1 larger one to 0.0%, 1 of 1 inside its 90% interval." in one
    frames = judge(runs, "frames", None, forecast, None, None, 0.9)
    assert (frames.found, frames.next_run) == ("", None), "force fields have no count of FLOPs"


@pytest.mark.parametrize(("inside", "outside", "warned"), [(10, 0, False), (8, 2, False), (7, 3, False), (6, 4, True)])
def test_fewer_inside_than_chance_leaves_there_are_a_warning(
    inside: int, outside: int, warned: bool, joint: JointLaw, forecast: Forecast, runs: pd.DataFrame
) -> None:
    """Of ten at 90 % seven or fewer have a chance of 7 %, six or fewer of 1.3 %."""
    warnings = judge(runs, "frames", joint, forecast, foretold(inside, outside), None, 0.9).warnings
    assert [warning.partition(" larger")[0] for warning in warnings] == [f"only {inside} of 10"] * warned


def test_values_that_rise_are_no_losses(runs: pd.DataFrame) -> None:
    rising = runs.assign(loss=1 / runs["loss"])
    assert "values rise with params and frames" in judge(rising, "frames", None, None, None, None, 0.9).warnings[0]
    for frame in (runs, rising.iloc[:2], runs.assign(loss=1.0), rising[:5].assign(params=1.0, tokens=1.0)):
        assert judge(frame, "frames", None, None, None, None, 0.9).warnings == []
    three = pd.DataFrame({"params": [1.0, 2.0, 3.0], "tokens": 1.0, "loss": [1.0, 2.0, 3.0]})
    assert len(judge(three, "tokens", None, None, None, None, 0.9).warnings) == 1
    unclear = pd.DataFrame({"params": [1.0, 2, 3, 4], "tokens": 1.0, "loss": [1.0, 3, 2, 2.5]})
    assert judge(unclear, "tokens", None, None, None, None, 0.9).warnings == []


def test_without_a_forecast_compute_alone_is_told() -> None:
    params = np.geomspace(1e6, 1e9, 8)
    frame = pd.DataFrame({"params": params, "tokens": 20 * params, "loss": 50 * params**-0.2})
    compute: Any = choose_law(120 * params**2, frame["loss"])
    found = judge(frame, "tokens", None, None, None, compute, 0.9, "in step").found
    assert found.startswith("These runs do not tell how the loss scales with params and tokens: in step. They tell")
    assert f"should reach {50 * (1e9 * 10**0.5) ** -0.2:.4g} [" in found
    assert "ten times as much, spent in the same proportion, should" in found
    assert "see below" in judge(frame, "tokens", None, None, None, None, 0.9).found
    one = judge(frame.assign(params=1e7), "tokens", None, None, None, compute, 0.9).found
    assert "ten times as much, of the same params, should" in one

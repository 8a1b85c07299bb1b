"""What the data cannot tell is refused, with the reason and what to run next."""

from __future__ import annotations

import numpy as np
import pytest

from chemscale_bench.scaling import BrokenPowerLaw, JointLaw, PowerLaw, PowerLawWithFloor, UnidentifiedError
from chemscale_bench.scaling.base import ScalingLaw
from chemscale_bench.scaling.identify import _alternatives

ONE_SIZE = (PowerLaw(), PowerLawWithFloor(), BrokenPowerLaw())


@pytest.mark.parametrize("law", ONE_SIZE, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([1e6, 1e8, 1e6, 1e8, 1e8, 1e6, 1e6], r"got 2 \(1e\+06, 1e\+08\); run \d more"),
        (np.linspace(1e6, 3.5e6, 12), r"span at least a factor 3.6, got 3.5 .* add a run at x of 3.6e\+06"),
    ],
    ids=["two sizes", "short span"],
)
def test_too_few_sizes_or_too_short_a_span(law: ScalingLaw, sizes: list[float], says: str) -> None:
    x = np.asarray(sizes)
    with pytest.raises(UnidentifiedError, match=says):
        law.fit(x, 10 * x**-0.2)


@pytest.mark.parametrize(
    ("params", "tokens", "says"),
    [
        (np.repeat([1e6, 1e8], 5), np.tile(np.geomspace(1e8, 1e10, 5), 2), "3 different params, got 2"),
        (np.repeat(np.geomspace(1e6, 1e8, 5), 2), np.tile([1e8, 1e9], 5), "3 different tokens, got 2"),
        (np.repeat(np.linspace(1e6, 3e6, 4), 4), np.tile(np.geomspace(1e8, 1e10, 4), 4), "params that span"),
        (np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5), "more settings than that, got 5; run 1 more"),
        (np.geomspace(1e6, 1e8, 9), np.geomspace(2e7, 2e9, 9), "run one size on 4 times fewer or more tokens"),
        (np.geomspace(1e6, 1e8, 9), np.geomspace(1e8, 1.5e9, 9) ** 1.1, "within a factor 1 of one power law"),
    ],
    ids=["two sizes", "two budgets", "short span", "as many points as parameters", "20 tokens each", "in step"],
)
def test_joint_law_refuses(params: np.ndarray, tokens: np.ndarray, says: str) -> None:
    with pytest.raises(UnidentifiedError, match=says):
        JointLaw().fit(params, tokens, 1 + 60 * params**-0.3 + 900 * tokens**-0.35)


def test_a_span_of_just_enough_is_enough() -> None:
    x = np.geomspace(1e6, 4e6, 6)
    x[-1] = 4e6
    assert PowerLaw().fit(x, 10 * x**-0.2).exponent_ == pytest.approx(0.2)


def test_an_exponent_that_could_be_three_times_larger_is_not_told_and_one_that_could_not_is() -> None:
    x = np.geomspace(1e6, 1e8, 8)
    noise = np.random.default_rng(1).normal(size=8)
    assert PowerLaw().fit(x, 10 * x**-0.2 * np.exp(0.05 * noise)).exponent_ == pytest.approx(0.2, abs=0.05)
    with pytest.raises(UnidentifiedError, match="exponent"):
        PowerLaw().fit(x, 10 * x**-0.01 * np.exp(0.05 * noise))


def test_an_exponent_that_ends_at_the_steepest_is_not_told() -> None:
    params, tokens = np.repeat([1e4, 3e4, 1e5], 4), np.tile([1e4, 2e4, 4e4, 8e4], 3)
    smallest_stands_apart = np.where(params < 2e4, 0.1, 0.0)  # and the others are alike
    noise = 0.001 * np.random.default_rng(3).normal(size=12)
    law = JointLaw(replicates=20, on_flat="nan")
    law.fit(params, tokens, (12 * tokens**-0.19 + smallest_stands_apart) * np.exp(noise))
    assert "steeper exponents fit these runs ever better, up to the 14.4" in law.unidentified_["params_exponent"]
    assert np.isnan(law.params_exponent_)
    assert law.tokens_exponent_ == pytest.approx(0.19, abs=0.01)


def test_a_floor_far_below_the_data_is_not_reported() -> None:
    x = np.geomspace(1e5, 1e8, 8)
    loss = 20 * x**-0.2 * np.exp(0.01 * np.random.default_rng(0).normal(size=8))
    with pytest.raises(UnidentifiedError, match="irreducible from these points"):
        PowerLawWithFloor().fit(x, loss)
    kept = PowerLawWithFloor(on_flat="nan").fit(x, loss)
    assert np.isnan(kept.irreducible_)
    assert np.isnan(kept.confidence_interval("irreducible").low)


def test_noise_has_no_exponent() -> None:
    x = np.geomspace(1e5, 1e8, 8)
    with pytest.raises(UnidentifiedError, match="exponent"):
        PowerLaw().fit(x, np.exp(0.05 * np.random.default_rng(1).normal(size=8)))


def test_a_break_that_is_not_there_is_not_reported() -> None:
    x = np.geomspace(1e5, 1e9, 14)
    loss = 20 * x**-0.2 * np.exp(0.01 * np.random.default_rng(0).normal(size=14))
    with pytest.raises(UnidentifiedError, match="break"):
        BrokenPowerLaw(floor=False).fit(x, loss)


def test_an_exponent_is_held_against_a_third_and_three_times_itself() -> None:
    assert [value for value, _ in _alternatives("exponent_x", 0.3)] == pytest.approx([0.1, 0.9])
    assert [value for value, _ in _alternatives("log_floor", -1.0)] == [-np.inf]
    assert [value for value, _ in _alternatives("change_1", 0.3)] == [0.0]
    assert _alternatives("log_scale_x", 0.3) == []

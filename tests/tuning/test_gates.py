"""Gates keep what they promise, however many rivals there are."""

import math
from statistics import NormalDist

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial
from scipy.special import ndtri

from chemscale_bench.tuning import Decision, TrainingPerformancePruner
from chemscale_bench.tuning.gates import (
    LOWEST,
    MIDDLE,
    MOST,
    TO_COME,
    expected_correlation,
    let_through,
    looks_before,
    reliability,
    remembered,
    second_chance,
)
from tuning.conftest import run


@pytest.mark.parametrize("trials", [2, 5, 10, 20, 60, 300])
@pytest.mark.parametrize("miss", [0.01, 0.05, 0.25])
def test_miss_means_the_same_with_few_rivals_and_with_many(trials: int, miss: float) -> None:
    """The winner, at its expected final score, ranks behind the gate as often as `miss` says, never more."""
    random, correlation = np.random.default_rng(trials), 0.8
    best = float(ndtri(1 - 0.5 / min(trials + TO_COME, MOST)))
    winner = correlation * best + math.sqrt(1 - correlation**2) * random.normal(size=40_000)
    rank = 1 + (random.normal(size=(40_000, trials - 1)) > winner[:, None]).sum(1)
    gate = int(let_through(correlation, trials, miss))
    assert (rank > gate).mean() <= miss + 0.005
    assert gate == 1 or (rank > gate - 1).mean() > miss - 0.005


def test_gates_of_many_correlations_at_once() -> None:
    together = let_through([[0.2, 0.9], [0.5, 0.99]], 30, 0.05)
    assert together.tolist() == [
        [int(let_through(each, 30, 0.05)) for each in row] for row in ([0.2, 0.9], [0.5, 0.99])
    ]
    assert np.diff([int(let_through(each, 30, 0.05)) for each in np.linspace(0, 1, 20)]).max() <= 0
    assert int(let_through(0.0, 1, 0.05)) == 1


@pytest.mark.parametrize(
    ("fraction", "before", "passes"),
    [
        (0.1, 9.0, True),
        (0.2, 9.0, True),
        (0.06, 9.0, False),
        (0.3, 9.0, False),
        (0.1, 5.5, False),
        (0.1, np.inf, False),
    ],
)
def test_a_second_chance_is_for_what_falls_fast_at_ten_to_twenty_per_cent(
    fraction: float, before: float, passes: bool
) -> None:
    level = np.array([1.0, 2.0, 3.0, 4.0, np.inf, 5.0])  # the last is the trial, and the worst
    assert (
        bool(second_chance(level, np.array([1.5, 2.5, 3.5, 4.5, 1.0, before]), 5, gate=4, fraction=fraction)) == passes
    )


def test_the_pruner_says_that_a_trial_goes_on_for_its_slope() -> None:
    study = optuna.create_study(pruner=TrainingPerformancePruner(budget=100))
    for final in range(40):
        study.add_trial(create_trial(value=final, intermediate_values={5: final + 1, 10: final, 100: final}))
    assert run(study, {5: 200.0, 10: 35.0}, value=35.0) is None
    decision = Decision.of(study.trials[-1])
    assert decision is not None
    assert (decision.reason, decision.rank, decision.prune) == ("slope", 36, False)
    assert run(study, {5: 36.0, 10: 35.0}, value=35.0) == 10


def test_a_study_of_two_does_not_stop_its_second_trial() -> None:
    study = optuna.create_study(pruner=TrainingPerformancePruner(budget=100))
    assert run(study, {step: 1.0 + 1 / step for step in range(1, 101)}, value=1.0) is None
    assert run(study, {step: 1.01 + 1 / step for step in range(1, 101)}, value=1.01) is None


@pytest.mark.parametrize(
    ("fraction", "looks", "correlation"),
    [(0.0, 0, 0.6), (0.059, 0, 0.6), (0.06, 1, 0.6), (0.1, 2, 0.87), (0.149, 2, 0.87), (0.15, 3, 0.94), (0.2, 4, 0.8),
     (0.3, 5, 0.93), (0.45, 6, 0.94), (1.0, 6, 0.94)],
)  # fmt: skip
def test_looks_and_what_is_expected_at_each(fraction: float, looks: int, correlation: float) -> None:
    assert (looks_before(fraction), expected_correlation(fraction)) == (looks, correlation)
    assert looks_before(3 * (fraction / 3)) == looks, "rounding does not put off a look"


def test_half_of_a_standing_is_the_one_before() -> None:
    """In normal scores: of 100 trials rank r has the score of the quantile 1 - (r - 1/2) / 100."""
    normal = NormalDist()
    assert remembered(30, math.nan, 100) == pytest.approx(30)
    assert remembered(30, 0.295, 100) == pytest.approx(30)
    score = (normal.inv_cdf(1 - 0.295) + normal.inv_cdf(1 - 0.045)) / 2
    assert remembered(30, 0.045, 100) == pytest.approx(100 * (1 - normal.cdf(score)) + 0.5)
    assert remembered([1, 2], [0.5, math.nan], 4)[1] == pytest.approx(2)


def test_reliability_by_hand() -> None:
    """Levels of deviation 2 have the variance 4; of ten reports the best is as uncertain as the mean of seven."""
    low = 2 * NormalDist().inv_cdf(0.1)
    assert (LOWEST, MIDDLE) == (0.1, 0.5)
    assert reliability(low, 0.0, 7.0, 10, 1.0) == pytest.approx(1 - 1 / 4)
    assert reliability(low, 0.0, 7.0, 1000, 1.0) == pytest.approx(1 - 7 / (0.7 * 51) / 4)
    assert reliability(low, 0.0, 7.0, 1000, 0.2) == pytest.approx(1 - 7 / (0.7 * 11) / 4)
    assert reliability(low, 0.0, 70.0, 10, 1.0) == 0
    assert reliability(low, 0.0, 0.0, 10, 1.0) == 1
    assert reliability(1.0, 1.0, 7.0, 10, 1.0) == 1, "without a spread there is nothing to say"


def test_a_second_chance_needs_half_the_gate() -> None:
    level = np.array([1.0, 2.0, 3.0, 4.0, 5.0])  # drawn on: 0.9, 1.9, 2.9, 3.9, and 3 of the last, which is the trial
    before = np.array([1.1, 2.1, 3.1, 4.1, 7.0])
    chances = [bool(second_chance(level, before, 4, gate, 0.15)) for gate in range(1, 10)]
    assert chances == [False] * 7 + [True] * 2, "fourth, that is from a gate of 8 on"
    assert second_chance([1.0, 2.0], [1.1, 9.0], 1, 1, 0.15), "the first always"
    together = second_chance([level, level], [before, before], 4, [7, 8], 0.15)
    assert together.tolist() == [False, True]
    assert not second_chance(level, before, 4, 8, 0.3).any()
    assert not second_chance([1.0, math.inf], [2.0, 1.0], 1, 9, 0.15)

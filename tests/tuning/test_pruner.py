"""Tables of decisions: what the pruner does with studies that are fed report by report."""

from __future__ import annotations

import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from chemscale_bench.tuning import Decision, TrainingPerformancePruner
from chemscale_bench.tuning.gates import LOWEST, MIDDLE, expected_correlation, reliability
from tuning.conftest import BUDGET, Reports, falling, run, study_of

NAN, INF = math.nan, math.inf


def decided(study: optuna.Study, number: int = -1) -> Decision:
    """What was decided of a trial, of which something must have been."""
    decision = Decision.of(study.trials[number])
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"budget": 0}, "budget must be positive or None, got 0"),
        ({"budget": -3}, "budget must be positive or None, got -3"),
        ({"miss": 0.0}, "miss must lie between 0 and 0.5, got 0.0"),
        ({"miss": 0.5}, "miss must lie between 0 and 0.5, got 0.5"),
        ({"miss": NAN}, "miss must lie between 0 and 0.5, got nan"),
        ({"explore": -0.1}, "explore must lie between 0 and 1, got -0.1"),
        ({"explore": 1.1}, "explore must lie between 0 and 1, got 1.1"),
        ({"rule": "best"}, "rule must be one of rank, paper, got 'best'"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainingPerformancePruner(**arguments)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("finals", "own", "stopped_at"),
    [
        ((), 5.0, None),  # the first trial has no rival
        (tuple(range(1, 41)), 0.5, None),  # the best of all
        (tuple(range(1, 41)), 40.5, 2),  # the worst of all, at the first look
        ((3.0,) * 40, 3.0, None),  # all alike: nothing tells that it will lose
    ],
)
def test_a_curve_of_the_usual_shape(
    direction: str, finals: tuple[float, ...], own: float, stopped_at: int | None
) -> None:
    study = study_of(*finals, direction=direction)
    sign = 1 if direction == "minimize" else -1
    assert run(study, [sign * value for value in falling(own)]) == stopped_at


@pytest.mark.parametrize(
    ("reports", "stopped_at"),
    [
        ([1.0, NAN, 0.5], 2),
        ([INF, 0.5], 1),  # a divergence needs no rivals
        ([1.0, 0.9, -INF], 3),  # a loss of minus infinity is no success
        ({5: 29.0, 3: 28.0}, 5),  # steps that fall: the latest step counts
        ({5: 0.2, 3: 99.0, 4: 99.0}, None),
        ({0: 50.0, 1: 0.1}, None),  # at step 0 nothing is decided
        ({40: 0.1, 80: 0.1}, None),  # beyond the budget
        ({40: 30.0}, 40),
    ],
)
def test_odd_reports(reports: Reports, stopped_at: int | None) -> None:
    assert run(study_of(*range(1, 31)), reports, value=0.1) == stopped_at


def test_a_repeated_step_keeps_its_first_report_and_its_decision() -> None:
    study = study_of(*range(1, 31))
    trial = study.ask()
    trial.report(0.1, 5)
    with pytest.warns(UserWarning, match="already"):
        trial.report(99.0, 5)
    assert not trial.should_prune()


def test_who_asks_twice_about_a_report_gets_the_same_answer() -> None:
    study = study_of(*range(1, 31))
    trial = study.ask()
    trial.report(99.0, 2)
    assert trial.should_prune()
    assert trial.should_prune()


def test_without_a_report_nothing_is_decided() -> None:
    study = study_of(1.0, 2.0)
    trial = study.ask()
    assert not trial.should_prune()
    assert Decision.of(study.trials[-1]) is None


def test_a_trial_is_judged_at_looks_only_and_a_look_is_made_up_for_when_it_was_missed() -> None:
    study = optuna.create_study(pruner=TrainingPerformancePruner(budget=1000))
    steps = []
    trial = study.ask()
    for step in (*range(1, 121), 400, *range(401, 1001)):  # the looks at 15 and 30 % fall into one
        trial.report(1 / step, step)
        trial.should_prune()
        decision = Decision.of(study.trials[0])
        steps += [decision.step] if decision and decision.step not in steps else []
    assert steps == [60, 100, 400, 450]


@pytest.mark.parametrize(("lead", "stopped"), [(20.0, False), (0.0, True)])
def test_a_bad_moment_is_forgiven_a_trial_that_stood_well(lead: float, stopped: bool) -> None:
    """Fifteenth of 31 at 10 %, it goes on if it led at 6 %, where the others stood `lead` higher."""
    study = optuna.create_study(pruner=TrainingPerformancePruner(budget=100))
    for final in range(2, 32):
        curve = {step: final + lead * max(0, 10 - step) / 4 for step in range(6, 101)}
        study.add_trial(create_trial(value=final, intermediate_values=curve))
    assert run(study, {6: 15.5, 10: 15.5}, value=15.5) == (10 if stopped else None)
    decision = decided(study)
    assert (decision.rank, decision.trials) == (15, 31)
    assert decision.standing == pytest.approx(15 if stopped else 4.7, abs=0.1)


def test_noise_on_the_reports_opens_the_gates() -> None:
    """None has completed, so that nothing else can tell how much a standing is worth."""
    gates = []
    for noise in (0.0, 0.4, 1.0):
        random, study = np.random.default_rng(0), study_of()
        for number in range(40):
            curve = {step: number / 40 + noise * random.normal() for step in range(1, 21)}
            study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values=curve))
        trial = study.ask()
        for step in range(1, 7):
            trial.report(0.5, step)
        trial.should_prune()
        decision = decided(study)
        gates.append(decision.gate)
    assert gates == sorted(gates)
    assert len(set(gates)) == 3


def test_a_correlation_falls_with_the_root_of_the_share_that_is_not_noise() -> None:
    """Reports leap to and fro by 20, so that one has the variance 20^2 / 1.5 about the line through its neighbours."""
    study = study_of()
    curves = [{step: number + 20.0 * (step % 2) for step in range(1, 7)} for number in range(40)]
    for curve in curves[:-1]:
        study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values=curve))
    trial = study.ask()
    for step, value in curves[-1].items():
        trial.report(value, step)
    trial.should_prune()
    decision = decided(study)
    share = float(reliability(*np.quantile(range(40), [LOWEST, MIDDLE]), 20**2 / 1.5, 6, 0.3))
    assert 0.5 < share < 0.7
    assert decision.correlation == pytest.approx(expected_correlation(0.3) * share**0.5)


@pytest.mark.parametrize(
    ("noise", "reports", "fraction", "share"),
    [
        (0.0, 5, 0.1, 1.0),
        (0.7, 5, 0.1, 0.8),  # of a variance of 1, an uncertainty of 0.7 / (0.7 * 5)
        (0.7, 50, 1.0, 0.98),
        (0.7, 10_000, 0.1, 1 - 1 / 6),  # denser reports than it was fitted to tell no more
        (99.0, 5, 0.1, 0.0),
    ],
)
def test_the_share_of_a_spread_that_is_not_noise(noise: float, reports: int, fraction: float, share: float) -> None:
    low, middle = NormalDist().inv_cdf(LOWEST), NormalDist().inv_cdf(MIDDLE)
    assert float(reliability(low, middle, noise, reports, fraction)) == pytest.approx(share, abs=1e-9)
    assert float(reliability(1.0, 1.0, noise, reports, fraction)) == 1.0  # trials that do not differ


def test_a_gate_narrows_along_the_run_and_opens_where_early_performance_says_nothing() -> None:
    gates: dict[str, list[int]] = {}
    for name, sign in (("informative", 1), ("contradicting", -1)):
        study = study_of()
        for number in range(60):
            study.add_trial(create_trial(value=number, intermediate_values=dict.fromkeys(range(1, 21), sign * number)))
        trial = study.ask()
        gates[name] = []
        for step in (2, 4, 10, 20):
            trial.report(-99.0, step)
            trial.should_prune()
            decision = decided(study)
            assert decision.gate is not None
            gates[name].append(decision.gate)
    assert gates["informative"][0] > 1.5 * gates["informative"][-1]
    assert gates["informative"][-1] < 10
    assert all(wide > narrow for wide, narrow in zip(gates["contradicting"], gates["informative"], strict=True))


def test_trials_stopped_earlier_count_as_worse() -> None:
    """Twenty were stopped at step 2; at step 10 the third of three is still third of twenty-three."""
    study = study_of(1.0, 2.0)
    for number in range(20):
        study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: 9.0 + number, 2: 9.0 + number}))
    trial = study.ask()
    trial.report(3.0, 10)
    trial.should_prune()
    decision = decided(study)
    assert (decision.rank, decision.trials) == (3, 23)


def test_failed_and_waiting_trials_take_no_part() -> None:
    study = study_of(1.0, 2.0)
    study.add_trial(create_trial(state=TrialState.FAIL, intermediate_values={1: 0.0, 10: 0.0}))
    study.enqueue_trial({})
    trial = study.ask()
    study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values={10: 2.5}))
    trial.report(3.0, 10)
    trial.should_prune()
    decision = decided(study, trial.number)
    assert (decision.rank, decision.trials) == (4, 4)


def test_the_budget_is_inferred_from_the_longest_completed_trial() -> None:
    study = study_of(budget=None)
    assert run(study, {100: 1.0, 200: 50.0}) is None
    assert decided(study, 0).reason == "no budget yet"
    run(study, {100: 0.5, 400: 0.4})
    trial = study.ask()
    trial.report(9.0, 100)
    trial.should_prune()
    assert decided(study).fraction == 0.25


def test_a_budget_that_no_trial_reaches_only_keeps_gates_wide() -> None:
    def stopped(budget: int) -> int:
        study = study_of(*np.linspace(1, 2, 30), budget=budget)
        return sum(run(study, falling(final)) is not None for final in np.linspace(1.01, 1.99, 12))

    assert 0 < stopped(10 * BUDGET) < stopped(BUDGET)


def test_explored_trials_are_never_stopped_whatever_they_report() -> None:
    study = study_of(*range(1, 31), explore=1.0)
    assert run(study, [99.0] * BUDGET) is None
    assert decided(study).reason == "explored"
    assert run(study, [NAN, 99.0]) is None


def test_the_explored_share_follows_from_number_and_seed() -> None:
    drawn = [
        [TrainingPerformancePruner(explore=0.2, seed=seed).is_explored(i) for i in range(2000)] for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 0.17 < np.mean(drawn[0]) < 0.23


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_every_decision_leaves_its_reason(direction: str) -> None:
    study = study_of(*np.linspace(1, 2, 40), direction=direction)
    sign = 1 if direction == "minimize" else -1
    run(study, [sign * value for value in falling(1.9)])
    decision = decided(study)
    assert decision.prune
    assert decision.reason == "rank"
    assert decision.rank > decision.gate  # type: ignore[operator]
    assert decision.predicted == pytest.approx(sign * 1.9, rel=0.02)
    assert decision.low <= decision.predicted <= decision.high  # type: ignore[operator]
    assert 0 < decision.correlation < 1  # type: ignore[operator]
    assert json.loads(json.dumps(study.trials[-1].system_attrs))


def test_the_paper_stops_at_a_fifth_what_it_predicts_to_lose() -> None:
    study = study_of(*np.linspace(1, 2, 10), rule="paper")
    assert run(study, falling(1.5)) == 4
    assert run(study, falling(0.9)) is None
    decision = decided(study, 10)
    assert decision.predicted == pytest.approx(1.5)
    assert (decision.reason, decision.trials) == ("paper", 11)
    few = study_of(1.0, 2.0, rule="paper")  # too few to fit a line to
    assert run(few, falling(9.0)[:4]) is None
    decision = decided(few)
    assert (decision.reason, decision.trials) == ("too few trials", 3)


def test_the_measured_correlation_is_granted_one_standard_error_and_weighs_with_its_pairs() -> None:
    measured, pairs, fraction = 0.5, 12, 0.3
    expected = expected_correlation(fraction)
    granted = math.tanh(math.atanh(measured) + 1 / math.sqrt(pairs - 3))
    weight = pairs / (pairs + 10)
    found = TrainingPerformancePruner._correlation(fraction, measured, pairs)
    assert found == pytest.approx((1 - weight) * expected + weight * granted)
    assert TrainingPerformancePruner._correlation(fraction, 0.999, pairs) == expected, "never raised"
    assert TrainingPerformancePruner._correlation(fraction, None, 0) == expected
    assert TrainingPerformancePruner._correlation(fraction, -0.999, 10_000) == 0


def test_the_best_so_far_goes_on_and_so_does_who_stands_at_the_gate() -> None:
    """Whatever the gate is: here it is made to hold exactly so many."""
    from unittest.mock import patch

    for gate, stopped in ((0, [False, True, True]), (2, [False, False, True])):
        with patch("chemscale_bench.tuning.pruner.let_through", lambda *_, gate=gate: gate):
            for rank, expected in enumerate(stopped):
                study = study_of(*(1.0 + 0.1 * n for n in range(6)))
                value = 0.95 + 0.1 * rank
                trial, decision = study.ask(), None
                for step, loss in enumerate(falling(value)[:4], 1):
                    trial.report(loss, step)
                    trial.should_prune()
                decision = decided(study, trial.number)
                assert decision.rank == rank + 1
                assert decision.prune is expected, (gate, rank)


def test_miss_is_handed_to_the_gate_as_it_is() -> None:
    from unittest.mock import patch

    seen = []

    def gate(correlation: float, trials: int, miss: float) -> int:
        seen.append(miss)
        return 3

    with patch("chemscale_bench.tuning.pruner.let_through", gate):
        study = study_of(1.0, 1.1, 1.2, miss=0.123)
        trial = study.ask()
        trial.report(1.5, 2)
        trial.should_prune()
    assert seen == [0.123]

"""A study's trials as they stand at one step, against tables by hand."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from chemscale_bench.tuning.curves import CurveTable, Field

INF, NAN = math.inf, math.nan


def trial(number: int, reports: dict[int, float], state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    value = list(reports.values())[-1] if state == TrialState.COMPLETE else None
    made = create_trial(state=state, value=value, intermediate_values=reports)
    made.number = number
    return made


TRIALS = [
    trial(0, {0: 1.0, 5: 8.0, 10: 7.0, 20: 6.0}),
    trial(1, {0: 1.0, 5: 9.0, 10: 9.5}, TrialState.PRUNED),
    trial(2, {10: 5.0, 15: INF}, TrialState.RUNNING),
    trial(3, {}, TrialState.WAITING),
    trial(4, {5: 3.0, 10: 2.0}, TrialState.FAIL),
    trial(5, {0: 1.0, 5: 7.0, 10: 8.0, 15: 4.0}, TrialState.RUNNING),
]


def at(own: int, **arguments: Any) -> Field:
    return CurveTable().at(TRIALS, TRIALS[own], **{"sign": 1.0, "budget": None} | arguments)


def test_where_trials_stand_at_the_step_of_the_asking_one() -> None:
    field = at(5)  # step 15
    assert field.own == 5
    assert field.level.tolist() == [7.0, 9.0, INF, INF, INF, 4.0]
    assert field.before.tolist()[:2] == [8.0, 9.0], "at step 7"
    assert field.before[5] == 7.0
    assert field.sum.tolist() == [16.0, 19.5, INF, INF, INF, 20.0]
    assert field.final[0] == 6
    assert np.isnan(field.final[1:]).all()
    assert field.reached.tolist() == [True, False, True, False, False, True]
    assert field.stopped.tolist() == [False, True, False, False, False, False]
    assert field.budget == 20


def test_at_the_step_where_a_trial_was_stopped_it_has_reached_it() -> None:
    field = CurveTable().at(TRIALS, TRIALS[1], 1.0, 99)  # step 10
    assert field.reached.tolist() == [True, True, True, False, False, True]
    assert not field.stopped.any()
    assert field.level.tolist() == [7.0, 9.0, 5.0, INF, INF, 7.0]
    assert field.before.tolist() == [8.0, 9.0, INF, INF, INF, 7.0]
    assert field.budget == 99


def test_a_budget_is_the_longest_completed_trial_and_none_without() -> None:
    running = [trial(0, {1: 1.0, 50: 0.5}, TrialState.RUNNING)]
    assert CurveTable().at(running, running[0], 1.0, None).budget == 0
    assert at(0).budget == 20


def test_what_is_maximised_is_turned() -> None:
    field = at(5, sign=-1.0)
    assert field.level[0] == -8.0
    assert field.final[0] == -6.0
    assert field.sum[0] == -16.0


def test_the_noise_is_the_median_of_those_that_got_as_far() -> None:
    zigzag = [trial(n, {0: 9.0, 1: 1.0, 2: 1.0 + n, 3: 1.0}) for n in range(4)]  # off the line by n: n^2 / 1.5
    stopped = trial(4, {0: 9.0, 1: 1.0, 2: 99.0}, TrialState.PRUNED)
    field = CurveTable().at([*zigzag, stopped], zigzag[0], 1.0, None)
    assert field.noise == pytest.approx((1 + 4) / 2 / 1.5)
    short = [trial(0, {1: 1.0, 2: 0.9}, TrialState.RUNNING)]
    assert CurveTable().at(short, short[0], 1.0, None).noise == 0


def test_one_table_serves_a_study_that_grows_and_another_one() -> None:
    table = CurveTable()
    for number in range(1, 40):
        trials = [trial(n, {step: n + 1 / step for step in range(1, number + 1)}) for n in range(number)]
        field = table.at(trials, trials[-1], 1.0, None)
        assert field.level == pytest.approx([n + (1 / number if number > 1 else 1) for n in range(number)])
        assert field.reached.all()
    other = table.at(TRIALS, TRIALS[5], 1.0, None)
    assert other.level.tolist() == at(5).level.tolist()
    assert table.at(TRIALS, TRIALS[5], -1.0, None).level.tolist() == at(5, sign=-1.0).level.tolist()
    again = pickle.loads(pickle.dumps(table))
    assert again.trials == []
    assert again.at(TRIALS, TRIALS[5], 1.0, None).level.tolist() == at(5).level.tolist()


def test_a_running_trial_is_read_again_and_a_finished_one_not() -> None:
    table, first = CurveTable(), trial(0, {1: 3.0})
    second = trial(1, {1: 2.0}, TrialState.RUNNING)
    assert table.at([first, second], second, 1.0, None).level.tolist() == [3.0, 2.0]
    first.intermediate_values[1] = 99.0  # nothing that a storage would do
    second = trial(1, {1: 2.0, 2: 1.0}, TrialState.RUNNING)
    assert table.at([first, second], second, 1.0, None).level.tolist() == [3.0, 1.0]

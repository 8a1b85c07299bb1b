"""Time of one decision: our pruner against Optuna's, in one run.

Run with `python -m pytest benchmarks/speed/test_pruner.py -s`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from chemscale_bench.speed.measurements import Row
from chemscale_bench.tuning import TrainingPerformancePruner
from chemscale_bench.tuning.gates import LOOKS

TRIALS, REPORTS, ROUNDS = 1000, 100, 5
OTHERS = {
    "median": optuna.pruners.MedianPruner(),
    "successive halving": optuna.pruners.SuccessiveHalvingPruner(),
    "hyperband": optuna.pruners.HyperbandPruner(1, REPORTS, 3),
    "wilcoxon": optuna.pruners.WilcoxonPruner(),
}


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    """1,000 completed trials of 100 reports each, in memory."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="speed")
    random = np.random.default_rng(0)
    steps = np.arange(1, REPORTS + 1)
    for final in random.uniform(1, 2, TRIALS):
        curve = final + 1 / steps + random.normal(0, 0.02, REPORTS)
        study.add_trial(create_trial(value=curve[-1], intermediate_values=dict(enumerate(curve.tolist(), 1))))
    return study


def decisions_ms(study: optuna.Study, pruner: optuna.pruners.BasePruner) -> list[float]:
    """Time of every decision about one more trial, which is better than most, in ms."""
    study.pruner = pruner
    trial = study.ask()
    times = []
    for step in range(1, REPORTS + 1):
        trial.report(1.05 + 1 / step, step)
        frozen = study.get_trials(deepcopy=False)[trial.number]
        begin = time.perf_counter()
        pruner.prune(study, frozen)
        times.append(1000 * (time.perf_counter() - begin))
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return times


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_one_decision_among_a_thousand_trials(study: optuna.Study, record_row: Callable[..., Row]) -> None:
    """Under 1 ms once the study has been read, which takes a process one long first decision."""
    ours = TrainingPerformancePruner(REPORTS)
    record_row(f"first decision of a process, {TRIALS:,} trials", "ms", max(decisions_ms(study, ours)))
    # Only at its looks does it compute anything.
    rounds = [decisions_ms(study, ours) for _ in range(ROUNDS)]
    times = [median(decisions[round(look * REPORTS) - 1] for look in LOOKS) for decisions in rounds]
    what = f"one decision among {TRIALS:,} trials of {REPORTS} reports"
    for name, pruner in OTHERS.items():
        theirs = [median(decisions_ms(study, pruner)) for _ in range(ROUNDS)]
        record_row(f"{what}, {name}", "ms", times, "Optuna", theirs)
    assert median(times) < 1

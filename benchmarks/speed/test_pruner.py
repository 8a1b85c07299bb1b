"""Time of one decision: our pruner against Optuna's, in one run.

Run with `python -m pytest benchmarks/speed/test_pruner.py -s`.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from chemscale_bench.tuning import TrainingPerformancePruner
from chemscale_bench.tuning.gates import LOOKS

TRIALS, REPORTS = 1000, 100
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
def test_one_decision_among_a_thousand_trials(benchmark: Any, study: optuna.Study) -> None:
    """Under 1 ms once the study has been read, which takes a process one long first decision."""
    ours = TrainingPerformancePruner(REPORTS)
    first = max(decisions_ms(study, ours))
    times = benchmark.pedantic(lambda: decisions_ms(study, ours), rounds=5)
    typical = median(times[round(look * REPORTS) - 1] for look in LOOKS)  # the other reports take next to nothing
    print(f"\n{TRIALS:,} trials of {REPORTS} reports: ours {typical:.2f} ms a look; the first of all {first:.0f} ms")
    for name, pruner in OTHERS.items():
        theirs = median(decisions_ms(study, pruner))
        print(f"  Optuna's {name}: {theirs:.2f} ms, ours over theirs {typical / theirs:.1f}")
    assert typical < 1

"""One study in several hands: storages, threads, and processes that have seen different things before."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from chemscale_bench.tuning import Decision, TrainingPerformancePruner
from tuning.conftest import falling, run, study_of


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_any_storage_and_four_workers(storage: Callable[[], BaseStorage], direction: str) -> None:
    """The best survives, losers are stopped, and a study opened anew goes on with the same decisions."""
    sign = 1 if direction == "minimize" else -1

    def objective(trial: optuna.Trial) -> float:
        final = trial.suggest_float("final", 1, 2)
        for step, value in enumerate(falling(final, 4), 1):
            trial.report(sign * value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return sign * final

    for _ in range(2):
        study = optuna.create_study(
            storage=storage(),
            study_name="study",
            load_if_exists=True,
            direction=direction,
            sampler=optuna.samplers.RandomSampler(seed=1),
            pruner=TrainingPerformancePruner(),
        )
        study.optimize(objective, n_trials=6, n_jobs=4)
    states = [trial.state for trial in study.trials]
    assert len(states) == 12
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    best = min(study.trials, key=lambda trial: trial.params["final"])
    assert best.state == TrialState.COMPLETE
    assert all(Decision.of(trial).prune for trial in study.trials if trial.state == TrialState.PRUNED)  # type: ignore[union-attr]


def test_decisions_do_not_depend_on_what_a_process_has_seen_before() -> None:
    """One pruner used for two studies in turn, a fresh one, and a pickled one agree at every step."""
    random = np.random.default_rng(0)
    curves = random.uniform(1, 2, 25)[:, None] + 1 / np.arange(1, 21) + random.normal(0, 0.05, (25, 20))
    shared = TrainingPerformancePruner(budget=20)
    first, second = optuna.create_study(pruner=shared), optuna.create_study(pruner=shared, direction="maximize")
    fresh = optuna.create_study(pruner=shared)
    for curve in curves:
        fresh.pruner = pickle.loads(pickle.dumps(TrainingPerformancePruner(budget=20)))
        assert run(first, curve.tolist()) == run(second, (-curve).tolist()) == run(fresh, curve.tolist())
    assert [Decision.of(trial) for trial in first.trials] == [Decision.of(trial) for trial in fresh.trials]


def test_a_study_can_be_judged_by_a_trial_of_another_process() -> None:
    """A trial that Optuna reads from a storage may be newer than the list it comes with."""
    study = study_of(*range(1, 31))
    study.ask()
    newer = create_trial(state=TrialState.RUNNING, intermediate_values={2: 99.0})
    newer.number = 30
    assert study.pruner.decide(study, newer, 2).prune  # type: ignore[attr-defined]

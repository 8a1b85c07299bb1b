"""What a trial of a study reports, and where, as `tune` drives it."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from chemscale_bench.training.schedules import SpentRate
from chemscale_bench.tuning.judge import Judge
from chemscale_bench.tuning.named import PRUNERS
from chemscale_bench.tuning.study import CLOCK, REPORTS

BUDGET = 100_000


def train(study: optuna.Study, quality: float, warmup: float, decay: float) -> str | None:
    """A trial whose loss falls with the learning rate it has spent, reported 200 times; the reason if it is stopped."""
    trial = study.ask()
    judge, spent = Judge(trial, BUDGET, warmup, decay), SpentRate(BUDGET, round(warmup * BUDGET), decay)
    loss = quality
    for position in range(500, BUDGET + 1, 500):
        loss = quality + 1 - float(spent.at(position))
        if verdict := judge(position, {"train/loss_nats_per_token": loss, "train/learning_rate": 1.0}):
            study.tell(trial, state=TrialState.PRUNED)
            return verdict
    study.tell(trial, loss)
    return None


@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 0.1), (0.3, 0.5), (1.0, 0.6)])
def test_steps_are_thousandths_of_the_learning_rate_spent(warmup: float, decay: float) -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    train(study, 1.0, warmup, decay)
    reports = study.trials[0].intermediate_values
    assert max(reports) == CLOCK
    assert REPORTS // 2 < len(reports) <= REPORTS
    for step, value in list(reports.items())[2:]:  # a report is the mean since the one before
        assert value == pytest.approx(2 - step / CLOCK, abs=0.05)


def test_a_long_warm_up_does_not_cost_the_best_trial_its_place() -> None:
    study = optuna.create_study(pruner=PRUNERS["performance"](CLOCK, 0))
    for number in range(20):
        train(study, 1.04 - 0.002 * number, warmup=0.0, decay=0.1)
    assert train(study, 0.9, warmup=0.6, decay=0.5) is None
    assert study.best_trial.number == 20
    assert "rank" in str(train(study, 1.5, warmup=0.6, decay=0.5))

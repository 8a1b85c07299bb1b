"""What a trial of a study reports, and where, as `tune` drives it."""

from __future__ import annotations

import re

import optuna
import pytest
from optuna.trial import TrialState

from chemscale_bench.training.schedules import ForwardArea
from chemscale_bench.tuning.decision import Decision
from chemscale_bench.tuning.judge import Judge, verdict
from chemscale_bench.tuning.named import PRUNERS
from chemscale_bench.tuning.study import REPORTS

BUDGET = 100_000


def train(study: optuna.Study, quality: float, warmup: float, decay: float) -> str | None:
    """A trial whose loss falls with the area under its schedule, reported 200 times; the reason if it is stopped."""
    trial = study.ask()
    judge, schedule = Judge(trial, [BUDGET], warmup, decay), ForwardArea(warmup, decay)
    loss = quality
    for position in range(500, BUDGET + 1, 500):
        loss = quality + 1 - float(schedule.at(position / BUDGET))
        if verdict := judge(position, {"train/loss_nats_per_token": loss, "train/learning_rate": 1.0}):
            study.tell(trial, state=TrialState.PRUNED)
            return verdict
    study.tell(trial, loss)
    return None


def test_steps_are_parts_of_the_area_under_the_schedule_and_the_same_for_all() -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    for warmup, decay in [(0.0, 0.1), (0.3, 0.5), (1.0, 0.6)]:
        train(study, 1.0, warmup, decay)
    plain, usual, warming = (trial.intermediate_values for trial in study.trials)
    for reports in (plain, usual, warming):
        assert max(reports) == REPORTS
        for step, value in list(reports.items())[2:]:  # a report is the mean since the one before
            assert value == pytest.approx(2 - step / REPORTS, abs=0.05)
    assert len(set(plain) & set(usual) & set(warming)) > 0.8 * REPORTS


def test_a_long_warm_up_does_not_cost_the_best_trial_its_place() -> None:
    study = optuna.create_study(pruner=PRUNERS["performance"](REPORTS, 0))
    for number in range(20):
        train(study, 1.04 - 0.002 * number, warmup=0.0, decay=0.1)
    assert train(study, 0.9, warmup=0.6, decay=0.5) is None
    assert study.best_trial.number == 20
    stopped = str(train(study, 1.5, warmup=0.6, decay=0.5))
    said = re.fullmatch(
        r"stopped at [\d,]+ of 100,000: rank 22 of the 22 that came this far; only the best (\d+) go on; "
        r"predicted to end at (\S+) \[(\S+), (\S+)\]",
        stopped,
    )
    assert said, stopped
    gate, value, low, high = map(float, said.groups())
    assert gate < 22
    assert low < value < high
    assert value > 1.0


@pytest.mark.parametrize(
    ("standing", "gate", "said"),
    [
        (2.8, 2, "rank 3 of the 4 that came this far, 2.8 averaged with its earlier ranks; only the best 2 go on"),
        (3.04, 2, "rank 3 of the 4 that came this far; only the best 2 go on"),
        (3.0, 1, "rank 3 of the 4 that came this far; only the best goes on"),
        (None, None, "rank 3 of the 4 that came this far"),
    ],
)
def test_a_verdict_says_by_what_and_against_whom(standing: float | None, gate: int | None, said: str) -> None:
    study = optuna.create_study()
    trial = study.ask()
    decision = Decision(True, "rank", 10, rank=3, standing=standing, gate=gate, trials=4)
    decision.keep(study, study.trials[0])
    assert verdict(trial) == said


class Always(optuna.pruners.BasePruner):
    """Stops whatever asks."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def test_a_report_is_the_mean_since_the_last_one() -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    trial = study.ask()
    judge = Judge(trial, [BUDGET], 0.0, 0.0)
    for position, loss in ((500, 4.0), (1000, 2.0), (1999, 3.0), (2000, 7.0)):
        judge(position, {"train/loss_nats_per_token": loss})
    assert study.trials[0].intermediate_values == {1: 4.0}
    for position, loss in ((3000, 1.0), (4000, 5.0)):
        judge(position, {"train/loss_nats_per_token": loss})
    assert study.trials[0].intermediate_values == {1: 4.0, 2: 3.0}


def test_a_trial_that_has_all_but_ended_is_not_stopped() -> None:
    study = optuna.create_study(pruner=Always())
    judge = Judge(study.ask(), [BUDGET], 0.0, 0.0)
    assert judge(round(0.96 * BUDGET), {"train/loss_nats_per_token": 1.0})
    assert judge(round(0.98 * BUDGET), {"train/loss_nats_per_token": 1.0}) is None
    assert judge(BUDGET, {"train/loss_nats_per_token": 1.0}) is None


def test_pruners_of_optuna_leave_no_reason() -> None:
    study = optuna.create_study(pruner=Always())
    judge = Judge(study.ask(), [BUDGET], 0.0, 0.0)
    assert judge(50_000, {"train/loss_nats_per_token": 1.0}) == "stopped at 50,000 of 100,000: the pruner's decision"


@pytest.mark.parametrize("decay", [0.2, 0.6])  # that to the last budget begins behind the smaller one, or before
def test_decays_to_smaller_budgets_are_no_part_of_the_curve(decay: float) -> None:
    study, smaller = optuna.create_study(pruner=optuna.pruners.NopPruner()), 60_000
    judge, branch, last = Judge(study.ask(), [smaller, BUDGET], 0.0, decay), int(smaller * (1 - decay)), 0
    for stop, kind, loss in [
        (branch, "train", 2.0), (smaller, "decay", 1.0), (int(BUDGET * (1 - decay)), "train", 2.0),
        (BUDGET, "decay", 1.5),
    ]:  # fmt: skip
        begin = branch if (kind, loss) == ("train", 2.0) and last == smaller else last
        for position in range(begin + 500, stop + 1, 500):
            judge(position, {f"{kind}/loss_nats_per_token": loss})
        last = stop
    reports = study.trials[0].intermediate_values
    assert set(reports.values()) == {2.0, 1.5}
    assert max(reports) == REPORTS
    assert len(reports) == REPORTS

"""What the pruners that have a name do with one study: twenty trials that stay at their levels, 1 to 20."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import create_trial

from chemscale_bench.errors import UserError
from chemscale_bench.tuning.named import PRUNERS, check_pruners
from chemscale_bench.tuning.pruner import TrainingPerformancePruner
from tuning.conftest import run

BUDGET = 100


def stopped_at(name: str, own: float, rises: float = 0.0) -> int | None:
    """The step at which a last trial is stopped; the others came from the worst to the best, so that all finished."""
    study = optuna.create_study(pruner=PRUNERS[name](BUDGET, 0), study_name="s")
    for level in map(float, range(20, 0, -1)):
        if "halving" in name or name == "hyperband":  # they keep what they decided in the trials
            assert run(study, [level] * BUDGET) is None or name == "hyperband"
        else:
            reports = dict.fromkeys(range(1, BUDGET + 1), level)
            study.add_trial(create_trial(value=level, intermediate_values=reports))
    return run(study, [own + rises * step for step in range(BUDGET)])


@pytest.mark.parametrize(
    ("name", "goes_on", "stops", "step"),
    [
        ("median", 10.4, 10.6, 1),
        ("median_20", 10.4, 10.6, 20),
        ("percentile_25", 5.7, 5.8, 10),  # a quarter of the way from 1 to 20
        ("successive_halving", 4.5, 5.5, 1),  # of 21 the best fourth is five, at every rung
        ("successive_halving_10", 6.5, 7.5, 10),  # the best third is seven
    ],
)
def test_where_a_pruner_stops(name: str, goes_on: float, stops: float, step: int) -> None:
    assert stopped_at(name, goes_on) is None
    assert stopped_at(name, stops) == step


def test_a_patient_one_waits_for_three_reports_without_a_better_one() -> None:
    assert stopped_at("patient_median", 30.0) is None, "it gets no worse"
    assert stopped_at("patient_median", 30.0, rises=0.1) == 5


def test_hyperband_halves_at_a_tenth_and_thrice_that() -> None:
    stops = [stopped_at("hyperband", own) for own in (10.5, 99.0)]
    assert set(stops) <= {None, 10, 30, 90}
    assert stops[-1] is not None


@pytest.mark.parametrize(
    ("name", "miss", "rule"),
    [("performance", 0.05, "rank"), ("performance_careful", 0.01, "rank"), ("performance_bold", 0.25, "rank"),
     ("paper", 0.05, "paper")],
)  # fmt: skip
def test_ours_differ_in_what_they_may_miss(name: str, miss: float, rule: str) -> None:
    made = PRUNERS[name](BUDGET, 7)
    assert isinstance(made, TrainingPerformancePruner)
    assert (made._budget, made._miss, made._rule, made._seed, made._explore) == (BUDGET, miss, rule, 7, 0)


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    check_pruners(list(PRUNERS))
    with pytest.raises(UserError, match=r"got 'median_2'; did you mean median_20\?"):
        check_pruners(["none", "median_2"])
    with pytest.raises(UserError, match="got 'xyz'; there are performance, "):
        check_pruners(["xyz"])

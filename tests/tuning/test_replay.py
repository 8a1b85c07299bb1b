import math
import time

import numpy as np
import optuna
import pytest

from chemscale_bench.tuning.named import PRUNERS
from chemscale_bench.tuning.recorded import Curves
from chemscale_bench.tuning.replay import Outcome, _grade, grade, prediction_table, predictions, replay, table


def made(levels: list[float], steps: int = 20) -> Curves:
    values = np.array(levels)[:, None] * (1 + 1 / np.arange(1, steps + 1))
    return Curves("made", values, np.tile(np.arange(1, steps + 1) / steps, (len(levels), 1)))


class After(optuna.pruners.BasePruner):
    """Stops every trial but the first at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number > 0 and (trial.last_step or 0) >= self.step


def test_savings_are_those_of_the_budget_and_regret_of_the_best() -> None:
    outcome = replay(made([2.0, 1.0, 3.0, 4.0]), After(5))
    assert outcome.saved == pytest.approx(1 - (20 + 3 * 5) / 80)
    assert not outcome.kept
    assert outcome.regret == pytest.approx(1.0)
    assert replay(made([1.0, 2.0]), After(5)).kept
    late = made([1.0, 2.0])._replace(spent=np.tile(np.linspace(0.5, 1, 20), (2, 1)))
    assert replay(late, After(1)).saved == pytest.approx(0.25)
    started = time.perf_counter()
    nothing = replay(made([2.0, 1.0, 3.0]), optuna.pruners.NopPruner())
    assert 0 < 60 * nothing.seconds_per_decision < time.perf_counter() - started
    assert (nothing.saved, nothing.kept, nothing.regret) == (0, True, 0)


@pytest.mark.parametrize(("finals", "regret"), [([-2.0, -4.0], 0.5), ([3.0, 0.0], 3.0), ([3.0, 2.0], 0.5)])
def test_regret_is_a_share_of_the_size_of_the_best(finals: list[float], regret: float) -> None:
    curves = Curves("made", np.tile(np.array(finals)[:, None], 6), np.tile(np.arange(1, 7) / 6, (2, 1)))
    assert replay(curves, After(3)).regret == pytest.approx(regret)


def test_a_study_of_which_nothing_is_left_has_no_end_of_regret() -> None:
    class Everything(optuna.pruners.BasePruner):
        """Stops whatever asks."""

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    outcome = replay(made([2.0, 1.0]), Everything())
    assert (outcome.saved, outcome.kept, outcome.regret) == (pytest.approx(0.95), False, math.inf)


def test_a_grade_is_the_mean_over_studies_in_percent_with_its_interval() -> None:
    outcomes = [
        Outcome(0.5, True, 0.0, 0.001), Outcome(0.7, False, 0.1, 0.003), Outcome(0.6, False, math.inf, 0.002),
    ]  # fmt: skip
    one = _grade("c", "p", outcomes)
    assert (one.studies, one.saved_percent, one.regret_percent) == (3, pytest.approx(60), pytest.approx(5))
    assert one.milliseconds_per_decision == pytest.approx(2)
    assert table([one]).splitlines()[2].startswith("| c | p | 60.0 [5")
    many = _grade("c", "p", 50 * [Outcome(0.4, True, 0, 1), Outcome(0.6, False, 0, 1)])
    half = 1.645 / 100**0.5  # standard deviations of the mean, of 90 %
    assert (many.kept_percent, many.kept_low, many.kept_high) == pytest.approx(
        (50, 50 - 50 * half, 50 + 50 * half), 0.05
    )
    assert (many.saved_low, many.saved_high) == pytest.approx((50 - 10 * half, 50 + 10 * half), rel=0.01)


def test_a_fifth_of_twenty_reports_are_four() -> None:
    curves = made(list(np.geomspace(1, 5, 40)))
    curves.values[:, :3] = 9.0  # the fourth is the first that tells anything
    told = {fraction: len(each.final) for fraction, each in predictions(curves).items()}
    assert told == {0.05: 0, 0.1: 0, 0.2: 40, 0.5: 40}


def test_diverged_trials_foretell_nothing() -> None:
    curves = made(list(np.geomspace(1, 5, 120)))
    curves.values[:15, 15:] = curves.values[15:30, 19:] = np.nan
    found = predictions(curves)
    assert {len(each.final) for each in found.values()} <= set(range(70, 91))
    assert all(np.isfinite(each.final).all() for each in found.values())


def test_a_divergence_reaches_the_pruner_and_ends_as_the_worst() -> None:
    curves = made([2.0, 1.0, 3.0])
    curves.values[1, 10:] = np.nan
    outcome = replay(curves, optuna.pruners.NopPruner())
    assert outcome.kept  # the best of those that did not diverge
    assert replay(curves, PRUNERS["performance"](20, 0)).kept


def test_every_pruner_sees_the_same_studies_and_none_saves_nothing() -> None:
    curves = made(list(np.random.default_rng(0).uniform(1, 5, 60)))
    graded = {one.pruner: one for one in grade(curves, list(PRUNERS), trials=30, studies=4)}
    assert set(graded) == set(PRUNERS)
    assert (graded["none"].saved_percent, graded["none"].kept_percent) == (0, 100)
    ours = graded["performance"]
    assert ours.kept_percent == 100  # these curves never cross
    assert ours.saved_percent > 50
    assert ours.saved_low <= ours.saved_percent <= ours.saved_high
    again = grade(curves, ["performance"], trials=30, studies=4)[0]
    assert again[:10] == ours[:10]
    lines = table(list(graded.values())).splitlines()
    assert len(lines) == 2 + len(PRUNERS)


def test_curves_that_never_cross_are_foretold() -> None:
    found = predictions(made(list(np.geomspace(1, 5, 40))))
    assert list(found) == [0.05, 0.1, 0.2, 0.5]
    assert found[0.2].spearman > 0.99
    assert found[0.2].r2 > 0.99
    assert "| 20% | 40 |" in prediction_table("made", found)

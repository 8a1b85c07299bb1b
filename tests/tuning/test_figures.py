import math

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from chemscale_bench.tuning.figures import foretell, study_figures


def trial(level: float, state: TrialState = TrialState.COMPLETE, steps: int = 10) -> FrozenTrial:
    values = {step: level * (1 + 1 / step) for step in range(1, steps + 1)}
    attributes = {"flops": float(steps), "flops_in_full": 10.0}
    return create_trial(
        state=state, value=level if state == TrialState.COMPLETE else None, intermediate_values=values,
        user_attrs=attributes, params={"x": level}, distributions={"x": FloatDistribution(0, 100)},
    )  # fmt: skip


def test_a_law_between_early_and_final_values_is_foretold_exactly() -> None:
    foretold = foretell([trial(level) for level in np.geomspace(1, 5, 12)], budget=10)
    assert len(foretold.final) == 12
    assert foretold.spearman > 0.9
    inner = np.argsort(foretold.final)[1:-1]  # nothing is told beyond the other trials
    assert foretold.predicted[inner] == pytest.approx(foretold.final[inner], rel=1e-6)


def test_trials_without_a_final_value_or_early_report_are_left_out() -> None:
    late = create_trial(state=TrialState.COMPLETE, value=1.0, intermediate_values={9: 1.0})
    trials = [trial(level) for level in (1, 2, 3, 4, 5, 6, 7)]
    assert len(foretell([*trials, late, trial(3, TrialState.PRUNED, 4)], budget=10).final) == 7
    assert math.isnan(foretell(trials[:2], budget=10).r2)


def test_the_figures_hold_every_trial_every_stop_and_the_share_saved() -> None:
    trials = [trial(level) for level in (3, 2, 1, 4, 5, 6, 7)]
    trials += [trial(8, TrialState.PRUNED, 3), trial(9, TrialState.PRUNED, 2), trial(9, TrialState.FAIL, 2)]
    drawn = study_figures(trials, 10, "loss")
    curves = drawn["curves"]
    assert len(curves.data) == 9 + 1
    assert curves.data[-1].x == (3, 2)
    assert drawn["compute_saved"].data[0].y[-1] == pytest.approx(100 * (1 - 75 / 90))
    assert len(drawn["predicted_against_final"].data[-1].x) == 7
    assert all(study_figures([], 10))

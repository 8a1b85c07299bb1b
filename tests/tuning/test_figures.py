import math
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from chemscale_bench.tuning.figures import (
    BEST,
    FINISHED,
    STOPPED,
    Predictions,
    foretell,
    pruners_compared,
    study_figures,
)


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
    for number, each in enumerate(trials):
        each.number = number
    drawn = study_figures(trials, 10, "loss")
    curves = drawn["curves"]
    assert len(curves.data) == 9 + 1
    assert (curves.data[-1].x, curves.data[-1].y) == ((3, 2), (8 * 4 / 3, 9 * 1.5))
    assert curves.data[-1].text == ("trial 7", "trial 8")
    lines = [(trace.name, trace.line.color, trace.line.width) for trace in curves.data[1:9]]
    assert lines[1] == ("trial 2", BEST, 3)
    assert [line[1:] for line in lines if line[0] != "trial 2"] == [(FINISHED, 1)] * 5 + [(STOPPED, 1)] * 2
    assert curves.data[0].x == tuple(range(1, 11))
    assert "10 trials, 2 stopped" in curves.layout.title.text
    assert (curves.layout.xaxis.type, curves.layout.yaxis.type) == ("log", "log")
    assert drawn["compute_saved"].data[0].y[-1] == pytest.approx(100 * (1 - 75 / 90))
    assert len(drawn["predicted_against_final"].data[-1].x) == 7
    assert all(study_figures([], 10))
    assert list(drawn["compute_saved"].data[0].x) == list(range(9)), "a failed one is no part of it"
    assert list(drawn["compute_saved"].data[0].y)[6:8] == [0, pytest.approx(100 * (1 - 73 / 80))]
    assert "16.7 %" in drawn["compute_saved"].layout.title.text
    assert drawn["compute_saved"].layout.yaxis.type == "linear"
    axes = drawn["predicted_against_final"].layout
    assert (axes.xaxis.type, axes.yaxis.type) == ("log", "log")
    exact = drawn["predicted_against_final"].data[0]
    assert exact.x == exact.y
    assert exact.x[0] == 1
    assert exact.x[1] == pytest.approx(7, rel=0.1)


def test_what_is_foretold_is_told_by_r2_and_spearman() -> None:
    """Squares of residuals 0 + 0 + 1 of those about the mean 1 + 0 + 1."""
    found = Predictions(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert (found.r2, found.spearman) == (pytest.approx(0.5), pytest.approx(1))
    assert Predictions(found.predicted[::-1], found.final).spearman == pytest.approx(-1)
    for predicted, final, told in (
        ([1.0, 2.0], [1.0, 2.0], (0, 0)),
        ([1, 2, 3], [5.0] * 3, (0, 0)),
        ([5.0] * 3, [1, 2, 3], (1, 0)),
    ):
        few = Predictions(np.array(predicted), np.array(final))
        assert (math.isfinite(few.r2), math.isfinite(few.spearman)) == tuple(map(bool, told))


def test_only_the_first_fifth_foretells() -> None:
    def foretold_at(step: int) -> int:
        trials = [
            create_trial(state=TrialState.COMPLETE, value=level, intermediate_values={step: level, 100: level})
            for level in range(1, 9)
        ]
        return len(foretell(trials, budget=100).final)

    assert (foretold_at(20), foretold_at(21)) == (8, 0)


def test_pruners_are_points_with_their_intervals_ours_in_orange() -> None:
    graded = [
        SimpleNamespace(pruner=name, saved_percent=60.0, saved_low=55.0, saved_high=70.0, kept_percent=90.0,
                        kept_low=80.0, kept_high=91.0) for name in ("performance_bold", "median")
    ]  # fmt: skip
    ours, theirs = pruners_compared(graded).data
    assert (ours.marker.color, theirs.marker.color) == (BEST, FINISHED)
    assert (ours.x, ours.y, ours.text) == ((60,), (90,), ("performance_bold",))
    assert (ours.error_x.array, ours.error_x.arrayminus) == ((10,), (5,))
    assert (ours.error_y.array, ours.error_y.arrayminus) == ((1,), (10,))
    assert not ours.error_x.symmetric

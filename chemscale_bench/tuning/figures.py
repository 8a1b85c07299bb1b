"""Figures of a study: the prediction of final values, the curves with their stops, and the compute saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from chemscale_bench.tuning.estimators import Array, mean_of_last_quarter
from chemscale_bench.tuning.prediction import predict
from chemscale_bench.tuning.study import without_pruning

FRACTION = 0.2  # of the steps, where the paper predicts
FINISHED, STOPPED, BEST = "#0072B2", "#999999", "#D55E00"  # Okabe & Ito


class Predictions(NamedTuple):
    """Final values of finished trials and what the others' curves say of each from its start."""

    predicted: Array
    final: Array

    @property
    def r2(self) -> float:
        """Coefficient of determination; NaN for fewer than three trials."""
        if len(self.final) < 3 or np.ptp(self.final) == 0:
            return float("nan")
        return float(1 - np.square(self.final - self.predicted).sum() / np.square(self.final - self.final.mean()).sum())

    @property
    def spearman(self) -> float:
        """Rank correlation; NaN for fewer than three trials."""
        if len(self.final) < 3 or np.ptp(self.final) == 0 or np.ptp(self.predicted) == 0:
            return float("nan")
        from scipy.stats import spearmanr  # it takes long to load, and only a study that ends asks for it

        return float(spearmanr(self.predicted, self.final).statistic)


def foretell(trials: list[FrozenTrial], budget: float, fraction: float = FRACTION) -> Predictions:
    """Predict every finished trial from the other finished ones, by the mean of the last quarter of its early reports.

    Args:
        trials: of a study.
        budget: last step of a full trial.
        fraction: of the steps up to which a trial is known.
    """
    early, final = [], []
    for trial in trials:
        known = [value for step, value in sorted(trial.intermediate_values.items()) if step <= fraction * budget]
        if trial.state == TrialState.COMPLETE and trial.value is not None and known:
            early.append(mean_of_last_quarter(known))
            final.append(trial.value)
    x, y = np.array(early), np.array(final)
    others = [np.arange(len(x)) != row for row in range(len(x))]
    found = [predict(x[keep], y[keep], at) for keep, at in zip(others, x, strict=True)]
    told = np.array([one is not None for one in found], dtype=bool)
    return Predictions(np.array([one.value for one in found if one is not None]), y[told])


def study_figures(
    trials: list[FrozenTrial], budget: float, unit: str = "loss", steps: str = "step"
) -> dict[str, go.Figure]:
    """All figures by name.

    Args:
        trials: of a study that minimizes.
        budget: last step of a full trial.
        unit: what the values are, for the axes.
        steps: what the steps are.
    """
    return {
        "predicted_against_final": predicted_against_final(foretell(trials, budget), unit),
        "curves": curves(trials, unit, steps),
        "compute_saved": compute_saved(trials),
    }


def predicted_against_final(foretold: Predictions, unit: str) -> go.Figure:
    """The paper's Figures 2 and 3: a point for every finished trial, on the diagonal if it was foretold exactly."""
    figure = go.Figure()
    predicted, final = foretold
    if len(final):
        ends = [float(min(final.min(), predicted.min())), float(max(final.max(), predicted.max()))]
        figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": STOPPED, "dash": "dash"}, name="exact")
    figure.add_scatter(x=final, y=predicted, mode="markers", marker={"color": FINISHED}, name="finished trial")
    title = f"Predicted at {FRACTION:.0%} of the steps: R² {foretold.r2:.3f}, Spearman {foretold.spearman:.3f}"
    return _styled(figure, title, f"final {unit}", f"predicted {unit}", log_x=True, log_y=True)


def curves(trials: list[FrozenTrial], unit: str, steps: str) -> go.Figure:
    """Every trial's reports; where a trial was stopped there is a cross."""
    figure = go.Figure()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    best = min(complete, key=lambda trial: trial.value or 0.0).number if complete else None
    stops: list[tuple[int, float, int]] = []
    for trial in trials:
        points = sorted(trial.intermediate_values.items())
        if not points or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            continue
        stopped = trial.state == TrialState.PRUNED
        colour = BEST if trial.number == best else STOPPED if stopped else FINISHED
        line: dict[str, Any] = {"color": colour, "width": 3 if trial.number == best else 1}
        x, y = zip(*points, strict=True)
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name=f"trial {trial.number}", showlegend=False)
        if stopped:
            stops.append((*points[-1], trial.number))
    x, y, numbers = zip(*stops, strict=True) if stops else ((), (), ())
    marker = {"color": STOPPED, "symbol": "x", "size": 8}
    figure.add_scatter(x=x, y=y, mode="markers", marker=marker, text=[f"trial {n}" for n in numbers], name="stopped")
    title = f"{len(trials)} trials, {len(stops)} stopped; the best in orange"
    return _styled(figure, title, steps, unit, log_x=True, log_y=True)


def pruners_compared(graded: Sequence[Any]) -> go.Figure:
    """What each pruner saves against how often it keeps the best trial; up and to the right is better.

    Args:
        graded: with `pruner`, `saved_percent`, `kept_percent` and the ends of their intervals.
    """
    figure = go.Figure()
    for one in graded:
        ours = one.pruner.startswith("performance")
        figure.add_scatter(
            x=[one.saved_percent], y=[one.kept_percent], name=one.pruner, text=[one.pruner], mode="markers+text",
            textposition="top center", marker={"color": BEST if ours else FINISHED, "size": 10}, showlegend=False,
            error_x=_bars(one.saved_percent, one.saved_low, one.saved_high),
            error_y=_bars(one.kept_percent, one.kept_low, one.kept_high),
        )  # fmt: skip
    return _styled(figure, "Pruners on recorded curves", "compute saved (%)", "best trial kept (% of studies)")


def _bars(value: float, low: float, high: float) -> dict[str, Any]:
    return {"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low]}


def compute_saved(trials: list[FrozenTrial]) -> go.Figure:
    """Share of the compute that stopping saved, trial after trial."""
    spent = full = 0.0
    x, y = [], []
    for trial in trials:
        if "flops" in trial.user_attrs and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            spent += trial.user_attrs["flops"]
            full += without_pruning(trial.user_attrs)
            x.append(trial.number)
            y.append(100 * (1 - spent / full))
    figure = go.Figure(go.Scatter(x=x, y=y, mode="lines+markers", line={"color": FINISHED}, name="saved"))
    title = f"Compute saved by stopping: {y[-1]:.1f} %" if y else "Compute saved by stopping"
    return _styled(figure, title, "trial", "saved so far (%)")


def _styled(figure: go.Figure, title: str, x: str, y: str, log_x: bool = False, log_y: bool = False) -> go.Figure:
    figure.update_layout(title=title, template="plotly_white", xaxis_title=x, yaxis_title=y)
    figure.update_xaxes(type="log" if log_x else "linear")
    figure.update_yaxes(type="log" if log_y else "linear")
    return figure

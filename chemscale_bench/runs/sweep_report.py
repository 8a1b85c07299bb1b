"""What the parent run of a study tells: the best trial, what stopping saved, the figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from chemscale_bench.runs.queue import STEPS, Queue
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.tracking.families import describe_family
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tuning import study as studies
from chemscale_bench.tuning.figures import foretell, study_figures

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from chemscale_bench.runs.tracked import TrackedRun


def numbers(trials: list[FrozenTrial]) -> dict[str, float]:
    """Best trial so far and what pruning saved."""
    spent = studies.spent(trials)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    found = dict[str, float]()
    if complete:  # first what is found, then what it cost: MLflow lists numbers as they come
        best = min(complete, key=lambda trial: trial.value or math.inf)
        found = {"best/value": float(best.value or 0.0)} | {f"best/{name}": v for name, v in best.params.items()}
    found |= {"tune/saved_percent": spent.saved_percent, "tune/flops": spent.flops}
    return found | {"tune/flops_without_pruning": spent.flops_without_pruning, "tune/complete": float(len(complete))}


class Tuned(Result):
    """What a search found; `table` has a row for each trial."""

    study: optuna.Study
    """Optuna's, for its own figures and for `best_params`."""


def summarize(client: MlflowClient, parent: str, queue: Queue, kind: type[TrackedRun], prints: bool) -> Tuned:
    """Log the figures, and say what was found.

    Args:
        client: of the tracking store.
        parent: id of the study's run.
        queue: of its trials.
        kind: of its trials.
        prints: whether it is printed, too.
    """
    trials, title, metric = queue.trials(), kind.VALUE, kind.METRIC
    steps = f"{STEPS} ({studies.REPORTS} in all)"
    figures = study_figures(trials, studies.REPORTS, title, steps)
    for name, figure in figures.items():
        client.log_text(parent, to_html(figure), f"figures/{name}.html")
    foretold = foretell(trials, studies.REPORTS)
    for name, value in (("r2", foretold.r2), ("spearman", foretold.spearman)):
        client.log_metric(parent, f"prediction/{name}_at_20_percent", value)
    found = numbers(trials)
    diverged = sum("diverged" in trial.user_attrs for trial in trials)
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials) - diverged
    what = f"{queue.count()} trials, {pruned} of them stopped early" + f", {diverged} diverged" * bool(diverged)
    lines, what = [f"study {queue.name}: {what}"], f"{what}."
    values: dict[int, float] = {}
    if "best/value" in found:
        best = queue.study.best_trial
        lines.append(f"best: trial {best.number} with {best.value:.4f} {title}: {describe(best.params)}")
        what += f" Best: trial {best.number} with **{best.value:.4f}** {title}: {describe(best.params)}"
        points = client.get_metric_history(best.user_attrs["mlflow_run"], metric)
        values = {point.step: point.value for point in points[-1:]}
    describe_family(client, parent, metric, what, values, studies.by_importance(queue.study))
    if len(foretold.final):
        lines.append(
            f"final value predicted at 20 % of the {STEPS}, {len(foretold.final)} finished trials: "
            f"R^2 {foretold.r2:.3f}, Spearman {foretold.spearman:.3f}"
        )
    else:
        lines.append("final value: too few trials have finished to predict it from the first 20 % of the area")
    lines.append(f"compute: {found['tune/flops']:.3g} FLOPs, {found['tune/saved_percent']:.1f} % saved by stopping")
    lines.append(f"parent run {parent}, one child per trial; next:\n  {look_at(parent, beside_others=True)}")
    told = Told(prints)
    told("\n".join(lines))
    result = Tuned(table_of(trials), told, found, {"curves": figures.pop("curves")} | figures, parent)
    result.study = queue.study
    return result


def table_of(trials: list[FrozenTrial]) -> pd.DataFrame:
    """A row for each trial: its state, final value, hyperparameters, and the run that trained it."""
    rows = [
        {"trial": trial.number, "state": trial.state.name, "value": trial.value}
        | trial.params | {"run_id": trial.user_attrs.get("mlflow_run", "")}
        for trial in trials
    ]  # fmt: skip
    return pd.DataFrame(rows)


def describe(params: dict[str, Any]) -> str:
    """Hyperparameters on one line."""
    return " ".join(f"{name}={value:.4g}" for name, value in params.items())

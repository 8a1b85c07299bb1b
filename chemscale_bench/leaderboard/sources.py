"""The runs that `fit` and `plan` work on: of an experiment, of a table, or of a fit that was saved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from chemscale_bench.data.opening import user_path
from chemscale_bench.delimited import read_csv
from chemscale_bench.errors import UserError, did_you_mean
from chemscale_bench.leaderboard.collect import measure
from chemscale_bench.scaling import RunTable, validate
from chemscale_bench.scaling.analysis import Analysis
from chemscale_bench.scaling.table import OPTIONAL, describe
from chemscale_bench.settings.fit import FitSettings
from chemscale_bench.settings.runs import RunsSettings
from chemscale_bench.tracking.reader import LoggedRun, runs_of_experiment
from chemscale_bench.tracking.store import open_store


def read(settings: RunsSettings) -> RunTable:
    """The runs that the settings name, validated.

    Raises:
        UserError: if there is not exactly one source, or the runs are not fit for a fit.
    """
    if bool(settings.experiment) == bool(settings.table):
        raise UserError(
            f"give one source of runs, got experiment={settings.experiment!r} and table={settings.table!r}; "
            "use experiment=NAME for logged runs, or table=runs.csv; `plan` also takes fit=fit.json"
        )
    if settings.table:
        frame, left_out = _read_file(settings.table), dict[str, int]()
    else:
        frame, left_out = read_experiment(settings.experiment, settings.metric)
    return table_of(frame, left_out, settings, source_of(settings), typed=bool(settings.table))


def table_of(
    frame: pd.DataFrame, left_out: dict[str, int], settings: RunsSettings, source: str, typed: bool
) -> RunTable:
    """Those of some runs that the settings select, validated.

    Args:
        frame: a row for each run and budget.
        left_out: how many runs are not in it, by reason.
        settings: with a task, model or task_digest.
        source: of the runs, for errors.
        typed: whether people wrote them, see `validate`.

    Raises:
        UserError: if none are left, or they are not fit for a fit.
    """
    for name in ("task", "model", "task_digest"):
        wanted = getattr(settings, name)
        if not wanted:
            continue
        if name not in frame:
            raise UserError(
                f"{name}={wanted} selects by the column {name}, got a table with {', '.join(map(str, frame.columns))}; "
                f"add that column, or leave {name} out"
            )
        frame = frame[frame[name].astype(str) == wanted]
    if frame.empty:
        raise UserError(
            f"{source} must hold finished runs with {settings.metric}, got none ({describe(left_out)}); "
            "check the experiment, task, model and metric"
        )
    table = validate(frame, typed=typed)
    return table._replace(left_out=left_out | table.left_out)


def _read_file(path: str) -> pd.DataFrame:
    kind = Path(path).suffix
    if kind not in (".csv", ".parquet"):
        raise UserError(f"table must be a .csv or .parquet file, got {path!r}; convert it")
    try:
        file = user_path(path)
        frame = read_csv(file) if kind == ".csv" else pd.read_parquet(file)
    except FileNotFoundError:
        raise UserError(f"table must be a file that exists, got {path!r}; check the path") from None
    except (ValueError, OSError) as error:
        raise UserError(f"table must be readable as {kind}, got {error} in {path!r}; mend it") from None
    return frame


def read_experiment(name: str, metric: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row per finished run and budget of an experiment or a study, and how many runs were left out, by reason.

    A finished run gives one row for each step at which it logged `metric`, which is the tokens seen; a force field one
    row, at the frames it was trained on. Of repeated runs the best counts: `leaderboard.collect.measure` says which.

    Raises:
        UserError: if there is neither.
    """
    kept, left_out = measure(runs_named(name, "experiment"), metric)
    # A force field's data are the frames it learns from, of which there are rightly few.
    data = "frames" if "force" in metric or "energy" in metric else "tokens"
    rows = [
        {
            "params": float(run.params["non_embedding_params"]),
            "seed": run.params.get("seed", "0"),
            "task": run.params.get("task_name", ""),
            "model": run.params.get("model", ""),
            "task_digest": run.tags.get("task_digest", ""),
            "run_id": run.run_id,
            data: float(budget),
            "loss": loss,
        }
        for run, by_budget in kept
        for budget, loss in by_budget.items()
    ]
    return pd.DataFrame(rows), left_out


def runs_named(name: str, parameter: str) -> list[LoggedRun]:
    """The runs of an experiment, or a run and its children, such as those of a study.

    Args:
        name: of the experiment, or the run's id.
        parameter: that gave the name, for errors.

    Raises:
        UserError: if there is neither.
    """
    experiment = experiment_of(name, parameter)
    if experiment == name:
        return runs_of_experiment(name)
    family = [run for run in runs_of_experiment(experiment) if name in (run.run_id, run.tags.get("mlflow.parentRunId"))]
    # A parent that trained nothing itself is only the bracket around its children.
    return family if len(family) == 1 else [run for run in family if "task_name" in run.params]


def experiment_of(name: str, parameter: str = "experiment") -> str:
    """The experiment of that name, or of the run with that id.

    Raises:
        UserError: if there is neither; it names the parameter that gave the name.
    """
    from mlflow.exceptions import MlflowException

    client = open_store()
    if not name:
        raise UserError(f"{parameter} must be an experiment or a run id, got nothing; `mlflow ui` shows both")
    if client.get_experiment_by_name(name) is not None:
        return name
    try:
        run = client.get_run(name)
    except MlflowException:
        known = [experiment.name for experiment in client.search_experiments()]
        hint = did_you_mean(name, known, "check it and MLFLOW_TRACKING_URI")
        raise UserError(f"{parameter} must be an experiment or a run id of this store, got {name!r}; {hint}") from None
    return str(client.get_experiment(run.info.experiment_id).name)


def read_saved(path: str) -> RunTable:
    """The runs of a saved fit, which is fitted again: the same numbers follow from the same runs."""
    try:
        if path.startswith("runs:/"):
            import mlflow

            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            record = mlflow.artifacts.load_dict(path)
        else:
            record = json.loads(user_path(path).read_text())
        return validate(pd.DataFrame(record["runs"]), typed=False)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"fit must be a fit.json that `fit` wrote, got {path!r} ({error}); run fit again") from None


def record_of(analysis: Analysis, settings: FitSettings) -> dict[str, Any]:
    """A fit as JSON: its numbers, and the runs that they follow from."""
    frame, data = analysis.table.frame, analysis.table.data_column
    kept = frame[[name for name in ("params", "tokens", "loss", *OPTIONAL) if name in frame]]
    runs = kept.rename(columns={"tokens": data}).to_dict("list")
    numbers = {"numbers": analysis.numbers(), "refusals": analysis.refusals, "left_out": analysis.table.left_out}
    return {"source": source_of(settings), "metric": settings.metric, "level": settings.level, **numbers, "runs": runs}


def source_of(settings: RunsSettings) -> str:
    """Where runs come from, for people."""
    return f"experiment {settings.experiment}" if settings.experiment else f"table {Path(settings.table).name}"

"""The verbs `fit` and `plan`: scaling laws of logged runs or of a table, and how to spend a budget."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import JointLaw, RunTable, flops_of, plan, validate
from chemscale_bench.scaling.analysis import Analysis, analyse
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.scaling.figures_fit import to_html
from chemscale_bench.scaling.frontier import Detour, Plan
from chemscale_bench.scaling.table import OPTIONAL, describe
from chemscale_bench.settings import FitSettings, PlanSettings, RunsSettings

HOUSEKEEPING = "chemscale-housekeeping"


def fit(settings: FitSettings) -> None:
    """Fit all laws to runs, print the report, and log numbers, intervals and figures to one MLflow run."""
    table = read(settings)
    analysis = analyse(table, settings.level, settings.replicates)
    print(analysis.text())
    unit = LOSS_TITLE if settings.metric.endswith("loss_nats_per_token") else settings.metric
    figures, record = analysis.figures(unit), _record(analysis, settings)
    if settings.out:
        folder = Path(settings.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fit.json").write_text(json.dumps(record, indent=1))
        for name, figure in figures.items():
            (folder / f"{name}.html").write_text(to_html(figure))
        print(f"\nWrote fit.json and {len(figures)} figures to {folder}")
    if settings.log:
        import mlflow

        with _housekeeping_run("fit") as run:
            mlflow.log_params({"level": settings.level, "replicates": settings.replicates, "source": _source(settings)})
            mlflow.log_metrics(analysis.numbers())
            mlflow.log_dict(record, "fit.json")
            mlflow.log_text(analysis.text(), "report.txt")
            for name, figure in figures.items():
                mlflow.log_figure(figure, f"figures/{name}.html")
            print(f"\nLogged to MLflow run {run.info.run_id}; plan with fit=runs:/{run.info.run_id}/fit.json")


def spend(settings: PlanSettings) -> None:
    """Print the compute-optimal size, tokens and loss for a budget, and what being off by two costs."""
    if bool(settings.flops) == bool(settings.gpu_hours):
        raise UserError(
            f"plan needs one budget, got flops={settings.flops:g} and gpu_hours={settings.gpu_hours:g}; "
            "give flops=1e19, or gpu_hours=8 with device=h200"
        )
    flops = settings.flops or flops_of(settings.gpu_hours, settings.device, settings.mfu)
    table = _saved(settings.fit) if settings.fit else read(settings)
    law = JointLaw(replicates=settings.replicates)
    frame = table.frame
    law.fit(frame["params"], frame["tokens"], frame["loss"], table.seed_weight)
    result = plan(law, flops, settings.level)
    if settings.gpu_hours:
        print(f"{settings.gpu_hours:g} {settings.device} GPU-hours at {settings.mfu:.0%} of the bf16 peak:")
    print(describe_plan(result, settings.level, table.data_column))
    if "MLFLOW_RUN_ID" in os.environ:
        import mlflow

        best = result.frontier
        with _housekeeping_run("plan"):
            mlflow.log_metrics(
                {
                    "plan/flops": flops,
                    "plan/params": float(best.params[0]),
                    "plan/tokens": float(best.tokens[0]),
                    "plan/loss": float(best.loss[0]),
                    "plan/loss_low": float(best.loss_interval.low[0]),
                    "plan/loss_high": float(best.loss_interval.high[0]),
                }
            )


def describe_plan(result: Plan, level: float, data: str = "tokens") -> str:
    """The plan as text."""
    best = result.frontier
    rows = [
        (name, value[0], interval.low[0], interval.high[0])
        for name, value, interval in (
            ("params", best.params, best.params_interval),
            (data, best.tokens, best.tokens_interval),
            ("loss", best.loss, best.loss_interval),
        )
    ]
    lines = [f"budget   {result.flops:.4g} FLOPs; {level:.0%} intervals"]
    # Losses differ in the third decimal, sizes over decades.
    lines += [f"{name:<8} {value:#.5g}  [{low:#.5g}, {high:#.5g}]" for name, value, low, high in rows]
    for name, other in (("half the size", result.half_size), ("twice the size", result.double_size)):
        lines.append(_describe_detour(name, other, data))
    if result.beyond > 1:
        lines.append(f"The budget is {result.beyond:.3g} times the largest fitted one: the law is extrapolated.")
    return "\n".join(lines)


def _describe_detour(name: str, other: Detour, data: str) -> str:
    low, high = other.extra_loss_interval
    return (
        f"{name} ({other.params:.3g} params, {other.tokens:.3g} {data}): loss {other.loss:.4f}, "
        f"+{other.extra_loss:.4f} [{low:.4f}, {high:.4f}], wastes {other.wasted:.0%} of the budget"
    )


def read(settings: RunsSettings) -> RunTable:
    """The runs that the settings name, validated.

    Raises:
        UserError: if there is not exactly one source, or the runs are not fit for a fit.
    """
    if bool(settings.experiment) == bool(settings.table):
        raise UserError(
            f"give one source of runs, got experiment={settings.experiment!r} and table={settings.table!r}; "
            "use experiment=NAME for logged runs, or table=runs.csv"
        )
    if settings.table:
        frame, left_out = _read_file(settings.table), dict[str, int]()
    else:
        frame, left_out = read_experiment(settings.experiment, settings.metric)
    for name in ("task", "model", "task_digest"):
        wanted = getattr(settings, name)
        if wanted and name in frame:
            frame = frame[frame[name].astype(str) == wanted]
    if frame.empty:
        raise UserError(
            f"{_source(settings)} must hold finished runs with {settings.metric}, got none ({describe(left_out)}); "
            "check the experiment, task, model and metric"
        )
    table = validate(frame)
    return table._replace(left_out=left_out | table.left_out)


def _read_file(path: str) -> pd.DataFrame:
    kind = Path(path).suffix
    if kind not in (".csv", ".parquet"):
        raise UserError(f"table must be a .csv or .parquet file, got {path!r}; convert it")
    try:
        frame = pd.read_csv(path) if kind == ".csv" else pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"table must be a file that exists, got {path!r}; check the path") from None
    except (ValueError, OSError) as error:
        raise UserError(f"table must be readable as {kind}, got {error} in {path!r}; mend it") from None
    return frame


def read_experiment(name: str, metric: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row per finished run and budget of an MLflow experiment, and how many runs were left out, by reason.

    A finished run gives one row for each step at which it logged `metric`; the step is the tokens seen. Where a run
    was repeated with the same task, model, size and seed, the newest one counts.

    Raises:
        UserError: if there is no such experiment.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise UserError(f"experiment must exist, got {name!r}; check its name and MLFLOW_TRACKING_URI")
    left_out: dict[str, int] = {}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], max_results=1000, order_by=["attributes.start_time ASC"], page_token=token
        )
        for run in page:
            params, reason = run.data.params, ""
            if run.info.status != "FINISHED":
                reason = run.info.status
            elif metric not in run.data.metrics:
                reason = f"without {metric}"
            elif "non_embedding_params" not in params:
                reason = "without non_embedding_params"
            if reason:
                left_out[reason] = left_out.get(reason, 0) + 1
                continue
            about = {
                "params": float(params["non_embedding_params"]),
                "seed": params.get("seed", "0"),
                "task": params.get("task_name", ""),
                "model": params.get("model", ""),
                "task_digest": run.data.tags.get("task_digest", ""),
            }
            # The last point of a step counts: a resumed run logs some steps again.
            curve = {point.step: point.value for point in client.get_metric_history(run.info.run_id, metric)}
            for step, loss in curve.items():
                key = (*about.values(), step)
                if key in rows:
                    left_out["repeated"] = left_out.get("repeated", 0) + 1
                rows[key] = {**about, "tokens": float(step), "loss": loss, "run_id": run.info.run_id}
        token = page.token
        if not token:
            break
    # A force field's steps count frames, of which there are rightly few.
    data = "frames" if "force" in metric or "energy" in metric else "tokens"
    return pd.DataFrame(list(rows.values())).rename(columns={"tokens": data}), left_out


def _saved(path: str) -> RunTable:
    """The runs of a saved fit, which is fitted again: the same numbers follow from the same runs."""
    try:
        if path.startswith("runs:/"):
            import mlflow

            record = mlflow.artifacts.load_dict(path)
        else:
            record = json.loads(Path(path).read_text())
        return validate(pd.DataFrame(record["runs"]))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"fit must be a fit.json that `fit` wrote, got {path!r} ({error}); run fit again") from None


def _record(analysis: Analysis, settings: FitSettings) -> dict[str, Any]:
    """A fit as JSON: its numbers, and the runs that they follow from."""
    frame, data = analysis.table.frame, analysis.table.data_column
    kept = frame[[name for name in ("params", "tokens", "loss", *OPTIONAL) if name in frame]]
    runs = kept.rename(columns={"tokens": data}).to_dict("list")
    numbers = {"numbers": analysis.numbers(), "refusals": analysis.refusals, "left_out": analysis.table.left_out}
    return {"source": _source(settings), "metric": settings.metric, "level": settings.level, **numbers, "runs": runs}


def _source(settings: RunsSettings) -> str:
    return f"experiment {settings.experiment}" if settings.experiment else f"table {Path(settings.table).name}"


def _housekeeping_run(verb: str) -> AbstractContextManager[Any]:
    """The run that `mlflow run` opened for this process, or a new one out of the way of training runs."""
    import mlflow

    if "MLFLOW_RUN_ID" in os.environ:
        opened: AbstractContextManager[Any] = mlflow.start_run(tags={"verb": verb})
        return opened
    # Not mlflow.set_experiment: that would also move whatever this process logs next.
    known = mlflow.get_experiment_by_name(HOUSEKEEPING)
    experiment = known.experiment_id if known else mlflow.create_experiment(HOUSEKEEPING)
    run: AbstractContextManager[Any] = mlflow.start_run(experiment_id=experiment, run_name=verb, tags={"verb": verb})
    return run

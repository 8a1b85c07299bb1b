"""The verbs `fit` and `plan`: scaling laws of logged runs or of a table, and how to spend a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from chemscale_bench.data.opening import user_path
from chemscale_bench.errors import UserError
from chemscale_bench.scaling import Forecast, RunTable, flops_of, plan, validate
from chemscale_bench.scaling.analysis import Analysis, analyse
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.scaling.frontier import Detour, Plan
from chemscale_bench.scaling.table import OPTIONAL, describe
from chemscale_bench.settings.analysis import FitSettings, PlanSettings, RunsSettings
from chemscale_bench.tracking.adoption import launched_run
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.housekeeping import housekeeping_run


def fit(settings: FitSettings) -> None:
    """Fit all laws to runs, print the report, and log numbers, intervals and figures to one MLflow run."""
    if settings.out:
        _make_folder(settings.out)
    # The run of `mlflow run` is there already and shares the fate of the fit; another is made for a fit that worked.
    found = None if settings.log and launched_run() else _fit(settings)
    if settings.log:
        with housekeeping_run("fit") as run_id:
            _log_fit(run_id, settings, *(found or _fit(settings)))


def _fit(settings: FitSettings) -> tuple[Analysis, dict[str, Any]]:
    """The fit, printed and written to files, and its figures by name."""
    analysis = analyse(read(settings), settings.level, settings.replicates)
    print(analysis.text())
    unit = LOSS_TITLE if settings.metric.endswith("loss_nats_per_token") else settings.metric
    figures = analysis.figures(unit)
    if settings.out:
        folder = Path(settings.out)
        (folder / "fit.json").write_text(json.dumps(_record(analysis, settings), indent=1))
        for name, figure in figures.items():
            (folder / f"{name}.html").write_text(to_html(figure))
        print(f"\nWrote fit.json and {len(figures)} figures to {folder}")
    return analysis, figures


def _log_fit(run_id: str, settings: FitSettings, analysis: Analysis, figures: dict[str, Any]) -> None:
    from chemscale_bench.tracking.recorder import Recorder

    recorder = Recorder(run_id)
    # `mlflow run` has logged its parameters already, in the user's spelling.
    recorder.params({"level": settings.level, "replicates": settings.replicates, "source": _source(settings)})
    _log_metrics(run_id, analysis.numbers())
    recorder.client.log_dict(run_id, _record(analysis, settings), "fit.json")
    recorder.client.log_text(run_id, analysis.text(), "report.txt")
    for name, figure in figures.items():
        recorder.figure(figure, f"figures/{name}.html")
    print(f"\nLogged to MLflow run {run_id}; plan with fit=runs:/{run_id}/fit.json")


def _log_metrics(run_id: str, values: dict[str, float]) -> None:
    import mlflow

    mlflow.log_metrics(values, run_id=run_id)


def _make_folder(path: str) -> None:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out must be a writable folder, got {path!r} ({error.strerror}); name another") from None


def spend(settings: PlanSettings) -> None:
    """Print the compute-optimal size, tokens and loss for a budget, and what being off by two costs."""
    if launched_run():
        with housekeeping_run("plan") as run_id:
            _log_plan(run_id, _spend(settings))
    else:
        _spend(settings)


def _spend(settings: PlanSettings) -> Plan:
    if bool(settings.flops) == bool(settings.gpu_hours):
        raise UserError(
            f"plan needs one budget, got flops={settings.flops:g} and gpu_hours={settings.gpu_hours:g}; "
            "give flops=1e19, or gpu_hours=8 with device=h200"
        )
    flops = settings.flops or flops_of(settings.gpu_hours, settings.device, settings.mfu)
    table = _saved(settings.fit) if settings.fit else read(settings)
    if table.data_column == "frames":
        raise UserError(
            "plan needs runs whose data are tokens, got frames, whose FLOPs are not 6 params tokens; "
            "use fit, which compares models at equal frames"
        )
    frame = table.frame
    forecast = Forecast(replicates=settings.replicates)
    forecast.fit(frame["params"], frame["tokens"], frame["loss"], table.seed_weight)
    result = plan(forecast, flops, settings.level)
    if settings.gpu_hours:
        print(f"{settings.gpu_hours:g} {settings.device} GPU-hours at {settings.mfu:.0%} of the bf16 peak:")
    print(describe_plan(result, settings.level))
    return result


def _log_plan(run_id: str, result: Plan) -> None:
    best = result.frontier
    values = {
        "plan/flops": result.flops,
        "plan/params": float(best.params[0]),
        "plan/tokens": float(best.tokens[0]),
        "plan/loss": float(best.loss[0]),
        "plan/loss_low": float(best.loss_interval.low[0]),
        "plan/loss_high": float(best.loss_interval.high[0]),
    }
    _log_metrics(run_id, values)


def describe_plan(result: Plan, level: float) -> str:
    """The plan as text."""
    best = result.frontier
    rows = [
        (name, value[0], interval.low[0], interval.high[0])
        for name, value, interval in (
            ("params", best.params, best.params_interval),
            ("tokens", best.tokens, best.tokens_interval),
            ("loss", best.loss, best.loss_interval),
        )
    ]
    lines = [f"budget   {result.flops:.4g} FLOPs; {level:.0%} intervals"]
    # Losses differ in the third decimal, sizes over decades.
    lines += [f"{name:<8} {value:#.5g}  [{low:#.5g}, {high:#.5g}]" for name, value, low, high in rows]
    for name, other in (("half the size", result.half_size), ("twice the size", result.double_size)):
        lines.append(_describe_detour(name, other))
    if result.beyond > 1:
        lines.append(
            f"The budget is {result.beyond:.3g} times the largest fitted one; the interval of the loss allows for that."
        )
    if result.next_run is not None:
        run = result.next_run
        lines.append(
            f"next     {run.params:.3g} params on {run.tokens:.3g} tokens ({run.flops:.2g} FLOPs) tells most of this "
            f"loss per FLOP: {run.narrows:.0%} of its variance should go"
        )
    return "\n".join(lines)


def _describe_detour(name: str, other: Detour) -> str:
    low, high = other.extra_loss_interval
    return (
        f"{name} ({other.params:.3g} params, {other.tokens:.3g} tokens): loss {other.loss:.4f}, "
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
            f"{_source(settings)} must hold finished runs with {settings.metric}, got none ({describe(left_out)}); "
            "check the experiment, task, model and metric"
        )
    table = validate(frame, typed=bool(settings.table))
    return table._replace(left_out=left_out | table.left_out)


def _read_file(path: str) -> pd.DataFrame:
    kind = Path(path).suffix
    if kind not in (".csv", ".parquet"):
        raise UserError(f"table must be a .csv or .parquet file, got {path!r}; convert it")
    try:
        file = user_path(path)
        frame = pd.read_csv(file) if kind == ".csv" else pd.read_parquet(file)
    except FileNotFoundError:
        raise UserError(f"table must be a file that exists, got {path!r}; check the path") from None
    except (ValueError, OSError) as error:
        raise UserError(f"table must be readable as {kind}, got {error} in {path!r}; mend it") from None
    return frame


def read_experiment(name: str, metric: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row per finished run and budget of an MLflow experiment, and how many runs were left out, by reason.

    A finished run gives one row for each step at which it logged `metric`, which is the tokens seen; a force field one
    row, at the frames it was trained on. Of repeated runs the best counts: `leaderboard.collect.measure` says which.

    Raises:
        UserError: if there is no such experiment.
    """
    from chemscale_bench.leaderboard.collect import measure
    from chemscale_bench.tracking.reader import runs_of_experiment

    kept, left_out = measure(runs_of_experiment(name), metric)
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


def _saved(path: str) -> RunTable:
    """The runs of a saved fit, which is fitted again: the same numbers follow from the same runs."""
    try:
        if path.startswith("runs:/"):
            import mlflow

            record = mlflow.artifacts.load_dict(path)
        else:
            record = json.loads(user_path(path).read_text())
        return validate(pd.DataFrame(record["runs"]), typed=False)
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

"""The verb `plan`: how to spend a budget."""

from __future__ import annotations

import numpy as np

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.sources import experiment_of, read, read_saved
from chemscale_bench.scaling import Forecast, flops_of
from chemscale_bench.scaling import plan as plan_for
from chemscale_bench.scaling.planning import NextRun, Plan, describe_plan
from chemscale_bench.settings.plan import PlanSettings
from chemscale_bench.tracking.adoption import launched_run
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.verbs import next_command


def plan(settings: PlanSettings) -> None:
    """Print the compute-optimal size, tokens and loss for a budget, and what being off by two costs."""
    if launched_run():
        with housekeeping_run("plan") as run_id:
            _log_plan(run_id, _plan(settings))
    else:
        _plan(settings)


def _plan(settings: PlanSettings) -> Plan:
    if bool(settings.flops) == bool(settings.gpu_hours):
        raise UserError(
            f"plan needs one budget, got flops={settings.flops:g} and gpu_hours={settings.gpu_hours:g}; "
            "give flops=1e19, or gpu_hours=8 with device=h200"
        )
    flops = settings.flops or flops_of(settings.gpu_hours, settings.device, settings.mfu)
    table = read_saved(settings.fit) if settings.fit else read(settings)
    if table.data_column == "frames":
        raise UserError(
            "plan needs runs whose data are tokens, got frames, whose FLOPs are not 6 params tokens; "
            "use fit, which compares models at equal frames"
        )
    frame = table.frame
    forecast = Forecast(replicates=settings.replicates)
    forecast.fit(frame["params"], frame["tokens"], frame["loss"], table.seed_weight)
    result = plan_for(forecast, flops, settings.level)
    if settings.gpu_hours:
        print(f"{settings.gpu_hours:g} {settings.device} GPU-hours at {settings.mfu:.0%} of the bf16 peak:")
    print(describe_plan(result, settings.level))
    best = NextRun(float(result.frontier.params[0]), float(result.frontier.tokens[0]), result.flops, 0.0)
    # A fit lies where its runs do.
    source = settings.fit.split("/")[1] if settings.fit.startswith("runs:/") else settings.experiment
    experiment = experiment_of(source) if source else ""
    commands = {
        "the run that narrows this loss most": next_command.training(frame, result.next_run, experiment),
        "the run that was planned": next_command.training(frame, best, experiment),
    }
    study = "" if any(commands.values()) else next_command.study(frame)
    next_command.show(commands | {"these take more data than the task has; two hours of runs that tell more": study})
    return result


def _log_plan(run_id: str, result: Plan) -> None:
    import mlflow  # it takes long to load, and nothing of it is needed unless the result is logged

    best = result.frontier
    values = {
        "plan/flops": result.flops,
        "plan/params": float(best.params[0]),
        "plan/tokens": float(best.tokens[0]),
        "plan/loss": float(best.loss[0]),
        "plan/loss_low": float(best.loss_interval.low[0]),
        "plan/loss_high": float(best.loss_interval.high[0]),
    }
    mlflow.log_metrics({name: value for name, value in values.items() if np.isfinite(value)}, run_id=run_id)

"""The verb `plan`: how to spend a budget."""

from __future__ import annotations

import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.sources import experiment_of, read, read_saved
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.scaling import Forecast, flops_of
from chemscale_bench.scaling import plan as plan_for
from chemscale_bench.scaling.figures_fit import figure_sizes
from chemscale_bench.scaling.planning import NextRun, Plan, describe_plan
from chemscale_bench.settings.plan import PlanSettings
from chemscale_bench.tracking.housekeeping import HOUSEKEEPING, run_if_launched
from chemscale_bench.verbs import next_command


def plan(settings: PlanSettings) -> None:
    """Print the compute-optimal size, tokens and loss for a budget, and what being off by two costs."""
    with run_if_launched("plan") as run_id:
        found = _plan(settings)
        if run_id:
            log(run_id, found)


def _plan(settings: PlanSettings) -> Result:
    flops = budget_of(settings)
    for name in ("table", "task", "model", "task_digest") if settings.fit else ():
        if value := getattr(settings, name):
            raise UserError(f"a fit has its own {name}, got fit={settings.fit} and {name}={value}; leave one out")
    table = read_saved(settings.fit) if settings.fit else read(settings)
    if table.data_column == "frames":
        raise UserError(
            "plan needs runs whose data are tokens, got frames, whose FLOPs are not 6 params tokens; "
            "use fit, which compares models at equal frames"
        )
    frame = table.frame
    forecast = Forecast(replicates=settings.replicates)
    forecast.fit(frame["params"], frame["tokens"], frame["loss"], table.seed_weight)
    plan, found = spend(forecast, settings, flops, prints=True)
    best = NextRun(float(plan.frontier.params[0]), float(plan.frontier.tokens[0]), plan.flops, 0.0)
    # A fit lies where its runs do, but for that of a table.
    source = settings.fit.split("/")[1] if settings.fit.startswith("runs:/") else settings.experiment
    experiment = experiment_of(source) if source else ""
    experiment = "" if experiment == HOUSEKEEPING else experiment
    commands = {
        "the run that narrows this loss most": next_command.training(frame, plan.next_run, experiment),
        "the run that was planned": next_command.training(frame, best, experiment),
    }
    study = "" if any(commands.values()) else next_command.study(frame)
    next_command.show(commands | {"two hours of runs that are chosen to tell the law": study})
    return found


def budget_of(settings: PlanSettings) -> float:
    """The budget in FLOPs.

    Raises:
        UserError: if there is not exactly one, or the device is unknown.
    """
    if bool(settings.flops) == bool(settings.gpu_hours):
        raise UserError(
            f"plan needs one budget, got flops={settings.flops:g} and gpu_hours={settings.gpu_hours:g}; "
            "give flops=1e19, or gpu_hours=8 with device=h200"
        )
    return settings.flops or flops_of(settings.gpu_hours, settings.device, settings.mfu)


def spend(forecast: Forecast, settings: PlanSettings, flops: float, prints: bool) -> tuple[Plan, Result]:
    """The plan for a budget, as it is and as what is told and shown of it."""
    plan, told, level = plan_for(forecast, flops, settings.level), Told(prints), settings.level
    if settings.gpu_hours:
        told(f"{settings.gpu_hours:g} {settings.device} GPU-hours at {settings.mfu:.0%} of the bf16 peak:")
    told(describe_plan(plan, level))
    best = plan.frontier
    params, tokens, loss = (float(column[0]) for column in (best.params, best.tokens, best.loss))
    rows = [("optimum", params, tokens, loss, 0.0)]
    for name, other in (("half the size", plan.half_size), ("twice the size", plan.double_size)):
        rows.append((name, other.params, other.tokens, other.loss, other.wasted))
    table = pd.DataFrame(rows, columns=["split", "params", "tokens", "loss", "wasted"])
    numbers = {"flops": plan.flops, "params": params, "tokens": tokens, "loss": loss}
    numbers |= {f"loss_{end}": float(value[0]) for end, value in best.loss_interval._asdict().items()}
    numbers = {f"plan/{name}": value for name, value in numbers.items()}
    return plan, Result(table, told, numbers, {"sizes": figure_sizes(forecast, plan, level)}, "")


def log(run_id: str, found: Result) -> None:
    """Log numbers and figure of a plan."""
    from chemscale_bench.tracking.recorder import Recorder  # takes long to load, and only `mlflow run` needs it

    recorder = Recorder(run_id)
    recorder.metrics(found.numbers(), 0)
    recorder.deliver()
    recorder.figure(found.figure(), "figures/sizes.html")

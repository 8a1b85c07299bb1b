"""The same model from several seeds: a parent run with one child per seed, trained as one stack."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from chemscale_bench.data.cache import run_folder
from chemscale_bench.errors import UserError
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.tracking.adoption import adopt_run, launched_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.families import below, describe_family, name_of
from chemscale_bench.tracking.lifetime import Stop, mark_process, reap_dead_runs
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Diverged
from chemscale_bench.training.together import train_together

if TYPE_CHECKING:
    from mlflow import MlflowClient


def train_seeds(settings: TrainingSettings, kind: type[TrackedRun]) -> None:
    """Train `settings.seeds` models of a kind from neighbouring seeds, and print their mean and standard deviation."""
    if settings.resume:
        raise UserError(
            f"resume must be of one run, got seeds={settings.seeds} with it; leave seeds out, each goes on by itself"
        )
    fabric = start_fabric(settings)
    if fabric.world_size > 1:
        raise UserError(
            f"seeds must be trained by one process, got {settings.seeds} in {fabric.world_size}; start one run per seed"
        )
    client, experiment = open_store(), experiment_id(settings.experiment)
    reap_dead_runs([experiment])
    launched = launched_run() is not None  # is there anyway, and told how it ended
    runs: list[TrackedRun] = []
    diverged: list[Diverged] = []

    def build() -> list[TrackedRun]:
        seeds = range(settings.seed, settings.seed + settings.seeds)
        each = [settings.model_copy(update={"seed": seed, "seeds": 1}) for seed in seeds]
        return [kind(own, fabric, "", stop, None) for own in each]

    def start() -> Generator[Due, None, None] | None:
        return member(waiting.pop(0)) if waiting and not stop.requested else None

    def member(run: TrackedRun) -> Generator[Due, None, None]:
        name = str(run.tags()["mlflow.runName"])
        child = run.run_id = client.create_run(experiment, tags=below(parent), run_name=name).info.run_id
        mark_process(client, child)
        try:
            with ended_properly(child):
                if not runs:
                    name = name.replace(f"-seed{settings.seed}", f"-{settings.seeds}-seeds", 1)
                    client.set_tag(parent, "mlflow.runName", name)
                run.prints = run.shows = not runs  # one of them shows the progress of all
                run.proposes = False
                runs.append(run)
                yield from run.steps_due()
        except Diverged as error:
            diverged.append(error)
            shutil.rmtree(run_folder(child), ignore_errors=True)

    with Stop() as stop, ExitStack() as ending:
        waiting = [] if launched else build()
        parent = adopt_run(settings.experiment)
        ending.enter_context(ended_properly(parent))
        waiting = waiting or build()
        train_together(start, settings.seeds)
        if waiting or any(run.trainer.stopped for run in runs):
            print(f"{stop.requested}; every seed goes on by its own resume=", file=sys.stderr)
            raise KeyboardInterrupt
        tell(runs, client, parent)
        if diverged:
            raise diverged[0]


def tell(runs: list[TrackedRun], client: MlflowClient, parent: str) -> None:
    """Print and log mean and standard deviation over the seeds that came to their end, if there are several."""
    first = runs[0]
    done = [run.reached for run in runs if first.budgets[-1] in run.reached]
    if len(done) < 2:
        return
    print(f"{first.UNIT:>14} {'mean of ' + str(len(done)) + ' seeds':>15} {'their sd':>9}  {first.METRIC}")
    metric, means = first.METRIC.replace("/", "_"), dict[int, float]()
    for budget in first.budgets:
        values = [reached[budget] for reached in done]
        means[budget], deviation = statistics.mean(values), statistics.stdev(values)
        client.log_metric(parent, f"seeds/mean_{metric}", means[budget], step=budget)
        client.log_metric(parent, f"seeds/sd_{metric}", deviation, step=budget)
        print(f"{budget:>14,} {means[budget]:>15.4f} {deviation:>9.4f}")
    last = f"of {len(done)} seeds **{means[budget]:.4f}**, sd {deviation:.4f}"
    describe_family(client, parent, first.METRIC, f"{first.title}: {name_of(first.METRIC)}, {last}", means)
    print(f"parent run {parent}, one child per seed; next:\n  {look_at(parent, beside_others=True)}")

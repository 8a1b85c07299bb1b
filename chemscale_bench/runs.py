"""The training verbs: start a run or carry one on, and see to its end."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import torch

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.force_run import ForceRun
from chemscale_bench.language_run import LanguageRun
from chemscale_bench.models import attention
from chemscale_bench.models.force_fields import check_name
from chemscale_bench.models.sizes import shape_for
from chemscale_bench.settings.training import ChemGPTSettings, ForceFieldSettings, TrainingSettings
from chemscale_bench.tracked_run import TrackedRun, run_folder
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, mark_process, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training import checkpoints
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.loop import Diverged, Step
from chemscale_bench.training.together import train_together

AnySettings = TypeVar("AnySettings", bound=TrainingSettings)


def train_chemgpt(settings: ChemGPTSettings) -> None:
    """The verb `chemgpt`: train one language model, tracked as one MLflow run, and print its row of the grid."""
    if settings.seeds > 1:
        train_seeds(settings)
    else:
        train(settings, check_chemgpt, LanguageRun)


def train_force_field(settings: ForceFieldSettings) -> None:
    """The verb `forcefield`: train one force field, tracked as one MLflow run, and print its errors."""
    train(settings, check_force_field, ForceRun)


def train(settings: AnySettings, check: Callable[[AnySettings], None], kind: Callable[..., TrackedRun]) -> None:
    """Train one model from start to end, or from where it was interrupted."""
    saved = load_saved(settings.resume) if settings.resume else None
    if saved:
        if saved["verb"] != kind.VERB:  # type: ignore[attr-defined]
            raise UserError(
                f"resume must be a run of the same verb, {settings.resume} is one of {saved['verb']}; use that"
            )
        settings = type(settings).model_validate(saved["settings"] | {"resume": settings.resume})
    check(settings)
    fabric = start_fabric(settings)
    run_id = ""
    if fabric.is_global_zero:
        for dead in reap_dead_runs([experiment_id(settings.experiment)]):
            print(f"run {dead} had been killed; it can go on with resume={dead}", file=sys.stderr)
        run_id = adopt_run(settings.experiment, settings.resume)
    run_id = fabric.broadcast(run_id)
    with Stop() as stop, ended_properly(run_id, lambda: fabric.is_global_zero):
        try:
            kind(settings, fabric, run_id, stop, saved).train()
        except Diverged:  # to go on would only diverge again
            shutil.rmtree(run_folder(run_id), ignore_errors=True)
            raise
    sys.exit(stop.exit_code)


def train_seeds(settings: ChemGPTSettings) -> None:
    """Train the same language model from several seeds at once: a parent run with one child per seed."""
    if settings.resume:
        raise UserError(
            f"resume must be of one run, got seeds={settings.seeds} with it; leave seeds out, each goes on by itself"
        )
    check_chemgpt(settings)
    fabric = start_fabric(settings)
    if fabric.world_size > 1:
        raise UserError(
            f"seeds must be trained by one process, got {settings.seeds} in {fabric.world_size}; start one run per seed"
        )
    client, experiment = open_store(), experiment_id(settings.experiment)
    reap_dead_runs([experiment])
    parent = adopt_run(settings.experiment)
    waiting = [settings.seed + number for number in range(settings.seeds)]
    runs: list[LanguageRun] = []
    diverged: list[Diverged] = []

    def start() -> Generator[Step, None, None] | None:
        return member(waiting.pop(0)) if waiting and not stop.requested else None

    def member(seed: int) -> Generator[Step, None, None]:
        child = client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
        mark_process(client, child)
        try:
            with ended_properly(child):
                own = settings.model_copy(update={"seed": seed, "seeds": 1})
                run = LanguageRun(own, fabric, child, stop, None)
                run.prints = seed == settings.seed  # one of them shows the progress of all
                runs.append(run)
                yield from run.steps_due()
        except Diverged as error:
            diverged.append(error)
            shutil.rmtree(run_folder(child), ignore_errors=True)

    with Stop() as stop, ended_properly(parent):
        client.set_tag(parent, "mlflow.runName", f"chemgpt-{settings.seeds}-seeds")
        train_together(start, settings.seeds)
        if stop.requested:
            print(f"{stop.requested}; every seed goes on by its own resume=", file=sys.stderr)
            raise KeyboardInterrupt
        size = runs[0].shape.non_embedding_params
        client.set_tag(parent, "mlflow.runName", f"chemgpt-{size:.2g}-{settings.seeds}-seeds")
        done = [run.loss for run in runs if run.budgets[-1] in run.loss]
        if len(done) > 1:
            print(f"{'tokens':>14} {'mean of ' + str(len(done)) + ' seeds':>15} {'their sd':>9}")
        for budget in runs[0].budgets if len(done) > 1 else []:
            values = [loss[budget] for loss in done]
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            client.log_metric(parent, "seeds/mean_val_loss_nats_per_token", mean, step=budget)
            client.log_metric(parent, "seeds/sd_val_loss_nats_per_token", deviation, step=budget)
            print(f"{budget:>14,} {mean:>15.4f} {deviation:>9.4f}")
        if diverged:
            raise diverged[0]
    sys.exit(stop.exit_code)


def check_chemgpt(settings: ChemGPTSettings) -> None:
    """Refuse what can't work before anything is made or downloaded."""
    tasks.load_language(settings.task)
    if not settings.init:
        shape_for(settings.params, settings.ladder)
    check_device(settings)
    if settings.device != "cpu" and torch.cuda.is_available():
        if settings.precision == "fp64":
            raise UserError("precision must be bf16 or fp32 for ChemGPT on a GPU, got fp64; or use device=cpu")
        if not attention.available():
            raise UserError(
                "triton must be there for ChemGPT on a GPU, it is not; pip install triton, or use device=cpu"
            )


def check_force_field(settings: ForceFieldSettings) -> None:
    """Refuse what can't work before anything is made or downloaded."""
    check_name(settings.model)
    tasks.load_force(settings.task).on(settings.molecule, settings.data)
    check_device(settings)


def check_device(settings: TrainingSettings) -> None:
    """Refuse a GPU that is not there."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device must be there, got cuda and torch sees no GPU; use device=cpu or a CUDA build of torch")


def load_saved(run_id: str) -> dict[str, Any]:
    """The resume state of an interrupted run."""
    path = run_folder(run_id) / "state.pt"
    if not path.exists():
        raise UserError(
            f"resume must be an interrupted run of this machine, got {run_id!r} and there is no {path}; its tag "
            "chemscale.host names the machine, and CHEMSCALE_HOME may point to a folder that several share"
        )
    return checkpoints.load_state(path)

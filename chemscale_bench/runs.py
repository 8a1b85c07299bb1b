"""The training verbs: start a run or carry one on, and see to its end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.force_run import ForceRun
from chemscale_bench.language_run import LanguageRun
from chemscale_bench.models import attention
from chemscale_bench.models.force_fields import check_name, check_stacked
from chemscale_bench.models.sizes import shape_for
from chemscale_bench.seeds import train_seeds
from chemscale_bench.settings.training import ChemGPTSettings, ForceFieldSettings, TrainingSettings
from chemscale_bench.tracked_run import TrackedRun, run_folder
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, status_of
from chemscale_bench.training import checkpoints
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.loop import Diverged

AnySettings = TypeVar("AnySettings", bound=TrainingSettings)


def train_chemgpt(settings: ChemGPTSettings) -> None:
    """The verb `chemgpt`: train one language model, tracked as one MLflow run, and print its row of the grid."""
    train(settings, check_chemgpt, LanguageRun)


def train_force_field(settings: ForceFieldSettings) -> None:
    """The verb `forcefield`: train one force field, tracked as one MLflow run, and print its errors."""
    train(settings, check_force_field, ForceRun)


def train(settings: AnySettings, check: Callable[[AnySettings], None], kind: Callable[..., TrackedRun]) -> None:
    """Train one model from start to end, or from where it was interrupted, or from several seeds at once."""
    if settings.seeds > 1:
        check(settings)
        return train_seeds(settings, kind)
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
    if settings.seeds > 1:
        check_stacked("seeds", settings.seeds, settings.model)
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
        if status_of(run_id) == "FINISHED":
            raise UserError(f"resume must be an interrupted run, {run_id} is finished; start a new one without resume")
        raise UserError(
            f"resume must be an interrupted run of this machine, got {run_id!r} and there is no {path}; its tag "
            "chemscale.host names the machine, and CHEMSCALE_HOME may point to a folder that several share"
        )
    return checkpoints.load_state(path)

"""Start a run or carry one on, and see to its end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from chemscale_bench.data.cache import run_folder
from chemscale_bench.errors import UserError, first_line
from chemscale_bench.runs.seeds import train_seeds
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.tracking.adoption import adopt_run, launched_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, how_to_go_on, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, status_of
from chemscale_bench.training import checkpoints
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.loop import Diverged

FORMERLY = {"optimizer": "adamw"}
"""What runs had that were interrupted before there was the parameter."""


def train(settings: TrainingSettings, kind: type[TrackedRun]) -> None:
    """Train one model as `start` does, or several seeds at once, and exit."""
    if settings.seeds > 1:
        kind.check(settings)
        with memory_told(kind):
            train_seeds(settings, kind)
    else:
        sys.exit(start(settings, kind)[1])


def start(settings: TrainingSettings, kind: type[TrackedRun], prints: bool = True) -> tuple[TrackedRun, int]:
    """Train one model from start to end, or from where it was interrupted.

    Args:
        settings: of the kind's verb.
        kind: what is trained.
        prints: whether the run prints its results; its progress is shown anyway.

    Returns:
        The run, and the exit code: 0, or another if it was stopped before its end.
    """
    saved = load_saved(settings.resume) if settings.resume else None
    if saved:
        if saved["verb"] != kind.VERB:
            raise UserError(
                f"resume must be a run of the same verb, {settings.resume} is one of {saved['verb']}; use that"
            )
        before = {name: value for name, value in FORMERLY.items() if name in type(settings).model_fields}
        settings = type(settings).model_validate(before | saved["settings"] | {"resume": settings.resume})
    kind.check(settings)
    fabric = start_fabric(settings)
    there = False  # a run that is there anyway is told how it ended; another is made for data that can be used
    if fabric.is_global_zero:
        for dead in reap_dead_runs([experiment_id(settings.experiment)]):
            print(f"run {dead} had been killed; {how_to_go_on(dead)}", file=sys.stderr)
        there = bool(settings.resume or launched_run())
    with Stop() as stop, memory_told(kind):
        run = None if fabric.broadcast(there) else kind(settings, fabric, "", stop, saved)
        run_id = adopt_run(settings.experiment, settings.resume) if fabric.is_global_zero else ""
        run_id = fabric.broadcast(run_id)
        try:
            with ended_properly(run_id, lambda: fabric.is_global_zero):
                run = run or kind(settings, fabric, run_id, stop, saved)
                run.run_id, run.prints = run_id, run.prints and prints
                run.train()
        except Diverged:  # to go on would only diverge again
            shutil.rmtree(run_folder(run_id), ignore_errors=True)
            raise
    return run, stop.exit_code if run.trainer.stopped else 0  # asked after the last step, it has come to its end


@contextmanager
def memory_told(kind: type[TrackedRun]) -> Iterator[None]:
    """Say in one line that a training needs more memory than there is."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        more = ", or more GPUs with sharding=full" if "sharding" in kind.SETTINGS.model_fields else ""
        raise UserError(
            f"a training must fit the memory of its device, this one does not ({first_line(error)}); give "
            f"smaller params, a smaller {kind.BATCH}{more}"
        ) from None


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

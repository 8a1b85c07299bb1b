"""Which MLflow run a process works on: the one that `mlflow run` made for it, a new one, or one it resumes."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chemscale_bench.errors import UserError
from chemscale_bench.launcher import find_launcher, is_alive
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.tracking.charts import share_if_new
from chemscale_bench.tracking.families import below
from chemscale_bench.tracking.lifetime import LAUNCHED_RUN, PID_TAG, REASON_TAG, is_dead, is_of_project, mark_process
from chemscale_bench.tracking.settling import DELETED, FINAL_TAG, settle, settle_after_launcher
from chemscale_bench.tracking.store import experiment_id, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DEFAULT_EXPERIMENT: str = TrainingSettings.model_fields["experiment"].default
NOT_CHOSEN = ("Default", DEFAULT_EXPERIMENT)
"""Experiments that a run gets when the user names none: MLflow's, and the one of our plugin."""


def launched_run() -> Run | None:
    """The run that `mlflow run` made for this very process, if there is one.

    `MLFLOW_RUN_ID` may just as well name somebody else's run: that of a pipeline which calls the tool, or one whose id
    was left in the shell. Ours is an empty one that waits for an entry point of this project.

    Raises:
        UserError: if the variable names no run of this store.
    """
    run = named_by_environment()
    return run if run is not None and waits_for_us(run) else None


def named_by_environment() -> Run | None:
    """The run that `MLFLOW_RUN_ID` names."""
    from mlflow.exceptions import MlflowException

    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return None
    try:
        return open_store().get_run(run_id)
    except MlflowException:
        raise UserError(
            f"MLFLOW_RUN_ID must be the id of a run of this store, got {run_id!r} from the environment; "
            "unset MLFLOW_RUN_ID, or set MLFLOW_TRACKING_URI to its store"
        ) from None


def waits_for_us(run: Run) -> bool:
    """Whether a run is empty, and was made by `mlflow run` for an entry point of the project in this folder."""
    there = run.info.status == "RUNNING" and run.info.lifecycle_stage == "active"
    empty = there and not run.data.metrics and PID_TAG not in run.data.tags
    declared = Path("MLproject")
    here = declared.is_file() and "name: chemscale-bench" in declared.read_text(errors="replace").splitlines()
    source = Path(run.data.tags.get("mlflow.source.name", "").split("#")[0])
    # `mlflow run` clones a project with an address into a folder of its own, from which it starts us.
    elsewhere = source.exists() and source.resolve() != Path.cwd().resolve()
    return empty and here and is_of_project(run) and not elsewhere


def adopt_run(experiment: str, resume: str = "", shared: bool = False) -> str:
    """The id of the run to log to, RUNNING and marked with this process.

    Under `mlflow run` that is the run it has made, if that lies in `experiment` or in one the user chose with
    ``--experiment-name``; else a new one, a child of the run that somebody else's pipeline is at work on, if
    `MLFLOW_RUN_ID` names one. With `resume` it is that run again. A run of `mlflow run` that is not needed is deleted
    once `mlflow run` has ended. To be called once: the variable that names the run is taken out of the environment, so
    that processes started from here make runs of their own.

    Args:
        experiment: Name of the experiment that the verb logs to.
        resume: Id of the run to carry on, or nothing.
        shared: Whether another process may be at work on that run, too.

    Raises:
        UserError: if the run to resume is unknown, deleted, or still being worked on, or `MLFLOW_RUN_ID` names none.
    """
    client = open_store()
    named = named_by_environment()
    launched = named if named and waits_for_us(named) else None
    resumed = reopen(client, resume, shared) if resume else ""
    os.environ.pop("MLFLOW_RUN_ID", None)
    if resumed:
        run_id = resumed
    elif launched and in_right_experiment(client, launched, experiment):
        run_id = launched.info.run_id
        share_if_new(client, launched.info.experiment_id)
    else:
        above = {}
        if named and not launched:
            at_work = named.info.status == "RUNNING" and named.info.lifecycle_stage == "active"
            above = below(named.info.run_id) if at_work else {}
            what = "its child" if at_work else "a run of its own"
            print(f"MLFLOW_RUN_ID names a run of somebody else, {named.info.run_id}: this is {what}", file=sys.stderr)
        run_id = client.create_run(experiment_id(experiment), tags=origin(launched) | above).info.run_id
    if not (shared and is_worked_on(client.get_run(run_id))):
        mark_process(client, run_id)
    if launched and launched.info.run_id != run_id:
        give_up(client, launched.info.run_id, f"its work went on in run {run_id}")
    elif launched:
        os.environ[LAUNCHED_RUN] = launched.info.run_id
    return run_id


def give_up(client: MlflowClient, launched_id: str, reason: str) -> None:
    """Have a run that nothing was logged to deleted, one of `mlflow run` after that; its name is then the reason."""
    for name, value in {REASON_TAG: reason, "mlflow.runName": reason[:200], FINAL_TAG: DELETED}.items():
        client.set_tag(launched_id, name, value)
    if is_alive(find_launcher()):
        atexit.register(settle_after_launcher, launched_id)
    else:
        settle(client, launched_id)


def refused(reason: str) -> None:
    """Give up the run that `mlflow run` made for a call that was refused before it was adopted."""
    with suppress(Exception):  # the store may be what the call was refused for
        if launched := launched_run():
            give_up(open_store(), launched.info.run_id, f"refused: {reason}")


def in_right_experiment(client: MlflowClient, run: Run, experiment: str) -> bool:
    """Whether a run lies in the experiment that is wanted, or in one that the user chose on purpose."""
    name = client.get_experiment(run.info.experiment_id).name
    return name == experiment or name not in NOT_CHOSEN


def origin(launched: Run | None) -> dict[str, str]:
    """The tags that say where a run comes from: user, source, git commit and, under `mlflow run`, its name."""
    from mlflow.tracking.context.registry import resolve_tags

    if launched is None:
        tags: dict[str, str] = resolve_tags()
        return tags
    return {name: value for name, value in launched.data.tags.items() if name.startswith("mlflow.")}


def is_worked_on(run: Run) -> bool:
    """Whether a live process has marked a RUNNING run as its own."""
    return run.info.status == "RUNNING" and PID_TAG in run.data.tags and not is_dead(run)


def reopen(client: MlflowClient, run_id: str, shared: bool = False) -> str:
    """Set an interrupted run to RUNNING again."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException:
        raise UserError(f"resume must be the id of a run of this store, got {run_id!r}; `mlflow ui` shows it") from None
    if run.info.lifecycle_stage == "deleted":
        raise UserError(f"resume must not be a deleted run; bring it back: mlflow runs restore --run-id {run_id}")
    if is_worked_on(run) and not shared:
        where = f"process {run.data.tags[PID_TAG]} on {run.data.tags.get('chemscale.host')}"
        raise UserError(f"resume must be a run that has ended, {run_id} is RUNNING as {where}; wait for it or stop it")
    client.update_run(run_id, status="RUNNING")
    return run_id

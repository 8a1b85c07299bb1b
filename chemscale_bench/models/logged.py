"""Models that runs have logged, out of MLflow's store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from chemscale_bench.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities import Run


def find_run(run_id: str, name: str = "run") -> Run:
    """A run of this store.

    Args:
        run_id: its id.
        name: of the parameter that it was given by.

    Raises:
        UserError: if there is none.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(
            f"{name} must be a path that exists or the id of a run of this store, got {run_id!r}; check it and "
            "MLFLOW_TRACKING_URI"
        ) from None


def fetch_model(run_id: str, folder: str | Path, name: str = "run", artifact: str = "model") -> Path:
    """Copy the model of a run.

    Args:
        run_id: of the run.
        folder: takes it.
        name: of the parameter that the run was given by.
        artifact: `model`, or `models/TOKENS` for the model of an earlier budget.

    Returns:
        Where it lies in the folder.

    Raises:
        UserError: if there is no such run, or it has no such model.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # beside our own
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=artifact, dst_path=str(folder)))
    except (MlflowException, OSError):
        status = find_run(run_id, name).info.status
    if artifact != "model":
        raise UserError(
            f"budget must be one whose model {run_id} has kept, got {artifact.rpartition('/')[2]}; leave it out for "
            "the last model"
        )
    raise UserError(
        f"{name} must have a model among its artifacts, {run_id} has none (it is {status}); give a finished run, or "
        "the folder of a model"
    )

"""The forecast of a study, as its run in MLflow has it: written once, before the runs that it is about."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from chemscale_bench.errors import UserError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FILE, DIGEST, WRITTEN = "forecast.json", "forecast.sha256", "forecast.written"


def write_forecast(client: MlflowClient, run_id: str, text: str) -> None:
    """Log the record of a forecast, its sha256 and its time, as tags: whoever doubts it can see when it was made."""
    client.log_text(run_id, text, FILE)
    client.set_tag(run_id, DIGEST, hashlib.sha256(text.encode()).hexdigest())
    client.set_tag(run_id, WRITTEN, json.loads(text)["written"])


def read_forecast(client: MlflowClient, run_id: str) -> dict[str, Any] | None:
    """The forecast of a study, if one was written and is as it was written.

    Raises:
        UserError: if it has been changed since.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    digest = client.get_run(run_id).data.tags.get(DIGEST)
    if digest is None:
        return None
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/{FILE}")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise UserError(f"{FILE} of run {run_id} must have the sha256 of its tag, it was changed; restore it")
    record: dict[str, Any] = json.loads(text)
    return record

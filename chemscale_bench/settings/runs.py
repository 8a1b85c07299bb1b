"""Parameters of every verb that reads finished runs."""

from __future__ import annotations

from pydantic import Field

from chemscale_bench.settings.base import Settings


class RunsSettings(Settings):
    """Where runs come from, and how sure to be."""

    experiment: str = ""
    """MLflow experiment to read, or the run id of a study; failed, pruned and running runs are left out and counted."""
    table: str = ""
    """Instead of an experiment: a .csv or .parquet file with columns params, tokens, loss (seed, task, model)."""
    task: str = ""
    """Only the runs of this task; needed where an experiment holds several."""
    model: str = ""
    """Only the runs of this kind of model."""
    task_digest: str = ""
    """Only the runs of this version of the task; needed where an experiment holds several."""
    metric: str = "val/loss_nats_per_token"
    """Metric to fit, logged with the tokens (or frames) seen as its step."""
    level: float = Field(0.9, gt=0, lt=1)
    """Level of the intervals; with few runs they are calibrated at 0.9, and hold less than they say above it."""
    replicates: int = Field(1000, ge=100, le=100_000)
    """Bootstrap refits behind the intervals."""

"""Parameters of the verb `replay`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chemscale_bench.settings.base import Count, Settings


class ReplaySettings(Settings):
    """Grade pruners on recorded learning curves, without training: what they save, and whether they keep the best."""

    curves: str = ""
    """File: .csv or .parquet with columns trial, step, value (lower is better), Klein's .jsonl, TaskSet's .json.xz.
    With columns warmup and decay, shares of the steps, trials are compared at equal areas under their schedules."""
    experiment: str = ""
    """Instead of a file: MLflow experiment whose finished child runs give the curves."""
    metric: str = "val/force_mae_mev_per_angstrom"
    """Metric of those runs; of language models train/loss_nats_per_token, its decay included."""
    pruners: str = (
        "performance,performance_careful,performance_bold,paper,none,median_20,successive_halving_10,hyperband"
    )
    """Who is graded, with commas; also percentile_25, successive_halving, patient_median."""
    trials: Count = Field(60, ge=10, le=10_000)
    """Trials of a study."""
    studies: Count = Field(50, ge=2, le=10_000)
    """Studies: random draws of trials from the curves, in random order."""
    stress: Literal["none", "noise", "no_information", "drift"] = "none"
    """Noise on the reports, exchanged first halves, or trials that tend to get better."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the draws."""
    out: str = ""
    """File for the table as .csv; none is written if empty."""
    log: bool = True
    """Log table and figures to an MLflow run."""

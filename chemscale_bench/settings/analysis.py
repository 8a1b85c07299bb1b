"""Parameters of the verbs that work on finished runs, on entries, and on this machine."""

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


class RunsSettings(Settings):
    """Where runs come from, and how sure to be."""

    experiment: str = ""
    """MLflow experiment to read; failed, pruned and running runs are left out and counted."""
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
    """Level of the intervals."""
    replicates: int = Field(1000, ge=100, le=100_000)
    """Bootstrap refits behind the intervals."""


class FitSettings(RunsSettings):
    """Fit scaling laws to runs: exponents, regimes, the compute-optimal frontier, with intervals and figures."""

    out: str = ""
    """Folder for fit.json and the figures as .html files; none are written if empty."""
    log: bool = True
    """Log numbers and figures to one MLflow run."""


class PlanSettings(RunsSettings):
    """How to spend a budget: model size, tokens and expected loss, and what being off by a factor of two costs."""

    fit: str = ""
    """Instead of runs: a fit.json that `fit` wrote, as a path or as runs:/RUN_ID/fit.json."""
    flops: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Budget in training FLOPs."""
    gpu_hours: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Budget in GPU-hours instead (GPUs times hours); needs `device`."""
    device: str = "h200"
    """GPU of that budget: h200, h100, a100, ..."""
    mfu: float = Field(0.4, gt=0, le=1)
    """Share of the device's bf16 peak that training reaches; runs log theirs as speed/mfu."""


class SubmitSettings(Settings):
    """Write a leaderboard entry from finished runs, and verify it; nothing is sent anywhere."""

    run: str = ""
    """Name of an experiment, or id of a run (with all its children, if it has any)."""
    submitter: str = ""
    """Your name, or your group's, as the board shall show it."""
    task: str = ""
    """Only the runs of this task; needed where the experiment holds several."""
    model: str = ""
    """Only the runs of this kind of model."""
    task_digest: str = ""
    """Only the runs of this version of the task."""
    description: str = ""
    """What is special about the study, in a sentence."""
    link: str = ""
    """https:// address of a paper or repository."""
    checkpoint: Literal["best", "all", "none"] = "best"
    """Which runs' checkpoints come along; without the best one an entry can't be reproduced."""
    checkpoint_url: str = ""
    """https:// address of a folder where you publish the checkpoints as RUN_ID/model.safetensors, if they are large."""
    out: str = "leaderboard/entries"
    """Folder of all entries."""


class VerifySettings(Settings):
    """Say how far an entry can be trusted: valid, consistent or reproduced, and why not further."""

    entry: str = ""
    """Path of the entry's .json file."""
    level: Literal["valid", "consistent", "reproduced"] = "valid"
    """Least level; below it the exit code is 2."""
    checkpoints: str = ""
    """Folder with RUN_ID/config.json and RUN_ID/model.safetensors, for checkpoints that are published elsewhere."""
    data: str = ""
    """Your copy of the submitter's data file, for a task on a file; or of the official frames, without a network."""
    test_data: str = ""
    """Your copy of the test frames, where they are in a file of their own."""


class LeaderboardSettings(Settings):
    """Rank entries, your own experiments and published results; write the page and log it to an MLflow run."""

    source: str = "leaderboard/entries"
    """Folder of entries; none if empty."""
    experiment: str = ""
    """MLflow experiment of your own to show beside them: where would you stand?"""
    out: str = "leaderboard/index.html"
    """Where to write the page."""
    verify: Literal["consistent", "reproduced"] = "consistent"
    """How far to verify entries; `reproduced` computes losses again from the checkpoints, which takes minutes."""
    flops: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Training FLOPs at which losses are predicted; 0 is the most that any run of the task has used."""
    level: float = Field(0.9, gt=0, lt=1)
    """Level of the intervals."""
    log: bool = True
    """Log the page and the table to an MLflow run."""


class SpeedSettings(Settings):
    """Measure on this machine how fast we are, against what you would use instead and against what it can do."""

    suite: str = "quick"
    """Suites of benchmarks/speed, with commas, or `all`; `quick` is some of them, about 5 minutes on two cores."""

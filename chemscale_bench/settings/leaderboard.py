"""Parameters of the verb `leaderboard`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chemscale_bench.settings.base import Settings


class LeaderboardSettings(Settings):
    """Rank entries, your own experiments and published results; write the page and log it to an MLflow run."""

    source: str = "auto"
    """Folder of entries; `auto` is leaderboard/entries here, else what comes with the package; none if empty."""
    experiment: str = ""
    """MLflow experiment of your own to show beside them: where would you stand?"""
    out: str = "leaderboard/index.html"
    """Where to write the page."""
    verify: Literal["consistent", "reproduced"] = "consistent"
    """How far to verify entries; `reproduced` computes losses again from the checkpoints, and draws molecules
    again, which takes minutes each."""
    flops: float = Field(0.0, ge=0)
    """Training FLOPs at which losses are predicted; 0 is the most that any run of the task has used."""
    level: float = Field(0.9, gt=0, lt=1)
    """Level of the intervals."""
    log: bool = True
    """Log the page and the table to an MLflow run."""

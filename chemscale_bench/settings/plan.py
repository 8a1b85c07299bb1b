"""Parameters of the verb `plan`."""

from __future__ import annotations

from pydantic import Field

from chemscale_bench.settings.runs import RunsSettings


class PlanSettings(RunsSettings):
    """How to spend a budget: model size, tokens and expected loss, and what being off by a factor of two costs."""

    fit: str = ""
    """Instead of runs: a fit.json that `fit` wrote, as a path or as runs:/RUN_ID/fit.json."""
    flops: float = Field(0.0, ge=0)
    """Budget in training FLOPs."""
    gpu_hours: float = Field(0.0, ge=0)
    """Budget in GPU-hours instead (GPUs times hours); needs `device`."""
    device: str = "h200"
    """GPU of that budget: h200, h100, a100, ..."""
    mfu: float = Field(0.4, gt=0, le=1)
    """Share of the device's bf16 peak that training reaches; runs log theirs as speed/mfu."""

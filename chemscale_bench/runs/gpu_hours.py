"""A study's budget in hours of GPUs, as hours of the clock."""

from __future__ import annotations

import sys

import torch

from chemscale_bench.errors import UserError
from chemscale_bench.runs.engines.start import read_options
from chemscale_bench.settings.study import StudySettings


def by_the_clock(settings: StudySettings, prints: bool) -> StudySettings:
    """Settings with `hours` in place of `gpu_hours`, for the GPUs that the workers of this command hold until its end.

    Raises:
        UserError: if another budget is given too, or no worker has a GPU.
    """
    given = {name: value for name in ("hours", "gpu_hours", "flops") if (value := getattr(settings, name))}
    if len(given) > 1:
        text = " and ".join(f"{name}={value:g}" for name, value in given.items())
        raise UserError(f"a study has one budget, got {text}; leave one out")
    if not settings.gpu_hours:
        return settings
    gpus = gpus_of(settings, torch.cuda.device_count())
    if not gpus:
        raise UserError(
            f"gpu_hours needs workers with GPUs, got gpu_hours={settings.gpu_hours:g} and none has one; give hours=, "
            "or with engine=ray num_gpus=1 in engine_options"
        )
    hours = settings.gpu_hours / gpus
    if prints:
        print(f"gpu_hours={settings.gpu_hours:g} of {gpus:g} GPUs are hours={hours:.3g}", file=sys.stderr)
    return settings.model_copy(update={"hours": hours, "gpu_hours": 0.0})


def gpus_of(settings: StudySettings, here: int) -> float:
    """GPUs that the workers hold.

    Args:
        settings: of the study.
        here: GPUs of this machine, which its workers share; a job of Slurm has one, a task of Ray what it asks for.
    """
    if settings.engine == "slurm":
        return settings.workers
    if settings.engine == "ray":
        try:
            return settings.workers * float(read_options(settings.engine_options).get("num_gpus", 0))
        except ValueError:  # no number
            return 0.0
    return min(settings.workers, here)

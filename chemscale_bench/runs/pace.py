"""How fast this machine trains a model of a size: a few real optimizer steps, before anything is promised."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any, NamedTuple

import torch

from chemscale_bench.runs.language import LanguageRun
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.training.contracts import Events
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.learner import Measurement

SECONDS, STEPS = 1.0, 3
"""Measured for so long, and so many steps at least."""


class Pace(NamedTuple):
    """What a size costs here."""

    params: int
    """As built."""
    start: float
    """Seconds from nothing to the first step."""
    per_unit: float
    """Seconds per token or frame."""
    flops_per_unit: float
    rate_factor: float = 1.0
    """What a learning rate of the base shape is multiplied by to be typed for this size."""
    step: float = 0.0
    """Tokens or frames of an optimizer step."""
    measured: bool = True
    """Whether this size was trained for it, or it is told from another."""
    learning_rate: float = 0.0
    """That it was trained with, as it would be typed for this size."""


class Quiet(Events):
    """Records nothing."""


def measure_pace(kind: type[TrackedRun], settings: TrainingSettings, fabric: Fabric, stop: Stop) -> Pace:
    """Train a model for a moment, from the middle of its budget on, where batches have the size that most have."""
    began = time.perf_counter()
    run: Any = kind(settings, fabric, "", stop, None)
    trainer = run.trainer
    trainer.events = Quiet()  # type: ignore[abstract]  # what it does not override does nothing
    trainer.peak_rates = [0.0 for _ in trainer.peak_rates]  # without its warm-up it might diverge
    trainer.objective.diverged_loss = math.inf
    if isinstance(run, LanguageRun):
        trainer.position = run.budgets[-1] // 2
    start = time.perf_counter() - began
    times, per_unit, amount = [], [], 0
    for step in trainer.steps_due():
        if isinstance(step, Measurement):
            continue
        before = time.perf_counter()
        trainer.perform(step)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        times.append(time.perf_counter() - before)
        amount = step.amount
        per_unit.append(times[-1] / amount)
        if len(times) > STEPS and sum(times[1:]) > SECONDS:
            break
    params = int(run.params()["non_embedding_params"])
    # The first step warms up, and others may disturb a few.
    per = statistics.median(per_unit[1:] or per_unit)
    return Pace(params, start, per, run.flops_per_unit, run.rate_factor, amount, learning_rate=run.learning_rate)


def undisturbed(paces: dict[int, Pace]) -> dict[int, Pace]:
    """Paces without what others took from the machine meanwhile: no size is slower than a larger one."""
    found: dict[int, Pace] = {}
    start = per_unit = math.inf
    for size in sorted(paces, reverse=True):
        start, per_unit = min(start, paces[size].start), min(per_unit, paces[size].per_unit)
        found[size] = paces[size]._replace(start=start, per_unit=per_unit)
    return {size: found[size] for size in paces}

"""How fast a force field learns: its learning rate and its warm-up, from the length of the run."""

from __future__ import annotations

import math

from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.settings.forcefield import ForceFieldSettings

LEAST_WARMUP = 20  # steps, unless there are fewer than twice as many, or no warm-up is wanted at all
SHORT = 5_000
"""Steps up to which the rates of short runs hold."""


def warmup_share(settings: ForceFieldSettings, steps: int) -> float:
    """The share of the steps spent on warm-up, at least `LEAST_WARMUP` of them.

    Random weights of some models give forces far too large, and full rates at once would throw them off.
    """
    return max(settings.warmup, min(LEAST_WARMUP / steps, 0.5)) if settings.warmup else 0.0


def rate_factor(model: str, width: int, steps: int) -> float:
    """What a model's `PEAK_RATE` is multiplied by.

    Wider networks learn at less, and longer runs, with the square root of their steps: at the rates that are best for
    short ones PaiNN and SchNet diverged after 12,000 and 16,000 of 100,000 steps (benchmarks/force_fields.md).
    """
    tuned_at: int = FORCE_FIELDS.family(model).PEAK_RATE[1]
    return min(1, tuned_at / width) * min(1, math.sqrt(SHORT / steps))

"""Pruners by name, each made for the last step of a full trial and a seed."""

from __future__ import annotations

from collections.abc import Callable

from optuna import pruners
from optuna.pruners import BasePruner

from chemscale_bench.errors import UserError, did_you_mean
from chemscale_bench.tuning.pruner import TrainingPerformancePruner

CAREFUL_MISS, BOLD_MISS = 0.01, 0.25

PRUNERS: dict[str, Callable[[int, int], BasePruner]] = {
    "performance": lambda budget, seed: TrainingPerformancePruner(budget=budget, seed=seed),
    "performance_careful": lambda budget, seed: TrainingPerformancePruner(budget=budget, miss=CAREFUL_MISS, seed=seed),
    "performance_bold": lambda budget, seed: TrainingPerformancePruner(budget=budget, miss=BOLD_MISS, seed=seed),
    "paper": lambda budget, seed: TrainingPerformancePruner(budget=budget, rule="paper", seed=seed),
    "none": lambda budget, seed: pruners.NopPruner(),
    "median": lambda budget, seed: pruners.MedianPruner(),
    "median_20": lambda budget, seed: pruners.MedianPruner(n_warmup_steps=budget // 5),
    "percentile_25": lambda budget, seed: pruners.PercentilePruner(25.0, n_warmup_steps=budget // 10),
    "successive_halving": lambda budget, seed: pruners.SuccessiveHalvingPruner(),
    "successive_halving_10": lambda budget, seed: pruners.SuccessiveHalvingPruner(max(1, budget // 10), 3),
    "hyperband": lambda budget, seed: pruners.HyperbandPruner(max(1, budget // 10), budget, 3),
    "patient_median": lambda budget, seed: pruners.PatientPruner(pruners.MedianPruner(), patience=3),
}
"""Ours, the paper's rule, and Optuna's; WilcoxonPruner compares instances of one problem, which curves are not."""


def check_pruners(names: list[str]) -> None:
    """Refuse names that are no pruner's.

    Raises:
        UserError: naming the nearest one.
    """
    for name in names:
        if name not in PRUNERS:
            hint = did_you_mean(name, PRUNERS, f"there are {', '.join(PRUNERS)}")
            raise UserError(f"pruners must be names of pruners, got {name!r}; {hint}")

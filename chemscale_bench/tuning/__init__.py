"""Stop the training runs that will lose: estimators of the final loss, and an Optuna pruner that uses them.

Needs neither MLflow nor torch, and of the rest of this package the shape of its schedules only.
"""

from chemscale_bench.tuning.decision import Decision
from chemscale_bench.tuning.pruner import TrainingPerformancePruner

__all__ = ["Decision", "TrainingPerformancePruner"]

"""Stop the training runs that will lose: estimators of the final loss, and an Optuna pruner that uses them.

Needs nothing of the rest of this package, neither MLflow nor torch.
"""

from chemscale_bench.tuning.decision import Decision
from chemscale_bench.tuning.pruner import TrainingPerformancePruner

__all__ = ["Decision", "TrainingPerformancePruner"]

"""An Optuna pruner that stops the trials that will lose, by where their learning curves stand early on."""

from ._decision import Decision
from ._pruner import TrainingPerformancePruner

__all__ = ["Decision", "TrainingPerformancePruner"]

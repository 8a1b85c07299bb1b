"""Stop the training runs that will lose: an Optuna pruner, and what it decides by.

- `judge.py` reports a run to its trial and asks `pruner.py`, which ranks the trial and decides;
- `curves.py` and `estimators.py` smooth what was reported, `gates.py` says how far behind is too far, `prediction.py`
  foretells final losses, `decision.py` records;
- `study.py` opens an Optuna study; `named.py` has pruners by name; `replay.py` grades them on recorded curves.

Needs neither MLflow nor torch, and of the rest of this package the shape of its schedules only.
"""

from chemscale_bench.tuning.decision import Decision
from chemscale_bench.tuning.pruner import TrainingPerformancePruner

__all__ = ["Decision", "TrainingPerformancePruner"]

"""What a notebook calls: `import chemscale_bench as cs`, then `cs.fit(...)` and so on; loaded when first asked for.

- `training.py` trains: `train`, `study`, `tune`.
- `runs.py` reads and fits what was trained:
  `list_tasks`, `read_runs`, `fit`, `plan`, `replay`, `read_leaderboard`, `verify`.
- `models.py` puts a trained model to use: `load`, `generate`, `probe`, `simulate`.

Nothing here prints results or exits; what a user can put right is raised as a `UserError`. Progress of long work and
notes on it go to standard error.
"""

from chemscale_bench.library.models import generate, load, probe, simulate
from chemscale_bench.library.runs import fit, list_tasks, plan, read_leaderboard, read_runs, replay, verify
from chemscale_bench.library.training import Run, study, train, tune

__all__ = [
    "Run", "fit", "generate", "list_tasks", "load", "plan", "probe", "read_leaderboard", "read_runs", "replay",
    "simulate", "study", "train", "tune", "verify",
]  # fmt: skip

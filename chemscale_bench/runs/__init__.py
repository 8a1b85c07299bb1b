"""What one tracked training is, and what many of them are.

- `start.py` starts a run or carries one on, and sees to its end; `seeds.py` starts one per seed;
- `kind.py` is what a kind of run has to say for itself, `language.py` and `force.py` say it;
- `tracked.py` is what all runs share: progress bar, MLflow run, cost, resume state, a clean stop; `clock.py` counts
  time;
- `sweep.py` trains the trials of a study, which `queue.py` hands out to any number of processes.

A run is told by `training.loop.Trainer` what happens (`report`, `budget_reached`, `save`), and tells MLflow.
"""

"""What one tracked training is, and what many of them are.

- `start.py` starts a run or carries one on, and sees to its end; `seeds.py` starts one per seed;
- `kind.py` is what a kind of run has to say for itself, `language.py` and `force.py` say it, `molecules.py` and
  `frames.py` of their data;
- `tracked.py` is what all runs share: progress bar, MLflow run, cost, resume state, a clean stop; `clock.py` counts
  time;
- `sweep.py` searches hyperparameters: trains the trials that `queue.py` hands out to any number of processes;
- `study.py` makes a scaling study: trains by `study_plan.py`, in groups (`group.py`), the cells of `cells.py`, at the
  pace of `pace.py`, with workers that `engines/` starts, and tells what was found by `study_report.py`,
  as a `study_result.py`;
- `trained.py` finds the models of an experiment, for all that looks at many;
- `generation.py` draws from the trained models that `checkpoint.py` finds, and measures what they draw; `quality.py`
  does so with many, and `quality_report.py` tells how good that is over their losses;
  `publication.py` makes a repository of the Hugging Face hub of one;
- `shared.py` is what both share: an Optuna storage and a parent run; `kinds.py` says which kind a task asks for.

A run is told by `training.loop.Trainer` what happens (`report`, `budget_reached`, `save`), and tells MLflow.
"""

"""Keep the curves of a study that was not pruned, for replays: long form, one row per trial and report.

Steps are units of the training, which the trial's own schedule makes of the study's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from chemscale_bench.training.schedules import ForwardArea
from chemscale_bench.tuning.study import REPORTS, open_storage


def curves(storage: str, name: str) -> pd.DataFrame:
    """Columns trial, step, value and one per hyperparameter; a trial's last value is its final objective."""
    import optuna

    rows = []
    study = optuna.load_study(storage=open_storage(storage, Path()), study_name=name)
    budget = study.user_attrs["units_per_trial"]
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.COMPLETE and trial.value is not None:
            shares = trial.user_attrs.get("schedule", trial.params)  # where it is not searched
            schedule = ForwardArea(shares["warmup"], shares["decay"])
            reports = sorted(trial.intermediate_values.items())
            values = {round(budget * float(schedule.positions_at(step / REPORTS))): value for step, value in reports}
            values[budget] = trial.value
            about = {"trial": trial.number, "warmup": shares["warmup"], "decay": shares["decay"]} | trial.params
            rows += [about | {"step": step, "value": value} for step, value in values.items()]
    return pd.DataFrame(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage", help="of the study: a journal file or a database URL")
    parser.add_argument("study", help="its name")
    parser.add_argument("out", help=".parquet file to write")
    given = parser.parse_args()
    table = curves(given.storage, given.study)
    single = {name: "float32" for name in table.columns if name not in ("trial", "step")}
    table.astype(single).to_parquet(given.out, index=False, compression="zstd")
    print(f"{table['trial'].nunique()} trials, {len(table)} reports, {Path(given.out).stat().st_size / 1e3:.0f} kB")

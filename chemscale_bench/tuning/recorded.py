"""Recorded learning curves: read from files, on one grid of steps, and put under stress.

Formats, told by their names:

| file | content |
|---|---|
| .csv, .parquet | long form, one row per report: columns `trial`, `step`, `value` |
| .jsonl | one trial per line with a list `learning_curve` of errors (Klein et al. 2017) |
| .json, .json.xz | a list of trials, losses in `valid`, `loss`, null after a divergence (TaskSet, Metz et al. 2020) |

A long form may have the columns `warmup` and `decay`, shares of a trial's steps: then its reports are put where `tune`
puts them, at equal shares of the area under the schedule. Other columns are ignored.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.delimited import read_csv
from chemscale_bench.errors import UserError
from chemscale_bench.training.schedules import ForwardArea
from chemscale_bench.tuning.estimators import Array

POINTS = 50  # at most, of a curve whose reports lie at other steps than its neighbours'
Stress = Literal["none", "noise", "no_information", "drift"]
NOISE = 0.3  # of the interquartile range of the final values


class Curves(NamedTuple):
    """Curves on one grid; lower is better, a NaN is a divergence."""

    name: str
    values: Array
    """Shape (trials, steps); the last column holds the final values."""
    spent: Array
    """Share of the budget that a trial has used up to each report, shape (trials, steps)."""
    left_out: int = 0
    """How many more trials there were that did not run to the end."""

    @property
    def final(self) -> Array:
        """Final values (trials,), infinite where a trial diverged."""
        return np.where(np.isfinite(self.values[:, -1]), self.values[:, -1], np.inf)

    def draw(self, trials: int, generator: np.random.Generator, stress: Stress = "none") -> Curves:
        """One study: so many of the trials at random, in random order.

        Args:
            trials: of the study.
            generator: of the draw.
            stress: `noise` on every report but the last; `no_information`: the first halves of the curves are
                exchanged between trials; `drift`: later trials tend to be better, as under a good sampler.
        """
        chosen = generator.choice(len(self.values), min(trials, len(self.values)), replace=False)
        values, spent = self.values[chosen].copy(), self.spent[chosen]
        final = np.where(np.isfinite(values[:, -1]), values[:, -1], np.inf)
        if stress == "noise":
            spread = np.subtract(*np.quantile(final[np.isfinite(final)], [0.75, 0.25]))
            values[:, :-1] += generator.normal(0, NOISE * spread, values[:, :-1].shape)
        elif stress == "no_information":
            half = values.shape[1] // 2
            values[:, :half] = values[generator.permutation(len(values)), :half]
        elif stress == "drift":
            rank = np.argsort(np.argsort(-final))
            order = np.argsort(rank + generator.normal(0, len(values) / 3, len(values)))
            values, spent = values[order], spent[order]
        return Curves(self.name, values, spent)


def from_long(table: pd.DataFrame, name: str) -> Curves:
    """Curves from a table in long form, interpolated to as many points as trials report, 50 at most.

    Raises:
        UserError: if a column is missing, or no trial has reported up to the last step.
    """
    missing = [column for column in ("trial", "step", "value") if column not in table]
    if missing:
        raise UserError(
            f"curves need the columns trial, step and value, {name} has {', '.join(map(str, table.columns))}; "
            f"add {', '.join(missing)}"
        )
    scheduled = {"warmup", "decay"} <= set(table)
    table = table if scheduled else table.assign(warmup=0.0, decay=0.0)
    numbers = table[["step", "value", "warmup", "decay"]].apply(pd.to_numeric, errors="coerce")
    if numbers["step"].isna().any():
        raise UserError(f"steps must be numbers, {name} has some that are not; mend the file")
    for column in ("warmup", "decay"):
        wrong = table[column][~numbers[column].between(0, 1)]
        if len(wrong):
            raise UserError(
                f"{column} must be a share of the steps, 0 to 1, {name} has {wrong.iloc[0]}; mend it, or leave out "
                "the columns warmup and decay"
            )
    budget = float(numbers["step"].max())
    points = min(POINTS, int(table.groupby("trial").size().median()))
    grid = np.arange(1, points + 1) / points
    rows, spent = [], []
    for _, part in table.assign(**numbers).groupby("trial"):
        part = part.sort_values("step").drop_duplicates("step", keep="last")
        last = float(part["step"].iloc[-1])
        if last < 0.98 * budget:  # batches of other sizes end at other steps
            continue
        shares = part["step"].to_numpy(float) / last
        warmup, decay = part[["warmup", "decay"]].iloc[0]
        places = ForwardArea(warmup, decay).at(shares) if scheduled else shares
        row = np.interp(grid, places, part["value"])
        row[-1] = part["value"].iloc[-1]
        rows.append(row)
        behind = np.searchsorted(places, grid - 1e-9)  # a point is known once the report at or behind it is there
        spent.append(shares[np.minimum(behind, len(shares) - 1)])
    return _checked(rows, name, spent)._replace(left_out=table["trial"].nunique() - len(rows))


def read(path: str) -> Curves:
    """Curves from a file.

    Raises:
        UserError: if it can't be read, or holds too few trials that ran to the end.
    """
    file = Path(path).expanduser()
    name = file.name.partition(".")[0]
    try:
        if file.suffix == ".parquet":
            return from_long(pd.read_parquet(file), file.name)
        if file.suffix == ".csv":
            return from_long(read_csv(file), file.name)
        if file.suffix == ".jsonl":
            lines: list[Any] = [json.loads(line) for line in file.read_text().splitlines()]
            return _checked([line["learning_curve"] for line in lines], name)
        if file.suffix in (".json", ".xz"):
            text = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
            return _checked([trial["valid"]["loss"] for trial in json.loads(text)], name)
    except (OSError, KeyError, TypeError, ValueError, lzma.LZMAError) as error:
        raise UserError(f"curves must be a readable file of trials, got {path!r} ({error}); see --help") from None
    raise UserError(f"curves must be a .csv, .parquet, .jsonl, .json or .json.xz file, got {path!r}; convert it")


def _checked(rows: list[Any], name: str, spent: list[Array] | None = None) -> Curves:
    """Curves of equal length, their reports at equal distances unless `spent` tells otherwise."""
    length = max(map(len, rows), default=0)
    whole = [row for row in rows if len(row) == length]
    if len(whole) < 10 or length < 5:
        raise UserError(
            f"curves need at least 10 trials of at least 5 reports that ran to the end, {name} has {len(whole)} of "
            f"{length}; record more, without pruning"
        )
    values = np.array(whole, dtype=float)
    even = np.broadcast_to(np.arange(1, length + 1) / length, values.shape)
    return Curves(name, values, even if spent is None else np.array(spent), len(rows) - len(whole))


def from_experiment(experiment: str, metric: str) -> Curves:
    """The curves of an experiment's finished children; a killed one has no final value."""
    from chemscale_bench.tracking.reader import read_curves, runs_of_experiment

    runs = [
        run for run in runs_of_experiment(experiment) if run.status == "FINISHED" and "mlflow.parentRunId" in run.tags
    ]
    names = [metric, metric.replace("train/", "decay/")]  # a language model's is logged by halves
    points = read_curves([run.run_id for run in runs], list(dict.fromkeys(names)))
    if points.empty:
        raise UserError(
            f"experiment must hold finished children with {metric}, {experiment!r} has none; name "
            "another metric, or run tune with pruner=none"
        )
    # Those of `tune` have one budget, and a schedule of their own.
    if all("trial" in run.tags and {"warmup", "decay"} <= run.params.keys() for run in runs):
        for name in ("warmup", "decay"):  # a tag has the share of the trial, where the parameter is one of less
            points[name] = points["run"].map(
                {run.run_id: run.tags.get(f"schedule.{name}", run.params[name]) for run in runs}
            )
    return from_long(points.rename(columns={"run": "trial"}), experiment)

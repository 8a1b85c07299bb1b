"""Recorded learning curves: read from files, on one grid of steps, and put under stress.

Formats, told by their names:

| file | content |
|---|---|
| .csv, .parquet | long form, one row per report: columns `trial`, `step`, `value`; others are ignored |
| .jsonl | one trial per line with a list `learning_curve` of errors (Klein et al. 2017) |
| .json, .json.xz | a list of trials, losses in `valid`, `loss`, null after a divergence (TaskSet, Metz et al. 2020) |
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.tuning.estimators import Array

POINTS = 50  # at most, of a curve whose reports lie at other steps than its neighbours'
Stress = Literal["none", "noise", "no_information", "drift"]
NOISE = 0.3  # of the interquartile range of the final values


class Curves(NamedTuple):
    """Curves on one grid; lower is better, a NaN is a divergence."""

    name: str
    values: Array
    """Shape (trials, steps); the last column holds the final values."""

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
        values = self.values[chosen].copy()
        final = np.where(np.isfinite(values[:, -1]), values[:, -1], np.inf)
        if stress == "noise":
            spread = np.subtract(*np.quantile(final[np.isfinite(final)], [0.75, 0.25]))
            values[:, :-1] += generator.normal(0, NOISE * spread, values[:, :-1].shape)
        elif stress == "no_information":
            half = values.shape[1] // 2
            values[:, :half] = values[generator.permutation(len(values)), :half]
        elif stress == "drift":
            rank = np.argsort(np.argsort(-final))
            values = values[np.argsort(rank + generator.normal(0, len(values) / 3, len(values)))]
        return Curves(self.name, values)


def from_long(table: pd.DataFrame, name: str) -> Curves:
    """Curves from a table in long form, interpolated to as many steps as trials report, 50 at most.

    Raises:
        UserError: if a column is missing, or no trial has reported up to the last step.
    """
    missing = [column for column in ("trial", "step", "value") if column not in table]
    if missing:
        raise UserError(
            f"curves need the columns trial, step and value, {name} has {', '.join(map(str, table.columns))}; "
            f"add {', '.join(missing)}"
        )
    numbers = table[["step", "value"]].apply(pd.to_numeric, errors="coerce")
    if numbers["step"].isna().any():
        raise UserError(f"steps must be numbers, {name} has some that are not; mend the file")
    budget = float(numbers["step"].max())
    points = min(POINTS, int(table.groupby("trial").size().median()))  # more would let a report know the next one
    grid = np.linspace(budget / points, budget, points)
    rows = []
    for _, part in numbers.groupby(table["trial"]):
        part = part.sort_values("step").drop_duplicates("step", keep="last")
        if part["step"].iloc[-1] >= 0.98 * budget:  # batches of other sizes end at other steps
            row = np.interp(grid, part["step"], part["value"])
            row[-1] = part["value"].iloc[-1]
            rows.append(row)
    return _checked(rows, name)


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
            return from_long(pd.read_csv(file), file.name)
        if file.suffix == ".jsonl":
            lines: list[Any] = [json.loads(line) for line in file.read_text().splitlines()]
            return _checked([line["learning_curve"] for line in lines], name)
        if file.suffix in (".json", ".xz"):
            text = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
            return _checked([trial["valid"]["loss"] for trial in json.loads(text)], name)
    except (OSError, KeyError, TypeError, ValueError, lzma.LZMAError) as error:
        raise UserError(f"curves must be a readable file of trials, got {path!r} ({error}); see --help") from None
    raise UserError(f"curves must be a .csv, .parquet, .jsonl, .json or .json.xz file, got {path!r}; convert it")


def _checked(rows: list[Any], name: str) -> Curves:
    """Curves of equal length."""
    length = max(map(len, rows), default=0)
    whole = [row for row in rows if len(row) == length]
    if len(whole) < 10 or length < 5:
        raise UserError(
            f"curves need at least 10 trials of at least 5 reports that ran to the end, {name} has {len(whole)} of "
            f"{length}; record more, without pruning"
        )
    return Curves(name, np.array(whole, dtype=float))

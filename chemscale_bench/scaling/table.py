"""Tables of runs: what columns they have, and one-line errors for what is wrong with them.

| column | meaning |
|---|---|
| params | non-embedding parameters of the model |
| tokens | training tokens at which the loss was measured (or `frames` for a force field) |
| loss | validation loss or error there; positive, lower is better, one metric and unit throughout |
| seed, task, task_digest, model, run_id | optional: seed of the run, task and its version, kind of model, the run |
| metric | optional: name of the metric in `loss` |
| status | optional: FINISHED rows are kept, any other (failed, pruned, running) is left out and counted |
| lr, bs, ... | optional: hyperparameters; where several were tried for one setting, the best row of it counts |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.forms import Array

REQUIRED = ("params", "tokens", "loss")
OPTIONAL = ("seed", "task", "task_digest", "model", "run_id", "metric", "status")
SEARCHED = (
    "lr", "learning_rate", "max_lr", "peak_lr", "bs", "batch", "batch_size", "batch_tokens", "batch_frames",
    "global_batch_size", "warmup", "warmup_steps", "wd", "weight_decay", "decay", "beta1", "beta2", "dropout",
    "momentum", "clip",
)  # fmt: skip
"""Hyperparameters, by the names that their columns have."""
FEWEST_COUNTED = {"params": 1000.0, "tokens": 10_000.0, "frames": 1.0}
"""Smaller values than these are counts written in millions or billions by mistake."""


class DataError(UserError, ValueError):
    """Numbers that no law can be fitted to; a ValueError, too, as scikit-learn expects of its estimators."""


class RunTable(NamedTuple):
    """Validated runs, one row per (run, budget)."""

    frame: pd.DataFrame
    """Columns params, tokens, loss (float), and those of the optional columns that were given."""
    left_out: dict[str, int]
    """How many rows of each status were left out."""
    data_column: str
    """`tokens` or `frames`: the unit of the tokens column."""

    @property
    def seed_weight(self) -> Array:
        """Weights (n,) that give every (params, tokens) setting the same say however many seeds it has."""
        count = self.frame.groupby(["params", "tokens"])["loss"].transform("size")
        weight: Array = (1 / count).to_numpy(dtype=float)
        return weight


def check_positive(values: ArrayLike | pd.Series[Any], name: str) -> Array:
    """A column as floats (n,).

    Raises:
        DataError: if it is empty, not one-dimensional, or holds anything but finite positive numbers; names the rows.
    """
    given = np.asarray(values)
    if np.iscomplexobj(given):
        raise DataError(f"{name} must hold real numbers, got complex ones; pass their real part")
    try:
        column = given.astype(float)
    except (TypeError, ValueError):
        raise DataError(f"{name} must hold numbers, got {given.ravel()[:3]}; convert it first") from None
    if column.ndim != 1 or not len(column):
        raise DataError(f"{name} must be a non-empty list of numbers, got shape {column.shape}; pass one value per run")
    bad = np.flatnonzero(~np.isfinite(column) | (column <= 0))
    if len(bad):
        raise DataError(
            f"{name} must be finite and positive, got {column[bad[0]]:g} in {rows(_labels(values, bad))}; "
            "leave such runs out or rerun them"
        )
    return column


def columns_of(values: ArrayLike, names: tuple[str, ...]) -> tuple[ArrayLike, ...]:
    """The columns of a matrix (n, features), as scikit-learn passes them; one column may also come as a list (n,).

    Raises:
        DataError: if there are not as many columns as names.
    """
    if issparse(values):
        raise DataError(f"{', '.join(names)} must be dense, got sparse data; pass values.toarray()")
    matrix = np.asarray(values)
    if matrix.ndim < 2 and len(names) == 1:
        return (values,)
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise DataError(
            f"sizes must be a matrix with the columns {', '.join(names)}, got shape {matrix.shape}; "
            "pass one row for each run"
        )
    return tuple(matrix.T)


def listed(values: ArrayLike) -> ArrayLike:
    """A single number as a list of one; all else as it is."""
    return values if np.ndim(values) else [values]  # type: ignore[return-value]


def like(sizes: Iterable[ArrayLike], values: Array) -> Any:
    """Values (m,) as one number where all sizes are single numbers; else as they are."""
    return values if any(np.ndim(size) for size in sizes) else float(values[0])


def check_counts(values: ArrayLike | pd.Series[Any], name: str, fewest: float) -> None:
    """Refuse counts that are smaller than `fewest`.

    Raises:
        UserError: naming the rows, and saying that they look like millions.
    """
    column = check_positive(values, name)
    bad = np.flatnonzero(column < fewest)
    if len(bad):
        raise UserError(
            f"{name} must be a plain count of at least {fewest:g}, got {column[bad[0]]:g} in "
            f"{rows(_labels(values, bad))}, which looks like millions or billions; multiply the column by 1e6 or 1e9"
        )


def _labels(values: ArrayLike | pd.Series[Any], positions: NDArray[np.intp]) -> Iterable[Any]:
    """Rows as the user counts them: a table keeps its numbers when unfinished rows are taken out."""
    return values.index[positions] if isinstance(values, pd.Series) else positions


def rows(index: Iterable[Any]) -> str:
    """Name rows, counted from 0: "row 3", "rows 3, 5", "rows 3, 5, 6, 8, 9 and 12 more"."""
    listed = [str(row) for row in index]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return f"row{'s' if len(listed) > 1 else ''} {', '.join(listed[:5])}{more}"


def validate(frame: pd.DataFrame, typed: bool = True) -> RunTable:
    """Check a table of runs and leave out the rows that did not finish, and all but the best of a search.

    Args:
        frame: with the columns of this module's table; others are ignored.
        typed: whether people wrote it, who may have meant millions.

    Raises:
        UserError: one line that names the rows, for a missing column, no rows, values that are not finite and
            positive, counts in millions, duplicate rows, and mixed tasks, models or metrics.
    """
    # A selection from a file keeps the row numbers by which the file is mended.
    counted = frame.index.is_unique and frame.index.inferred_type == "integer"
    table = frame if counted else frame.reset_index(drop=True)
    data_column = "frames" if "frames" in table and "tokens" not in table else "tokens"
    table = table.rename(columns={"frames": "tokens"}) if data_column == "frames" else table
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UserError(
            f"a table of runs needs the columns {', '.join(REQUIRED)}, got "
            f"{', '.join(map(str, frame.columns)) or 'none'}; rename or add {', '.join(missing)}"
        )
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in table]
    searched = [str(name) for name in table if str(name).lower() in SEARCHED]
    table = table[known + searched]
    left_out: dict[str, int] = {}
    if "status" in table:
        status = table["status"].astype(str).str.upper()
        left_out = {str(key): int(count) for key, count in status[status != "FINISHED"].value_counts().items()}
        table = table[status == "FINISHED"]
    if table.empty:
        raise UserError(
            f"a table of runs must have finished rows, got none ({describe(left_out)}); wait for runs to finish"
        )
    for name, called in zip(REQUIRED, ("params", data_column, "loss"), strict=True):
        check_positive(table[name], called)
        if called in FEWEST_COUNTED:
            check_counts(table[name], called, FEWEST_COUNTED[called] if typed else 1)
    for name in ("task", "task_digest", "model", "metric"):
        _one_value(table, name)
    best = _best_of_search(table, searched)
    if len(best) < len(table):
        left_out[f"of a search over {', '.join(searched)} (a better one kept)"] = len(table) - len(best)
    table = best[known]
    _no_duplicates(table)
    numbers = {name: table[name].astype(float) for name in REQUIRED}
    return RunTable(table.assign(**numbers).reset_index(drop=True), left_out, data_column)


def describe(left_out: dict[str, int]) -> str:
    """Say how many rows were left out, by status."""
    if not left_out:
        return "none left out"
    return ", ".join(f"{count} {status.lower()}" for status, count in sorted(left_out.items())) + " left out"


def _one_value(table: pd.DataFrame, name: str) -> None:
    if name not in table:
        return
    counts = table[name].astype(str).value_counts()
    if len(counts) > 1:
        odd = table.index[table[name].astype(str) != counts.index[0]]
        raise UserError(
            f"a fit takes one {name}, got {len(counts)} ({', '.join(map(str, counts.index[:4]))}), the odd ones in "
            f"{rows(odd)}; select one {name}"
        )


def _best_of_search(table: pd.DataFrame, searched: list[str]) -> pd.DataFrame:
    """Of the rows of a setting that differ in hyperparameters, the one with the lowest loss, for each seed."""
    setting = ["params", "tokens"]
    if not searched or not (table.groupby(setting)[searched].nunique() > 1).any(axis=None):
        return table
    loss = table["loss"].astype(float)
    if "seed" in table:
        setting.append("seed")
    best = loss.groupby([table[name] for name in setting], dropna=False).idxmin()
    return table.loc[sorted(best)]


def _no_duplicates(table: pd.DataFrame) -> None:
    # Without seeds two runs of one setting are told apart by their losses alone.
    key = ["params", "tokens", *(["seed"] if "seed" in table else ["loss"])]
    double = table.index[table.duplicated(key, keep=False)]
    if len(double):
        raise UserError(
            f"every ({', '.join(key)}) may appear once, got it again in {rows(double)}; remove the copies, or give "
            "repeated runs a seed column"
        )


def log_sizes_of(params: ArrayLike, tokens: ArrayLike) -> Array:
    """Log params and log tokens (m, 2); a number counts as one."""
    columns = check_positive(listed(params), "params"), check_positive(listed(tokens), "tokens")
    log_sizes: Array = np.log(np.column_stack(np.broadcast_arrays(*columns)))
    return log_sizes

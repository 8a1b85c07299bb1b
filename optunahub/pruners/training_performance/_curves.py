"""The curves of a study's trials as arrays, each read once: a finished trial does not change."""

from __future__ import annotations

import threading
from itertools import compress
from operator import is_not
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from ._estimators import Array, best_so_far, noise_so_far

ROLES = {TrialState.COMPLETE: 2, TrialState.PRUNED: 1, TrialState.RUNNING: 0}
NO_PART = -1  # waiting, failed, or without a report


class Field(NamedTuple):
    """A study's trials as they stand at one step, lower is better; every array has the shape (trials,)."""

    own: int
    """Row of the trial in question."""
    level: Array
    """Best report so far; infinite after a divergence. A curve that ended earlier stands where it ended."""
    before: Array
    """The same at half the step."""
    noise: float
    """Variance of a report about the line through its two neighbours, median over the trials; 0 if unknown."""
    sum: Array
    """Sum of the reports; infinite after a divergence."""
    final: Array
    """Final value of completed trials, NaN for others."""
    reached: NDArray[np.bool_]
    """Whether the trial reported at the step or later, or completed."""
    stopped: NDArray[np.bool_]
    """Whether it was pruned before that."""
    budget: float
    """The budget given, or the largest last step of completed trials (0 if there are none)."""


class CurveTable:
    """Steps and reports of all trials, padded, a row per trial. Holds the trials, so that others are never mistaken."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clear()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, _: dict[str, object]) -> None:
        self.__init__()  # type: ignore[misc]

    def clear(self) -> None:
        """Forget everything."""
        self.trials: list[FrozenTrial] = []
        self.sign = 1.0
        self.steps = np.full((0, 0), np.inf)
        self.levels = np.full((0, 0), np.inf)
        self.sums = np.full((0, 0), np.inf)
        self.noises = np.full((0, 0), np.inf)
        self.last, self.final, self.role = np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int8)

    def at(self, trials: list[FrozenTrial], trial: FrozenTrial, sign: float, budget: float | None) -> Field:
        """The trials of a study as they stand at the last step of `trial`; `sign` turns values so that lower is better.

        `trials` are all of the study, ordered by number.
        """
        with self.lock:
            self._update(trials, trial, sign)
            return self._field(trial, budget)

    def _update(self, trials: list[FrozenTrial], trial: FrozenTrial, sign: float) -> None:
        trials = [*trials[: trial.number], trial, *trials[trial.number + 1 :]]
        if sign != self.sign or len(trials) < len(self.trials):
            self.clear()
            self.sign = sign
        changed = list(compress(range(len(self.trials)), map(is_not, self.trials, trials)))
        changed += range(len(self.trials), len(trials))
        widest = max((len(trials[row].intermediate_values) for row in changed), default=0)
        self._grow(len(trials), widest + 1)
        for row in changed:
            self._read(row, trials[row])
        self.trials = trials

    def _grow(self, rows: int, columns: int) -> None:
        """Make room, doubling so that it is rarely needed; the last column is always padding."""
        have_rows, have_columns = self.steps.shape
        if rows <= have_rows and columns <= have_columns:
            return
        rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
        columns = have_columns if columns <= have_columns else max(columns, 2 * have_columns)
        more = ((0, rows - have_rows), (0, columns - have_columns))
        self.steps, self.levels, self.sums, self.noises = (
            np.pad(table, more, constant_values=np.inf) for table in (self.steps, self.levels, self.sums, self.noises)
        )
        self.last, self.final = (np.pad(column, more[0], constant_values=np.nan) for column in (self.last, self.final))
        self.role = np.pad(self.role, more[0], constant_values=NO_PART)

    def _read(self, row: int, trial: FrozenTrial) -> None:
        reports = sorted(trial.intermediate_values.items())
        self.role[row] = ROLES.get(trial.state, NO_PART) if reports else NO_PART
        self.final[row] = np.nan
        if self.role[row] == NO_PART:
            self.steps[row] = np.inf
            return
        steps, values = np.array(reports, dtype=float).T
        count, values = len(steps), self.sign * values
        self.steps[row, :count], self.steps[row, count:] = steps, np.inf
        self.levels[row, :count] = best_so_far(values)
        finite = np.isfinite(values)
        self.sums[row, :count] = np.where(finite, np.cumsum(np.where(finite, values, 0.0)), np.inf)
        self.noises[row, :count] = noise_so_far(steps, values)
        self.last[row] = steps[-1]
        if trial.state == TrialState.COMPLETE:
            self.final[row] = self.sign * trial.values[0]

    def _field(self, trial: FrozenTrial, budget: float | None) -> Field:
        count, step = len(self.trials), self.last[trial.number]
        role, last, final = self.role[:count], self.last[:count], self.final[:count]
        completed = role == ROLES[TrialState.COMPLETE]
        if budget is None:
            budget = float(last[completed].max(initial=0.0))
        rows = np.arange(count)
        now, then = ((self.steps[:count] > at).argmax(1) - 1 for at in (step, step / 2))  # -1 is padding: not begun yet
        level = self.levels[rows, now]
        known = (now >= 0) & np.isfinite(level)
        part = role != NO_PART
        reached = part & (now >= 0) & ((last >= step) | completed)
        noises = self.noises[rows, now][reached]
        noises = noises[np.isfinite(noises)]
        return Field(
            own=trial.number,
            level=np.where(known, level, np.inf),
            before=self.levels[rows, then],
            noise=float(np.median(noises)) if len(noises) else 0.0,
            sum=np.where(known, self.sums[rows, now], np.inf),
            final=final,
            reached=reached,
            stopped=(role == ROLES[TrialState.PRUNED]) & (last < step),
            budget=budget,
        )

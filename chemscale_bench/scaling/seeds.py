"""Means over seeds, and how sure they are.

Two seeds of one size may agree by chance, and Student's t of two has to reach 6.3 standard errors for 90 %. So the
relative spread is taken from all sizes within a decade, each about its mean, as if it did not depend on size. It rather
falls with size (the largest sizes of our entries have about half of the pooled variance), so that intervals of the best
sizes are wide.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

DECADE = 11.1
"""Sizes this many times larger or smaller share their spread: ten, and the 5 % by which networks may miss each end."""


class Mean(NamedTuple):
    """A mean loss over seeds."""

    value: float
    error: float
    """Standard error; NaN if no size within a decade has two seeds."""
    free: int
    """Degrees of freedom of the error: runs less sizes."""

    def interval(self, level: float) -> tuple[float, float]:
        """Of the true mean, by Student's t."""
        half = float(t.ppf((1 + level) / 2, self.free)) * self.error if self.free else math.nan
        return self.value - half, self.value + half


class Gap(NamedTuple):
    """By how much a mean lies above another."""

    value: float
    low: float
    high: float
    p: float
    """Chance of as large a difference, either way, without a true one."""


def mean_over_seeds(params: ArrayLike, loss: ArrayLike, size: float) -> Mean:
    """The mean loss of the runs of one size, from runs of one budget, params and loss (n,), of this and other sizes."""
    sizes, losses = np.asarray(params, dtype=float), np.asarray(loss, dtype=float)
    squares, free = 0.0, 0
    for one in np.unique(sizes[(sizes <= size * DECADE) & (sizes >= size / DECADE)]):
        of_one = losses[sizes == one]
        squares += float(((of_one / of_one.mean() - 1) ** 2).sum())
        free += len(of_one) - 1
    ours = losses[sizes == size]
    value = float(ours.mean())
    return Mean(value, abs(value) * math.sqrt(squares / free / len(ours)) if free else math.nan, free)


def gap(higher: Mean, lower: Mean, level: float) -> Gap:
    """The difference of two means of unequal variances, by Welch's t; its interval and p are NaN without an error."""
    value, variances = higher.value - lower.value, np.square([higher.error, lower.error])
    error = math.sqrt(variances.sum())
    if not error > 0:
        return Gap(value, math.nan, math.nan, math.nan)
    free = variances.sum() ** 2 / (variances**2 / [higher.free, lower.free]).sum()
    half = float(t.ppf((1 + level) / 2, free)) * error
    return Gap(value, value - half, value + half, float(2 * t.sf(abs(value) / error, free)))

"""The final value of a trial, predicted from where it stands, with an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from ._estimators import Array

NEIGHBOURS = 30
LEAST = 5


class Prediction(NamedTuple):
    """A predicted final value and its interval."""

    value: float
    low: float
    high: float


def predict(early: ArrayLike, final: ArrayLike, at: float, level: float = 0.9, local: bool = True) -> Prediction | None:
    """The final value at an early one: a line through its 30 nearest neighbours, in logarithms where all is positive.

    Args:
        early: estimates of finished trials, shape (trials,).
        final: their final values, shape (trials,).
        at: the estimate of the trial in question.
        level: of the interval, for one new trial.
        local: whether to fit to neighbours and in logarithms; else the plain line through all, as the paper has it.

    Returns:
        None with fewer than 5 finite pairs, or where the estimates do not differ.
    """
    x, y = np.asarray(early, dtype=float), np.asarray(final, dtype=float)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < LEAST or not math.isfinite(at):
        return None
    logarithmic = local and bool(x.min() > 0 and y.min() > 0 and at > 0)
    if local:
        nearest = np.argpartition(np.abs(x - at), min(NEIGHBOURS, len(x)) - 1)[:NEIGHBOURS]
        x, y = x[nearest], y[nearest]
    if logarithmic:
        x, y, at = np.log(x), np.log(y), math.log(at)
    if local:  # beyond the finished trials a line through a few of them soon leaves all reason
        at = min(max(at, float(x.min())), float(x.max()))
    spread = float(((x - x.mean()) ** 2).sum())
    if spread <= 1e-24 * max(1.0, float(np.abs(x).max())) ** 2:
        return None
    slope = float((x - x.mean()) @ (y - y.mean())) / spread
    value = float(y.mean()) + slope * (at - float(x.mean()))
    residual = y - y.mean() - slope * (x - x.mean())
    error = math.sqrt(
        float(residual @ residual) / (len(x) - 2) * (1 + 1 / len(x) + (at - float(x.mean())) ** 2 / spread)
    )
    half = float(stdtrit(len(x) - 2, 0.5 + level / 2)) * error
    ends = (value, value - half, value + half)
    if logarithmic:
        ends = tuple(math.exp(min(end, 700.0)) for end in ends)  # type: ignore[assignment]
    return Prediction(*ends)


def rank_correlation(early: ArrayLike, final: ArrayLike) -> float | None:
    """Spearman's correlation of the finite pairs; None below 5 or where either does not vary."""
    x, y = np.asarray(early, dtype=float), np.asarray(final, dtype=float)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Array) -> Array:
    """Ranks, ties sharing their mean; a tenth of the time that scipy.stats.rankdata takes for a few values."""
    ordered = np.sort(values)
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((left + right) / 2)

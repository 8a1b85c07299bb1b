"""What the start of a training curve says about its end: one number, lower is better.

A curve is the reports of one run in the order of their steps, oriented so that lower is better. A run whose latest
report is not finite has diverged: every estimate of it is infinite, the worst there is. Earlier reports that are not
finite are left out: a run that came back is judged by what it reached.

TSE, TSE-E and TSE-EMA are those of Ru et al., *Speedy performance estimation for neural architecture search*, NeurIPS
2021, which Frey et al. (Nature Machine Intelligence 2023) fit the final loss on; there a report is the mean training
loss of one epoch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def sum_of_losses(curve: ArrayLike) -> float:
    """TSE: the sum over the curve. Curves are comparable at the same number of reports only."""
    return float(_finite(curve).sum())


def sum_of_last_losses(curve: ArrayLike, epochs: int = 1) -> float:
    """TSE-E: the sum over the last `epochs` reports."""
    return float(_finite(curve)[-epochs:].sum())


def decayed_sum_of_losses(curve: ArrayLike, decay: float = 0.999) -> float:
    """TSE-EMA: the sum of ``decay ** age`` times the report, the latest of age 0."""
    values = _finite(curve)
    return float(values @ decay ** np.arange(len(values) - 1, -1, -1))


def mean_of_last_quarter(curve: ArrayLike) -> float:
    """The mean of the last quarter of the reports, at least one."""
    values = _finite(curve)
    return float(values[-math.ceil(len(values) / 4) :].mean())


def best_so_far(curve: ArrayLike) -> Array:
    """The lowest report up to each report, shape (reports,): the estimate at every point of the curve at once.

    The first report is left out once there are others, as it may come from the untrained model.
    """
    values = np.asarray(curve, dtype=float)
    finite = np.isfinite(values)
    kept = np.where(finite, values, np.inf)
    best = np.concatenate([kept[:1], np.minimum.accumulate(kept[1:])])
    return np.where(finite, best, np.inf)


def noise_so_far(steps: ArrayLike, curve: ArrayLike) -> Array:
    """Variance of a report about the line through its two neighbours, up to each report, shape (reports,).

    The first report is left out, as are those beside one that is not finite; NaN before the fourth.
    """
    x, values = np.asarray(steps, dtype=float), np.asarray(curve, dtype=float)
    out = np.full(len(values), np.nan)
    if len(values) < 4:
        return out
    after = np.diff(x)[1:] / (x[2:] - x[:-2])  # share of the left neighbour in the line
    with np.errstate(over="ignore", invalid="ignore"):
        residual = values[1:-1] - after * values[:-2] - (1 - after) * values[2:]
        squared = (residual**2 / (1 + after**2 + (1 - after) ** 2))[1:]
        finite = np.isfinite(squared)
        out[3:] = np.cumsum(np.where(finite, squared, 0.0)) / np.cumsum(finite)
    return out


def _finite(curve: ArrayLike) -> Array:
    """The finite reports; one infinite one if the curve has diverged."""
    values = np.asarray(curve, dtype=float)
    if not np.isfinite(values[-1]):
        return np.array([np.inf])
    return np.asarray(values[np.isfinite(values)])

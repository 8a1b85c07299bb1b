"""Bootstrap replicates of a fit: many refits, started at the optimum.

Two ways to draw them:

``runs`` reweights whole groups (all runs of one size together) with exponential weights: the Bayesian bootstrap (Rubin
1981). It assumes nothing on the noise, but with few sizes it is too narrow at the ends of the range.

``residuals`` adds resampled log residuals to the fitted curve, in two stages (Davison & Hinkley 1997, section 3.8):
each group takes the mean residual of a random group, and each of its points a random deviation from such a mean, so
that what the runs of one size share stays shared. Residuals are first scaled by n / (n - P): half of that is the usual
degrees of freedom, half pays for the P points that a nearly least-absolute-errors fit passes through exactly (means of
several residuals need the first half only). Where Student's t of n - P degrees of freedom is wider than a normal
distribution by more than that second half, as of three or four runs, it takes its place. It is right from few sizes on,
but assumes noise of similar size everywhere (in log loss).

``auto`` takes ``runs`` from 10 groups per parameter on, ``residuals`` below. `benchmarks/scaling_coverage.py` measures
how often each holds the truth; where half of the noise is shared by the runs of a size, 90 % intervals hold it in about
85 % of cases.

Shapes: R replicates, n points, G groups, P parameters.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from chemscale_bench.scaling.forms import Array, Form
from chemscale_bench.scaling.projection import bounds
from chemscale_bench.scaling.solver import minimise

Method = Literal["auto", "residuals", "runs"]
GROUPS_PER_PARAMETER = 10
"""From this many groups per parameter on, ``auto`` resamples runs."""
BATCH_ELEMENTS = 2_000_000
"""Resampled values held in memory at once (16 MB for each of a few arrays)."""


class Fitted(NamedTuple):
    """A fitted law and the data it was fitted to."""

    form: Form
    theta: Array
    """(P,), raw parameters at the optimum."""
    u: Array
    """(n, F), centred log sizes."""
    log_loss: Array
    """(n,)"""
    weight: Array
    """(n,)"""
    group: NDArray[np.intp]
    """(n,), which points stem from runs of one size."""
    delta: float
    centre: Array
    """(F,), the mean log sizes, which `u` is without."""
    regular: NDArray[np.bool_] | None = None
    """(n,), whose residuals may be those of other runs too; all if None."""

    @property
    def residual(self) -> Array:
        """(n,), measured minus fitted log loss."""
        difference: Array = self.log_loss - self.form.log_loss(self.theta[None], self.u)[0]
        return difference


def replicate(fitted: Fitted, replicates: int, seed: int, method: Method = "auto") -> Array:
    """Raw parameters (R, P) of `replicates` refits."""
    if method == "auto":
        many = fitted.group.max() + 1 >= GROUPS_PER_PARAMETER * len(fitted.theta)
        method = "runs" if many else "residuals"
    random = np.random.default_rng(seed)
    limits = bounds(fitted.form, fitted.u, fitted.log_loss)
    batch = max(1, BATCH_ELEMENTS // len(fitted.log_loss))
    parts = []
    for start in range(0, replicates, batch):
        count = min(batch, replicates - start)
        target, weight = fitted.log_loss, fitted.weight
        if method == "runs":
            weight = weight * random.exponential(size=(count, int(fitted.group.max()) + 1))[:, fitted.group]
        else:
            fit = fitted.log_loss - fitted.residual
            target = fit + resample(fitted, random, count, fitted.group)
        theta = np.tile(fitted.theta, (count, 1))
        parts.append(minimise(fitted.form, theta, fitted.u, target, weight, fitted.delta, limits, tolerance=1e-6).theta)
    return np.concatenate(parts)


def regular(fitted: Fitted) -> NDArray[np.bool_]:
    """Which runs lie about the law as the others do, (n,): not those whose residual is an outlier among all.

    An outlier is more than 5 robust standard deviations off, and half a percent; they come from the median of the
    residuals without the smallest P, as a nearly least-absolute-errors fit passes through so many. At most a tenth are
    left out: what is more frequent is how these runs are. Of fewer than ten none is: it may be the law that bends.
    """
    if len(fitted.residual) < 10:
        return np.ones(len(fitted.residual), dtype=bool)
    distance = np.abs(fitted.residual - np.median(fitted.residual))
    ordered = np.sort(distance)
    scale = 1.4826 * float(np.median(ordered[min(len(fitted.theta), len(ordered) - 1) :]))
    fewest = ordered[-(len(ordered) // 10)]
    kept: NDArray[np.bool_] = ~((distance > max(5 * scale, 0.005)) & (distance >= fewest))
    return kept


def resample(fitted: Fitted, random: np.random.Generator, count: int, group: NDArray[np.intp]) -> Array:
    """Draw log residuals (count, len(group)) for points of the given groups, in two stages."""
    kept = np.ones(len(fitted.log_loss), dtype=bool) if fitted.regular is None else fitted.regular
    residual, place = fitted.residual[kept], np.unique(fitted.group[kept], return_inverse=True)[1]
    size = np.bincount(place)
    # The place and width of a break hardly let a curve come closer to any point (seen in the coverage study).
    free = len(residual) - sum("width" not in name and "break" not in name for name in fitted.form.names)
    half = math.sqrt(len(residual) / free) if free > 0 else 1.0
    wide = float(stdtrit(free, 0.95) / ndtri(0.95)) if free > 0 else 1.0
    residual = residual * half * max(half, wide)
    residual = residual - np.median(residual)
    mean = np.bincount(place, residual) / size
    repeated = size[place] > 1
    within = residual - mean[place]
    # A mean of several residuals is never one of the points that the fit passes through.
    mean = mean / np.where(size > 1, max(half / wide, 1), 1)
    drawn: Array = mean[random.integers(len(mean), size=(count, int(group.max()) + 1))][:, group]
    if repeated.any():
        # Deviations from a mean of k runs are too small by sqrt(1 - 1/k).
        within = (within / np.sqrt(1 - 1 / np.maximum(size[place], 2)))[repeated]
        shrunk = np.sqrt(np.mean(1 - 1 / size))
        drawn = drawn + shrunk * within[random.integers(len(within), size=drawn.shape)]
    return drawn

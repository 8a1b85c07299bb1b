"""A straight line through points by least squares, and where it reaches a height."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.scaling.base import Interval


class Line(NamedTuple):
    """y = intercept + slope x; intervals are those of Student's t with n - 2 degrees of freedom."""

    slope: float
    slope_interval: Interval
    intercept: float
    intercept_interval: Interval
    points: int
    centre: tuple[float, float]
    """Mean of x and of y, through which the line goes."""
    spread: float
    """Sum of the squared distances of x from its mean."""
    noise: float
    """Half the interval of one residual: t times their standard deviation."""
    slope_error: float
    """Standard error of the slope."""

    @property
    def p(self) -> float:
        """Chance of a slope as steep, up or down, where the true one is 0."""
        from scipy.stats import t

        if not self.slope_error:
            return float(self.slope == 0)
        return float(2 * t.sf(abs(self.slope) / self.slope_error, self.points - 2))

    def reaches(self, y: float) -> tuple[float, Interval]:
        """The x at which the line has that height, and its interval by Fieller's theorem (1954).

        Where the interval of the slope includes 0, that of x has no ends: they are NaN.
        """
        (x_mean, y_mean), slope = self.centre, self.slope
        up = y - y_mean
        if slope == 0:
            return math.nan, Interval(math.nan, math.nan)
        sure = slope**2 - self.noise**2 / self.spread
        if sure <= 0:
            return x_mean + up / slope, Interval(math.nan, math.nan)
        half = self.noise * math.sqrt(up**2 / self.spread + sure / self.points)
        return x_mean + up / slope, Interval(*(x_mean + (slope * up + sign * half) / sure for sign in (-1, 1)))


def straight_line(x: ArrayLike, y: ArrayLike, level: float = 0.9) -> Line | None:
    """Fit a line to points whose errors in y are independent and equally large.

    Args:
        x: (n,), finite.
        y: (n,), finite.
        level: of the intervals.

    Returns:
        The line, or None of fewer than three points or one x.
    """
    from scipy.stats import linregress, t  # it takes long to load

    xs, ys = np.asarray(x, float), np.asarray(y, float)
    if len(xs) < 3 or not np.ptp(xs):
        return None
    found = linregress(xs, ys)
    wide = float(t.ppf((1 + level) / 2, len(xs) - 2))
    slope, intercept = float(found.slope), float(found.intercept)
    error, of_intercept = (float(found.stderr), float(found.intercept_stderr)) if np.ptp(ys) else (0.0, 0.0)
    spread = float(np.square(xs - xs.mean()).sum())
    return Line(
        slope, around(slope, wide * error), intercept, around(intercept, wide * of_intercept), len(xs),
        (float(xs.mean()), float(ys.mean())), spread, wide * error * math.sqrt(spread), error,
    )  # fmt: skip


def around(value: float, half: float) -> Interval:
    """The interval of that half width."""
    return Interval(value - half, value + half)

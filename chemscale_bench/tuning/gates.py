"""How far down the ranking the eventual best may stand early on, and so how many must be let through.

In normal scores an early and the final standing are taken as jointly normal with a correlation that grows along the
run. The best of 30 trials has the expected final score z(1 - 1/60); early on it stands at the correlation times that,
give or take. A gate lets through the share of trials above the score that the best one misses with the chance `miss`.
With no correlation only the worst are stopped, with a perfect one all but the best: a gate opens by itself where early
performance says little, and noise on the reports makes it say less.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from chemscale_bench.tuning.estimators import Array

LOOKS = (0.06, 0.1, 0.15, 0.2, 0.3, 0.45)
"""Fractions of the budget at which a trial is judged: each look saves something, and may stop the winner."""
CORRELATIONS = (0.46, 0.79, 0.88, 0.78, 0.94, 0.93)
"""Correlation between the standing at each look and the final one that gates assume: fitted such that about 72 % of
the budget is saved and few winners are stopped. benchmarks/gates.md says on which curves, and how others fared."""
MEMORY = 0.5
"""Weight of the standing at the looks before: a good trial may have a bad moment."""
AVERAGED = 0.7
"""The best of some reports is taken to be as uncertain as the mean of this share of them."""
DENSEST = 51
"""Reports of a full trial that this was fitted to, at most: the best of more of them gains less than their mean."""
BEST = float(ndtri(1 - 1 / 60))
LOWEST, MIDDLE = 0.1, 0.5
"""Quantiles of the trials' levels that tell their spread: the half that matters, without the luckiest."""


def looks_before(fraction: float) -> int:
    """How many looks lie at or before a fraction of the budget."""
    return bisect.bisect_right(LOOKS, fraction + 1e-9)


def expected_correlation(fraction: float) -> float:
    """Correlation between the standing at a fraction of the budget and the final one, before anything is measured."""
    return CORRELATIONS[max(looks_before(fraction) - 1, 0)]


def remembered(rank: ArrayLike, before: ArrayLike, trials: int) -> Array:
    """The rank among so many trials once the standing at earlier looks is weighed in, not a whole number any more.

    Args:
        rank: now.
        before: the share of trials at or above it at the looks before; NaN at the first look.
        trials: that `rank` is out of.
    """
    now = ndtri(1 - (np.asarray(rank) - 0.5) / trials)
    past = ndtri(1 - np.asarray(before))
    score = np.where(np.isnan(past), now, (1 - MEMORY) * now + MEMORY * past)
    return np.asarray(trials * (1 - ndtr(score)) + 0.5)


def reliability(low: ArrayLike, middle: ArrayLike, noise: ArrayLike, reports: int, fraction: float) -> Array:
    """Share of the variance between trials' levels that is not noise; a correlation falls with its root.

    Args:
        low: quantile `LOWEST` of the levels.
        middle: quantile `MIDDLE`.
        noise: variance of one report.
        reports: that a level is the best of.
        fraction: of the budget, over which they lie.
    """
    variance = ((np.asarray(middle) - np.asarray(low)) / (ndtri(MIDDLE) - ndtri(LOWEST))) ** 2
    uncertain = np.asarray(noise) / (AVERAGED * min(reports, math.ceil(DENSEST * fraction)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(variance > 0, np.clip(1 - uncertain / variance, 0, 1), 1.0))


def let_through(correlation: ArrayLike, trials: int, miss: float) -> NDArray[np.int64]:
    """The last rank that passes a gate, of so many trials."""
    slack = np.sqrt(1 - np.asarray(correlation) ** 2) * ndtri(1 - miss)
    return np.asarray(1 + np.rint(ndtr(slack - np.asarray(correlation) * BEST) * (trials - 1)), dtype=np.int64)

"""How far down the ranking the eventual best may stand early on, and so how many must be let through.

In normal scores an early and the final standing are taken as jointly normal with a correlation that grows along the
run. The best of n trials has the expected final score z(1 - 1/2n); early on it stands at the correlation times that,
give or take. Among k rivals drawn at random it then ranks behind a number that is binomial: a gate is the rank that the
best one misses with the chance `miss`, the luck of the few rivals included, so that `miss` means the same in small
studies and at the start of large ones. With no correlation only the worst are stopped, with a perfect one all but the
best: a gate opens by itself where early performance says little, and noise on the reports makes it say less.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtr, ndtri

from ._estimators import Array

LOOKS = (0.06, 0.1, 0.15, 0.2, 0.3, 0.45)
"""Fractions of the budget at which a trial is judged: each look saves something, and may stop the winner."""
CORRELATIONS = (0.6, 0.87, 0.94, 0.8, 0.93, 0.94)
"""Correlation between the standing at each look and the final one that gates assume: fitted such that about 71 %
of the budget is saved and few winners are stopped. benchmarks/gates.md says on which curves, and how others fared."""
MEMORY = 0.5
"""Weight of the standing at the looks before: a good trial may have a bad moment."""
AVERAGED = 0.7
"""The best of some reports is taken to be as uncertain as the mean of this share of them."""
DENSEST = 51
"""Reports of a full trial that this was fitted to, at most: the best of more of them gains less than their mean."""
TO_COME, MOST = 10, 30
"""The winner is taken to be the best of as many trials as there are and some more to come, up to so many."""
SECOND_CHANCE = (0.1, 0.2)
"""Looks, from and to, at which a trial also goes on if its level, drawn on to twice the step along log step, ranks
within `SECOND_SHARE` of the gate: one that falls fast may have begun late."""
SECOND_SHARE = 0.5
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
"""Of integrals over a normal score."""
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
    """The last rank that passes a gate, of so many trials.

    Args:
        correlation: between the standing at the look and the final one, (...).
        trials: that the rank is out of.
        miss: chance that the trial that will be best is stopped.
    """
    expected = np.asarray(correlation, dtype=float)[..., None]
    best = ndtri(1 - 0.5 / min(trials + TO_COME, MOST))
    ahead = ndtr(-expected * best - np.sqrt(1 - expected**2) * NODES)  # chance that a rival stands ahead, (..., nodes)
    low, high = np.zeros(expected.shape[:-1], dtype=np.int64), np.full(expected.shape[:-1], trials - 1)
    while (low < high).any():
        middle = (low + high) // 2
        passes = bdtr(middle[..., None], trials - 1, ahead) @ WEIGHTS >= (1 - miss) * WEIGHTS.sum()
        low, high = np.where(passes, low, np.minimum(middle + 1, high)), np.where(passes, middle, high)
    return 1 + low


def second_chance(level: ArrayLike, before: ArrayLike, own: int, gate: ArrayLike, fraction: float) -> NDArray[np.bool_]:
    """Whether a trial that its level would stop goes on for how fast it falls, (...).

    Args:
        level: of all trials (..., trials); infinite for those that did not get as far.
        before: theirs at half the step; infinite where there was none.
        own: place of the trial.
        gate: last rank that passes (...).
        fraction: of the budget.
    """
    now, then, allowed = np.asarray(level, dtype=float), np.asarray(before, dtype=float), np.asarray(gate)
    look = LOOKS[max(looks_before(fraction) - 1, 0)]
    if not SECOND_CHANCE[0] <= look <= SECOND_CHANCE[1]:
        return np.zeros(allowed.shape, dtype=bool)
    known = np.isfinite(now) & np.isfinite(then)
    drawn_on = np.where(known, 2 * np.where(known, now, 0) - np.where(known, then, 0), np.inf)
    mine = drawn_on[..., own]
    rank = 1 + (drawn_on < mine[..., None]).sum(-1)
    return np.asarray(np.isfinite(mine) & (rank <= np.maximum(1, (SECOND_SHARE * allowed).astype(int))))

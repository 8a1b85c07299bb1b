"""How far down the ranking the eventual best may stand early on, and so how many must be let through.

In normal scores an early and the final standing are taken as jointly normal with a correlation that grows along the
run. The best of n trials has the expected final score z(1 - 1/2n); early on it stands at the correlation times that,
give or take. A gate lets through everything above the score that the best one misses with the chance `miss`. With
no correlation only the worst are stopped, with a perfect one all but the best: a gate opens by itself where early
performance says little, and where few trials have been seen.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

NORMAL = NormalDist()

FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.8)
STRENGTHS = (0.5, 0.8, 1.1, 1.4, 1.7)
"""Fisher's z of the correlation at those fractions of the budget: fitted to recorded curves, benchmarks/replay.md."""
TREND_SHARE = 0.5
"""Size of the gate for trends, where a curve may pass that is not yet good but falls fast, against that for levels."""
TREND_FROM = 0.1
"""Fraction of the budget from which on a trend counts."""


@lru_cache(maxsize=4096)
def expected_correlation(fraction: float) -> float:
    """Correlation between the standing at a fraction of the budget and the final one, before anything is measured."""
    x = math.log(min(max(fraction, FRACTIONS[0]), FRACTIONS[-1]))
    for left, right, low, high in zip(FRACTIONS, FRACTIONS[1:], STRENGTHS, STRENGTHS[1:], strict=False):
        if x <= math.log(right):
            share = (x - math.log(left)) / (math.log(right) - math.log(left))
            return math.tanh(low + share * (high - low))
    return math.tanh(STRENGTHS[-1])


def share_let_through(correlation: float, trials: int, miss: float) -> float:
    """Share of trials that passes a gate, such that the best of `trials` is missed with the chance `miss`."""
    best = NORMAL.inv_cdf(1 - 0.5 / trials)
    slack = math.sqrt(1 - correlation**2) * NORMAL.inv_cdf(1 - miss)
    return NORMAL.cdf(slack - correlation * best)

"""How far down the ranking the eventual best may stand early on, and so how many must be let through.

In normal scores an early and the final standing are taken as jointly normal with a correlation that grows along the
run. The best of n trials has the expected final score z(1 - 1/2n); early on it stands at the correlation times that,
give or take. A gate lets through everything above the score that the best one misses with the chance `miss`. With
no correlation only the worst are stopped, with a perfect one all but the best: a gate opens by itself where early
performance says little, and where few trials have been seen.
"""

from __future__ import annotations

import math
from statistics import NormalDist

NORMAL = NormalDist()

FIRST_LOOK = 0.07
"""Fraction of the budget before which nothing is ranked: some winners start among the last."""
STRENGTH = (0.92, 0.43, -0.1)
"""Fisher's z of the correlation, a parabola in the logarithm of ten times the fraction of the budget. These and the
numbers below were fitted to the recorded curves of benchmarks/replay.md."""
TREND_SHARE = 0.2
"""Size of the gate for trends, where a curve may pass that is not yet good but falls fast, against that for levels."""
TREND_FROM = 0.1
"""Fraction of the budget from which on a trend counts."""
CROWD = 30
"""Trials beyond which a gate narrows no more: what more trials tell goes into missing the best less often."""


def expected_correlation(fraction: float) -> float:
    """Correlation between the standing at a fraction of the budget and the final one, before anything is measured."""
    fold = math.log(fraction / 0.1)
    return math.tanh(STRENGTH[0] + STRENGTH[1] * fold + STRENGTH[2] * fold**2)


def share_let_through(correlation: float, trials: int, miss: float) -> float:
    """Share of trials that passes a gate, such that the best of them (at most of 30) is missed with chance `miss`."""
    best = NORMAL.inv_cdf(1 - 0.5 / min(trials, CROWD))
    slack = math.sqrt(1 - correlation**2) * NORMAL.inv_cdf(1 - miss)
    return NORMAL.cdf(slack - correlation * best)

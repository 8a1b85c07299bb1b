"""How far down the ranking the eventual best may stand early on, and so how many must be let through.

In normal scores an early and the final standing are taken as jointly normal with a correlation that grows along the
run. The best of 30 trials has the expected final score z(1 - 1/60); early on it stands at the correlation times that,
give or take. A gate lets through the share of trials above the score that the best one misses with the chance `miss`.
With no correlation only the worst are stopped, with a perfect one all but the best: a gate opens by itself where early
performance says little.
"""

from __future__ import annotations

import bisect
from statistics import NormalDist

NORMAL = NormalDist()

LOOKS = (0.06, 0.1, 0.15, 0.3, 0.45)
"""Fractions of the budget at which a trial is judged: each look saves something, and may stop the winner."""
CORRELATIONS = (0.53, 0.74, 0.82, 0.68, 0.93)
"""Correlation between the standing at each look and the final one that gates assume: fitted such that 72 % of the
budget is saved and few winners are stopped. benchmarks/gates.md says on which curves, and how others fared."""
TREND_SHARE = 0.03
"""Share of the trials let through for their pace: a curve that is not yet good, but falls fast."""
TREND_FROM = 0.1
"""Fraction of the budget from which on the pace counts."""
BEST = NORMAL.inv_cdf(1 - 1 / 60)


def looks_before(fraction: float) -> int:
    """How many looks lie at or before a fraction of the budget."""
    return bisect.bisect_right(LOOKS, fraction + 1e-9)


def expected_correlation(fraction: float) -> float:
    """Correlation between the standing at a fraction of the budget and the final one, before anything is measured."""
    return CORRELATIONS[max(looks_before(fraction) - 1, 0)]


def let_through(correlation: float, trials: int, miss: float) -> int:
    """The last rank that passes a gate, of so many trials."""
    slack = (1 - correlation**2) ** 0.5 * NORMAL.inv_cdf(1 - miss)
    return 1 + round(NORMAL.cdf(slack - correlation * BEST) * (trials - 1))

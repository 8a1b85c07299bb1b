"""Intervals hold the truth as often as they say. `benchmarks/scaling_coverage.py` prints the full table."""

from __future__ import annotations

import numpy as np
import pytest

from chemscale_bench.scaling.planted import KINDS, coverage


@pytest.mark.parametrize("kind", KINDS)
def test_ninety_percent_intervals_hold_the_truth(kind: str) -> None:
    found = [coverage(kind, points, laws=30, seed=11, replicates=200) for points in ("few", "many")]
    shares = {name: np.mean([share[name] for share in found]) for name in found[0] if name != "refused"}
    # 60 laws: the standard error of a share of 0.9 is 0.04.
    assert min(shares.values()) >= 0.8, shares
    assert 0.85 <= np.mean(list(shares.values())) <= 0.98, shares

"""Weights of runs by hand."""

import numpy as np
import pytest

from chemscale_bench.scaling.weighting import closeness


def test_a_run_weighs_by_its_compute_and_by_its_excess_over_the_best_of_similar_compute() -> None:
    """A decade less weighs 10^-1/4, an excess of 0.2 in log loss 1/e; similar is a quarter of a decade."""
    decades, log_loss = np.array([1.0, 0.0, 0.25, -0.26]), np.array([0.5, 1.0, 0.8, 0.9])
    expected = [1, 10**-0.25 * np.exp(-1), 10 ** (-0.25 * 0.75), 10 ** (-0.25 * 1.26)]
    assert closeness(decades, log_loss) == pytest.approx(expected)

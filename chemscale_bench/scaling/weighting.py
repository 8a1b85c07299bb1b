"""How much a run tells of what larger ones will reach."""

from __future__ import annotations

import numpy as np

from chemscale_bench.scaling.forms import Array

COMPUTE_POWER, EXCESS = 0.25, 0.2
"""A run weighs compute^power exp(-excess / this), its excess being log loss above the best of similar compute."""
SIMILAR = 0.25
"""Decades of compute."""


def closeness(decades: Array, log_loss: Array) -> Array:
    """Weights (n,) of runs by compute and by how near they come to the best of similar compute.

    Args:
        decades: log10 compute (n,).
        log_loss: (n,).
    """
    order = np.argsort(decades, kind="stable")
    sorted_decades, sorted_loss = decades[order], log_loss[order]
    first = np.searchsorted(sorted_decades, decades - SIMILAR - 1e-9)
    last = np.searchsorted(sorted_decades, decades + SIMILAR + 1e-9)
    best = np.array([sorted_loss[a:b].min() for a, b in zip(first, last, strict=True)])
    weight: Array = 10 ** (COMPUTE_POWER * (decades - decades.max())) * np.exp(-(log_loss - best) / EXCESS)
    return weight

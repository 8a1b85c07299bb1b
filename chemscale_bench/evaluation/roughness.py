"""Roughness of a property over a representation: ROGI, and ROGI-XD, which compares representations of any dimension.

Molecules are merged into ever larger clusters (complete linkage), each of which takes the mean of its values. Where
neighbours are alike the spread of the values survives that for long; on a rough landscape it is lost at once. With
s(x) twice the standard deviation of the coarse values, roughness is s(0) minus the integral of s over x from 0 to 1.

- ROGI (Aldeghi et al. 2022, J. Chem. Inf. Model. 62, 4660, eq. 4): x is the distance, over the largest possible one.
- ROGI-XD (Graff et al. 2023, J. Chem. Inf. Model. 63, 7521): x is 1 - log(clusters) / log(molecules).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.integrate import trapezoid
from scipy.spatial.distance import pdist

from chemscale_bench.errors import UserError

STEP = 0.01  # least distance between two thresholds, as both papers have it


class Roughness(NamedTuple):
    """From 0, smooth, to 1."""

    rogi: float
    rogi_xd: float


def roughness(features: NDArray[np.floating], values: NDArray[np.floating]) -> Roughness:
    """Roughness of values over features, with Euclidean distances.

    Args:
        features: (M, C), finite.
        values: (M,), finite; they are brought to 0 to 1.

    Raises:
        UserError: if there are fewer than three molecules, or nothing differs.
    """
    X, y = np.asarray(features, np.float64), np.asarray(values, np.float64)
    largest = np.sqrt(np.sum(np.ptp(X, 0) ** 2)) if len(X) else 0.0
    if len(X) < 3 or not largest or not np.ptp(y):
        raise UserError(
            f"roughness needs at least three molecules that differ in features and value, got {len(X)}; give more"
        )
    y = (y - y.min()) / np.ptp(y)
    tree = linkage(pdist(X) / largest, "complete")
    thresholds, previous = [0.0], -1.0
    for threshold in tree[:, 2].tolist():
        if threshold - STEP >= previous:
            thresholds.append(threshold)
            previous = threshold
    spreads, clusters = [2 * y.std()], [len(y)]
    for threshold in thresholds[1:]:
        member = fcluster(tree, threshold, "distance")
        sizes = np.bincount(member)[1:]
        means = np.bincount(member, y)[1:] / sizes
        spreads.append(2 * np.sqrt(np.average((means - y.mean()) ** 2, weights=sizes)))
        clusters.append(len(sizes))
    spread = np.array([*spreads, 0.0])
    merged = 1 - np.log([*clusters, 1]) / np.log(len(y))
    return Roughness(
        float(spread[0] - trapezoid(spread, [*thresholds, 1.0])), float(spread[0] - trapezoid(spread, merged))
    )

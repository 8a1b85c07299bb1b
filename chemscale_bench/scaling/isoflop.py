"""IsoFLOP parabolas: compute-optimal sizes the usual other way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.frontier import FLOPS_PER_PARAM_TOKEN
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.table import check_positive


class IsoFlop(NamedTuple):
    """Minima of parabolas through runs of about equal FLOPs; biased, for comparison only."""

    flops: Array
    """(g,), geometric mean of each group's FLOPs."""
    params: Array
    """(g,), size at each parabola's minimum."""
    params_power: float
    """Slope of log params against log FLOPs; NaN with fewer than two minima."""


def isoflop(
    params: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN,
    window: float = 8.0,
) -> IsoFlop:
    """Compute-optimal sizes the usual other way, which is biased (arXiv 2603.22339): compare, do not use.

    Runs are grouped where their FLOPs leave gaps of more than 15 %; of a group those sizes count that are within a
    factor `window` of its best one, since farther off a loss is no parabola. A group with at least five such sizes
    takes part if its parabola in log params has its minimum inside the group.

    Raises:
        UnidentifiedError: if no group has a minimum.
    """
    size, data, measured = (check_positive(v, n) for v, n in ((params, "params"), (tokens, "tokens"), (loss, "loss")))
    log_flops = np.log(size * data * flops_per_param_token)
    order = np.argsort(log_flops, kind="stable")
    flops, minima = [], []
    for part in np.split(order, np.flatnonzero(np.diff(log_flops[order]) > np.log(1.15)) + 1):
        part = part[np.abs(np.log(size[part] / size[part[measured[part].argmin()]])) <= np.log(window)]
        x = np.log(size[part])
        if len(np.unique(x)) < 5:
            continue
        second, first, _ = np.polyfit(x - x.mean(), measured[part], 2)
        middle = -first / (2 * second) + x.mean() if second > 0 else np.inf
        if x.min() < middle < x.max():
            flops.append(log_flops[part].mean())
            minima.append(middle)
    if not flops:
        raise UnidentifiedError(
            "isoFLOP parabolas need groups of 5 sizes at equal FLOPs, got none with a minimum; "
            "use the joint law's frontier"
        )
    power = float(np.polyfit(flops, minima, 1)[0]) if len(flops) > 1 else float("nan")
    return IsoFlop(np.exp(flops), np.exp(minima), power)

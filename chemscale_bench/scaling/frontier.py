"""The compute-optimal frontier: which size and how many tokens a budget of FLOPs is best spent on.

With FLOPs = k params tokens (k = 6: forward and backward passes of a dense transformer, Kaplan et al. 2020) the joint
law has a closed-form optimum (Hoffmann et al. 2022, eq. 4). In logs, with C = FLOPs / k:

    log N = (log(alpha A) - log(beta B) + beta log C) / (alpha + beta),   log D = log C - log N
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chemscale_bench.scaling.base import Interval, quantiles
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.laws import JointLaw
from chemscale_bench.scaling.table import check_positive

FLOPS_PER_PARAM_TOKEN = 6.0


class Frontier(NamedTuple):
    """Compute-optimal settings at given budgets, with percentile intervals."""

    flops: Array
    """(m,)"""
    params: Array
    """(m,)"""
    tokens: Array
    """(m,)"""
    loss: Array
    """(m,)"""
    params_interval: Interval
    tokens_interval: Interval
    loss_interval: Interval
    params_power: float
    """The optimal size grows as FLOPs to this power."""
    params_power_interval: Interval


def compute_optimal(
    law: JointLaw | Forecast,
    flops: ArrayLike,
    level: float = 0.9,
    flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN,
) -> Frontier:
    """The best size and tokens for each budget `flops` (m,), from a fitted joint law, or from a forecast.

    Raises:
        UnidentifiedError: if the law's exponents are not both told by the data, or not positive, or if a forecast puts
            the best size far outside the fitted ones.
    """
    budget = np.log(check_positive(flops, "flops") / flops_per_param_token)

    def interval(values: Array) -> Interval:
        low, high = quantiles(values, level)
        return Interval(low, high)

    if isinstance(law, Forecast):
        best, many_params, loss_interval, power, powers = _searched(law, budget, level)
    else:
        best, many_params, loss_interval, power, powers = _closed(law, budget, level)
    log_params, log_loss = best
    return Frontier(
        np.asarray(flops, dtype=float),
        np.exp(log_params),
        np.exp(budget - log_params),
        np.exp(log_loss),
        interval(np.exp(many_params)),
        interval(np.exp(budget - many_params)),
        loss_interval,
        power,
        interval(powers),
    )


_Found = tuple[tuple[Array, Array], Array, Interval, float, Array]
"""Log size and log loss at the optimum (m,), log sizes of the refits (R, m), the loss's interval, and the power by
which the size grows, of the law and of the refits (R,)."""


def _closed(law: JointLaw, budget: Array, level: float) -> _Found:
    for name in ("params_exponent", "tokens_exponent"):
        if name in law.unidentified_ or not law.parameters_[name] > 0:
            raise UnidentifiedError(
                f"a frontier needs a positive {name}, got {law.unidentified_.get(name, law.parameters_[name])}; "
                f"run a wider range of {name.split('_')[0]}"
            )
    best = _optimum(law, law.fitted_.theta[None], budget)
    drawn = law.replicates_
    sound = drawn[(drawn[:, 2] > 0) & (drawn[:, 4] > 0)]
    many_params, many_loss = _optimum(law, sound, budget)
    alpha, beta = law.fitted_.theta[[2, 4]]
    powers = sound[:, 4] / (sound[:, 2] + sound[:, 4])
    ends = quantiles(np.exp(many_loss), level)
    return (best[0][0], best[1][0]), many_params, Interval(*ends), float(beta / (alpha + beta)), powers


def _optimum(law: JointLaw, theta: Array, budget: Array) -> tuple[Array, Array]:
    """Log of the best size and of its loss, (R, m), for raw parameters (R, 5) and log FLOPs / k (m,)."""
    centre_params, centre_tokens = law.centre_
    _, scale_n, alpha, scale_d, beta = (column[:, None] for column in theta.T)
    u = (np.log(alpha) + scale_n - np.log(beta) - scale_d + beta * (budget - centre_params - centre_tokens)) / (
        alpha + beta
    )
    terms = [np.broadcast_to(theta[:, :1], u.shape), scale_n - alpha * u]
    terms.append(scale_d - beta * (budget - centre_params - centre_tokens - u))
    return u + centre_params, np.logaddexp.reduce(terms)


def _searched(law: Forecast, budget: Array, level: float) -> _Found:
    # The power is the slope over a decade about the largest compute that was fitted.
    width = np.log(10)
    budgets = np.append(budget, law.largest_ * width + np.array([-0.5, 0.5]) * width)
    log_params, log_loss = search(law, budgets)
    grids = zip(_grids(law, budgets), budgets, strict=True)
    many = np.column_stack([_parabola(grid, law.log_draws(np.column_stack([grid, one - grid]))) for grid, one in grids])
    m = len(budget)
    interval = law.predict_interval(np.exp(log_params[:m]), np.exp(budget - log_params[:m]), level)
    power = float((log_params[-1] - log_params[-2]) / width)
    return (log_params[:m], log_loss[:m]), many[:, :m], interval, power, (many[:, -1] - many[:, -2]) / width


def search(law: Forecast, budgets: Array) -> tuple[Array, Array]:
    """Log of the best size and of its loss, (m,), for log FLOPs / k (m,): a forecast's has no closed form."""
    log_params = np.empty(len(budgets))
    for place, (grid, budget) in enumerate(zip(_grids(law, budgets), budgets, strict=True)):
        mean = law.log_mean(np.column_stack([grid, budget - grid]))
        if not 0 < int(mean.argmin()) < len(grid) - 1:
            raise UnidentifiedError(
                f"a frontier needs a best size within reach of the fitted ones, got none from {np.exp(grid[0]):.2g} to "
                f"{np.exp(grid[-1]):.2g} params at {FLOPS_PER_PARAM_TOKEN * np.exp(budget):.2g} FLOPs; "
                "run sizes both too small and too large for a budget"
            )
        log_params[place] = _parabola(grid, mean[None])[0]
    return log_params, law.log_mean(np.column_stack([log_params, budgets - log_params]))


def searched_sizes(law: Forecast, budget: float) -> tuple[float, float]:
    """The sizes between which a forecast's best one is looked for; a refit's that is not inside them is unknown."""
    grid = np.exp(_grids(law, np.array([budget]))[0])
    return float(grid[2]), float(grid[-3])


def losses_along(law: JointLaw | Forecast, budgets: Array) -> Array:
    """Log losses (m,) at the best sizes for ascending log FLOPs / k (m,), infinite up to where a forecast has none."""
    if isinstance(law, JointLaw):
        losses: Array = _optimum(law, law.fitted_.theta[None], budgets)[1][0]
        return losses
    losses = np.full(len(budgets), np.inf)
    with suppress(UnidentifiedError):
        for place in range(len(budgets))[::-1]:
            losses[place] = search(law, budgets[place : place + 1])[1][0]
    return losses


def _grids(law: Forecast, budgets: Array) -> Array:
    """Log sizes (m, g) to search for each budget: two decades about the fitted ones, more by as much as compute is."""
    sizes, reach = law.log_sizes_[:, 0], 2 * np.log(10)
    beyond = np.maximum(budgets - law.largest_ * np.log(10), 0)
    return np.linspace(sizes.min() - reach, sizes.max() + reach + beyond, 161, axis=1)


def _parabola(grid: Array, values: Array) -> Array:
    """The lowest points (R,) of curves (R, g) on an even grid (g,), between its points."""
    place = np.clip(values.argmin(axis=1), 1, len(grid) - 2)
    rows = np.arange(len(values))
    before, middle, after = (values[rows, place + shift] for shift in (-1, 0, 1))
    bend = before - 2 * middle + after
    shift = np.where(bend > 0, (before - after) / np.where(bend > 0, 2 * bend, 1), 0.0)
    lowest: Array = grid[place] + np.clip(shift, -1, 1) * (grid[1] - grid[0])
    return lowest


def undominated(compute: Array, loss: Array) -> NDArray[np.bool_]:
    """Which runs (n,) no cheaper one beats: those along which loss is a law of compute alone."""
    order = np.lexsort((loss, compute))
    best = np.concatenate([[np.inf], np.minimum.accumulate(loss[order])[:-1]])
    kept = np.zeros(len(loss), dtype=bool)
    kept[order] = loss[order] < best
    return kept

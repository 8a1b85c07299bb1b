"""The compute-optimal frontier: which size and how many tokens a budget of FLOPs is best spent on.

With FLOPs = k params tokens (k = 6: forward and backward passes of a dense transformer, Kaplan et al. 2020) the joint
law has a closed-form optimum (Hoffmann et al. 2022, eq. 4). In logs, with C = FLOPs / k:

    log N = (log(alpha A) - log(beta B) + beta log C) / (alpha + beta),   log D = log C - log N
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.errors import UserError
from chemscale_bench.peaks import PEAK_BY_SHORT_NAME, peak_of_short_name
from chemscale_bench.scaling.base import Interval, quantiles
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
    law: JointLaw, flops: ArrayLike, level: float = 0.9, flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN
) -> Frontier:
    """The best size and tokens for each budget `flops` (m,), from a fitted joint law.

    Raises:
        UnidentifiedError: if the law's exponents are not both told by the data, or not positive.
    """
    for name in ("params_exponent", "tokens_exponent"):
        if name in law.unidentified_ or not law.parameters_[name] > 0:
            raise UnidentifiedError(
                f"a frontier needs a positive {name}, got {law.unidentified_.get(name, law.parameters_[name])}; "
                f"run a wider range of {name.split('_')[0]}"
            )
    budget = np.log(check_positive(flops, "flops") / flops_per_param_token)
    log_params, log_loss = _optimum(law, law.fitted_.theta[None], budget)
    drawn = law.replicates_
    sound = (drawn[:, 2] > 0) & (drawn[:, 4] > 0)
    many_params, many_loss = _optimum(law, drawn[sound], budget)
    alpha, beta = law.fitted_.theta[[2, 4]]

    def interval(values: Array) -> Interval:
        low, high = quantiles(values, level)
        return Interval(low, high)

    return Frontier(
        np.asarray(flops, dtype=float),
        np.exp(log_params[0]),
        np.exp(budget - log_params[0]),
        np.exp(log_loss[0]),
        interval(np.exp(many_params)),
        interval(np.exp(budget - many_params)),
        interval(np.exp(many_loss)),
        float(beta / (alpha + beta)),
        interval(drawn[sound, 4] / (drawn[sound, 2] + drawn[sound, 4])),
    )


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


class Detour(NamedTuple):
    """What another split of the same budget costs."""

    params: float
    tokens: float
    loss: float
    extra_loss: float
    """Loss above the optimum's."""
    extra_loss_interval: Interval
    wasted: float
    """Share of the budget that buys nothing: the optimum reaches this loss with the rest."""


class Plan(NamedTuple):
    """How to spend a budget."""

    flops: float
    frontier: Frontier
    """At this one budget."""
    half_size: Detour
    """A model half the optimal size, on twice the tokens."""
    double_size: Detour
    """A model twice the optimal size, on half the tokens."""
    beyond: float
    """The budget over the largest one that was fitted: above 1 the plan extrapolates."""


def plan(law: JointLaw, flops: float, level: float = 0.9, flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN) -> Plan:
    """The best size and tokens for one budget, what it reaches, and what being off by two costs.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import JointLaw, plan
        >>> params = np.repeat(np.geomspace(1e7, 1e9, 5), 5)
        >>> tokens = np.tile(np.geomspace(1e9, 1e11, 5), 5)
        >>> law = JointLaw().fit(params, tokens, 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37)
        >>> spend = plan(law, flops=1e20)
        >>> f"{spend.frontier.params[0]:.2g} parameters, {spend.frontier.tokens[0]:.2g} tokens"
        '9e+08 parameters, 1.9e+10 tokens'
    """
    best = compute_optimal(law, [flops], level, flops_per_param_token)
    params, tokens, loss = (float(column[0]) for column in (best.params, best.tokens, best.loss))
    reducible = loss - float(np.exp(law.fitted_.theta[0]))
    alpha, beta = law.fitted_.theta[[2, 4]]
    base = law._log_predictions(law.replicates_, ([params], [tokens]))

    def detour(factor: float) -> Detour:
        sizes = [params * factor], [tokens / factor]
        other = float(law.predict(*sizes)[0])
        drawn = np.exp(law._log_predictions(law.replicates_, sizes)) - np.exp(base)
        low, high = quantiles(drawn[:, 0], level)
        # On the frontier the reducible loss falls as FLOPs to the power alpha beta / (alpha + beta).
        needed = (1 + (other - loss) / reducible) ** (-(alpha + beta) / (alpha * beta))
        interval = Interval(float(low), float(high))
        return Detour(sizes[0][0], sizes[1][0], other, other - loss, interval, float(1 - needed))

    largest = float(np.exp((law.fitted_.u + law.centre_).sum(axis=1).max())) * flops_per_param_token
    return Plan(float(flops), best, detour(0.5), detour(2.0), flops / largest)


def flops_of(gpu_hours: float, device: str, mfu: float) -> float:
    """FLOPs that `gpu_hours` give on a device at a model FLOPs utilisation `mfu` of its bf16 peak.

    Raises:
        UserError: for an unknown device or a utilisation outside (0, 1].
    """
    peak = peak_of_short_name(device)
    if not np.isfinite(peak):
        raise UserError(
            f"device must be one of {', '.join(PEAK_BY_SHORT_NAME)}, got {device!r}; or give the budget as flops"
        )
    if not 0 < mfu <= 1:
        raise UserError(f"mfu must lie between 0 and 1, got {mfu}; 0.3 to 0.5 is usual for a well-fed GPU")
    if not (gpu_hours > 0 and np.isfinite(gpu_hours)):
        raise UserError(f"gpu_hours must be positive, got {gpu_hours}; give the GPUs times the hours")
    return gpu_hours * 3600 * peak * mfu


class IsoFlop(NamedTuple):
    """Minima of parabolas through runs of about equal FLOPs; biased, for comparison only."""

    flops: Array
    """(g,), geometric mean of each group's FLOPs."""
    params: Array
    """(g,), size at each parabola's minimum."""
    params_power: float
    """Slope of log params against log FLOPs; NaN with fewer than two minima."""


def isoflop(
    params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN
) -> IsoFlop:
    """Compute-optimal sizes the usual other way, which is biased (arXiv 2603.22339): compare, do not use.

    Runs are grouped where their FLOPs leave gaps of more than 15 %; a group of at least five sizes takes part if its
    parabola in log params has its minimum inside the group.

    Raises:
        UnidentifiedError: if no group has a minimum.
    """
    size, data, measured = (check_positive(v, n) for v, n in ((params, "params"), (tokens, "tokens"), (loss, "loss")))
    log_flops = np.log(size * data * flops_per_param_token)
    order = np.argsort(log_flops, kind="stable")
    flops, minima = [], []
    for part in np.split(order, np.flatnonzero(np.diff(log_flops[order]) > np.log(1.15)) + 1):
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

"""How to spend a budget: the best size and tokens, what another split costs, and which run to make first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.base import Interval, between, quantiles, tells_upper
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.frontier import (
    FLOPS_PER_PARAM_TOKEN,
    Frontier,
    compute_optimal,
    losses_along,
    search,
    searched_sizes,
)
from chemscale_bench.scaling.laws import JointLaw
from chemscale_bench.scaling.table import log_sizes_of
from chemscale_bench.speed.peaks import PEAK_BY_SHORT_NAME, peak_of_short_name

FAR = 3.0
"""A law may be asked this many times beyond the runs that it was fitted to; farther out it tells a direction."""


class Detour(NamedTuple):
    """What another split of the same budget costs."""

    params: float
    tokens: float
    loss: float
    extra_loss: float
    """Loss above the optimum's."""
    extra_loss_interval: Interval
    """An end is infinite where one of the two losses would be above the worst of the fitted runs."""
    wasted: float
    """Share of the budget that buys nothing: the optimum reaches this loss with the rest. At least that, where the rest
    has no best size within reach."""


class NextRun(NamedTuple):
    """The run that would narrow a prediction most for its FLOPs."""

    params: float
    tokens: float
    flops: float
    narrows: float
    """Share of the variance of the predicted loss that it takes away."""


class Plan(NamedTuple):
    """How to spend a budget."""

    flops: float
    frontier: Frontier
    """At this one budget. An end of an interval is infinite where the runs tell none: of the loss if it lies above the
    worst of the fitted runs, of params and tokens if it is that of the sizes that were searched."""
    half_size: Detour
    """A model half the optimal size, on twice the tokens."""
    double_size: Detour
    """A model twice the optimal size, on half the tokens."""
    beyond: float
    """The budget over the largest one that was fitted: above 1 the plan extrapolates."""
    far: str
    """Whether the best size and tokens lie more than `FAR` times outside those of all runs, in words; where the budget
    is beyond theirs, times its root, by which both grow if neither runs ahead."""
    next_run: NextRun | None
    """What to run first, to know better; None from a joint law, which does not know how wrong it may be, and for a
    budget within those of the runs."""


def plan(
    law: JointLaw | Forecast,
    flops: float,
    level: float = 0.9,
    flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN,
) -> Plan:
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
    k = flops_per_param_token
    best = compute_optimal(law, [flops], level, k)
    params, tokens, loss = (float(column[0]) for column in (best.params, best.tokens, best.loss))
    if isinstance(law, Forecast):
        log_sizes, worst, following = law.log_sizes_, float(np.exp(law.log_loss_.max())), next_run(law, flops, k)
        smallest, largest = searched_sizes(law, np.log(flops / k))
    else:
        log_sizes, worst, following = law.fitted_.u + law.centre_, float(np.exp(law.fitted_.log_loss.max())), None
        smallest, largest = 0.0, np.inf
    base = log_draws(law, [params], [tokens])
    # What the optimum reaches with less: the loss falls with the budget, down to the least that has a best size.
    budgets = np.log(np.geomspace(flops / 30, flops, 400) / k)
    reached = losses_along(law, budgets)

    def detour(factor: float) -> Detour:
        sizes = [params * factor], [tokens / factor]
        other = float(law.predict(*sizes)[0])
        low, high = quantiles((np.exp(log_draws(law, *sizes)) - np.exp(base))[:, 0], level)
        needed = np.exp(np.interp(-np.log(other), -reached, budgets)) * k
        low = low if tells_upper(loss, other - low, worst) else -np.inf
        interval = Interval(float(low), float(high) if tells_upper(other, loss + high, worst) else np.inf)
        return Detour(sizes[0][0], sizes[1][0], other, other - loss, interval, float(1 - needed / flops))

    detours = detour(0.5), detour(2.0)
    best = best._replace(
        params_interval=_without(best.params_interval, smallest, largest),
        tokens_interval=_without(
            best.tokens_interval, flops / k / largest, flops / k / smallest if smallest else np.inf
        ),
    )
    if not tells_upper(loss, best.loss_interval.high[0], worst):
        best = best._replace(loss_interval=Interval(best.loss_interval.low, np.array([np.inf])))
    beyond = flops / k / float(np.exp(log_sizes.sum(axis=1).max()))
    return Plan(float(flops), best, *detours, beyond, _far((params, tokens), np.exp(log_sizes), beyond), following)


def _without(interval: Interval, smallest: float, largest: float) -> Interval:
    """An interval (1,), infinite where it ends with what was searched."""
    low, high = interval
    return Interval(np.where(low <= smallest, -np.inf, low), np.where(high >= largest, np.inf, high))


def _far(asked: tuple[float, float], fitted: Array, beyond: float) -> str:
    """How far params and tokens lie outside those of the fitted runs (n, 2), if that is far for so large a budget."""
    said, allowed = [], FAR * max(1.0, beyond) ** 0.5
    for value, column, name in zip(asked, fitted.T, ("params", "tokens"), strict=True):
        above, below = value / column.max(), column.min() / value
        said += [f"{above:.2g} times the most {name} of any run"] * bool(above > allowed)
        said += [f"{below:.2g} times fewer {name} than any run"] * bool(below > FAR)
    return " and ".join(said)


def log_draws(law: JointLaw | Forecast, params: ArrayLike, tokens: ArrayLike) -> Array:
    """Log losses (R, m) of a law's bootstrap refits."""
    if isinstance(law, Forecast):
        return law.log_draws(log_sizes_of(params, tokens))
    drawn: Array = law._log_predictions(law.replicates_, (params, tokens))
    return drawn


def next_run(law: Forecast, flops: float, flops_per_param_token: float = FLOPS_PER_PARAM_TOKEN) -> NextRun | None:
    """Which run tells most per FLOP about the loss at the best size for `flops`; None if larger ones were fitted.

    Considers sizes a factor 1, 2 and 4 about the best ones, from the largest compute so far on up to half of `flops`
    (all of it where that is less than twice the largest), and none that is smaller than the smallest one fitted: what
    a law says of those is worth little.
    A run's worth is by how much it narrows the variance of the prediction, by its covariance with it: over refits, and
    by the drift, of which a run beyond the data shares what lies before it.
    """
    largest = flops_per_param_token * 10**law.largest_
    if flops <= largest:
        return None
    budgets = np.geomspace(largest, max(flops / 2, min(flops, 2 * largest)), 24)
    best = np.exp(search(law, np.log(np.append(budgets, flops) / flops_per_param_token))[0])
    params = np.concatenate([best[:-1] * factor for factor in (0.25, 0.5, 1, 2, 4)])
    params = np.append(np.maximum(params, np.exp(law.log_sizes_[:, 0].min())), best[-1:])
    spent = np.append(np.tile(budgets, 5), flops)
    drawn = law.log_draws(log_sizes_of(params, spent / flops_per_param_token / params))
    drawn = drawn - drawn.mean(axis=0)
    beyond = np.maximum(np.log10(spent / largest), 0)
    covariance = drawn.T @ drawn[:, -1] / len(drawn) + law.drift_**2 * np.minimum(beyond, beyond[-1])
    variance = drawn.var(axis=0) + law.drift_**2 * beyond + law.noise_**2
    narrows = covariance[:-1] ** 2 / variance[:-1] / covariance[-1]
    chosen = int(np.argmax(narrows / spent[:-1]))
    size = float(params[chosen])
    return NextRun(
        size, float(spent[chosen]) / flops_per_param_token / size, float(spent[chosen]), float(narrows[chosen])
    )


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


def describe_plan(result: Plan, level: float) -> str:
    """The plan as text."""
    best = result.frontier
    lines = [f"budget   {result.flops:.4g} FLOPs; {level:.0%} intervals"]
    for name, digits, (value,), interval in (
        ("params", ".3g", best.params, best.params_interval),
        ("tokens", ".3g", best.tokens, best.tokens_interval),
        ("loss", "#.5g", best.loss, best.loss_interval),  # losses differ in the third decimal, sizes over decades
    ):
        lines.append(f"{name:<8} {value:{digits}}  {between(interval.low[0], interval.high[0], digits)}")
    for name, other in (("half the size", result.half_size), ("twice the size", result.double_size)):
        lines.append(_describe_detour(name, other))
    if result.far:
        lines.append(f"far      {result.far}: take this for a direction, and run what is next before you spend it")
    intervals = [best.params_interval, best.tokens_interval, best.loss_interval]
    intervals += [result.half_size.extra_loss_interval, result.double_size.extra_loss_interval]
    if not all(np.isfinite(interval).all() for interval in intervals):
        lines.append(
            "no bound: these runs tell none; it lies beyond their worst loss, or beyond the sizes that were searched"
        )
    if result.beyond > 1.005:
        lines.append(
            f"The budget is {result.beyond:.3g} times the largest fitted one; the interval of the loss allows for that."
        )
    if result.next_run is not None:
        run = result.next_run
        lines.append(
            f"next     {run.params:.3g} params on {run.tokens:.3g} tokens ({run.flops:.2g} FLOPs) tells most of this "
            f"loss per FLOP: {run.narrows:.0%} of its variance should go"
        )
    return "\n".join(lines)


def _describe_detour(name: str, other: Detour) -> str:
    return (
        f"{name} ({other.params:.3g} params, {other.tokens:.3g} tokens): loss {other.loss:.4f}, "
        f"+{other.extra_loss:.4f} {between(*other.extra_loss_interval, '.4f')}, wastes {other.wasted:.0%} of the budget"
    )

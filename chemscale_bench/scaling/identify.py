"""Refuse what the data cannot tell: too few sizes, too short a span, a parameter that hardly matters."""

from __future__ import annotations

import numpy as np
from scipy import stats

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.bootstrap import Fitted
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.projection import bounds
from chemscale_bench.scaling.solver import huber, minimise

SMALLEST_SPAN = 3.6
"""Smallest ratio of the largest size to the smallest: a factor 4 as asked for, as sizes are met within 5 % each."""
SMALLEST_SPREAD = 1.25
"""Smallest ratio, across the line along which params and tokens grow together, that tells the two apart."""
FACTOR = 3.0
"""An exponent that could as well be this many times smaller or larger is not reported."""
CONFIDENCE = 0.95
"""How sure to be that a parameter matters before it is reported."""


class UnidentifiedError(UserError, ValueError):
    """The data cannot tell what was asked; the message says why and what to run next."""


def require_sizes(x: Array, name: str, law: str, fewest: int) -> None:
    """Refuse a column of sizes (n,) with too few distinct values or too short a span.

    Raises:
        UnidentifiedError: with what to run next.
    """
    distinct = np.unique(x)
    if len(distinct) < fewest:
        listed = ", ".join(f"{value:.3g}" for value in distinct[:5])
        raise UnidentifiedError(
            f"{law} needs at least {fewest} different {name}, got {len(distinct)} ({listed}); "
            f"run {fewest - len(distinct)} more, each 2 to 4 times larger than the last"
        )
    span = distinct[-1] / distinct[0]
    if span < SMALLEST_SPAN:
        raise UnidentifiedError(
            f"{law} needs {name} that span at least a factor {SMALLEST_SPAN:g}, got {span:.3g} ({distinct[0]:.3g} to "
            f"{distinct[-1]:.3g}); add a run at {name} of {SMALLEST_SPAN * distinct[0]:.2g} or more"
        )


def require_points(points: int, parameters: int, law: str) -> None:
    """Refuse fewer different settings than parameters plus one.

    Raises:
        UnidentifiedError: with what to run next.
    """
    if points <= parameters:
        raise UnidentifiedError(
            f"{law} has {parameters} parameters and needs more settings than that, got {points}; "
            f"run {parameters + 1 - points} more sizes or budgets"
        )


def require_apart(log_sizes: Array, law: str) -> None:
    """Refuse runs whose params and tokens grow in step, so that nothing tells the two apart.

    Args:
        log_sizes: log params and log tokens (n, 2).
        law: what needs them, for the message.

    Raises:
        UnidentifiedError: with what to run next.
    """
    centred = log_sizes - log_sizes.mean(axis=0)
    smallest = np.linalg.svd(centred, full_matrices=False)[2][1]
    apart = float(np.exp(np.ptp(centred @ smallest)))
    if apart < SMALLEST_SPREAD:
        raise UnidentifiedError(
            f"{law} needs runs whose tokens do not follow from their params, got all within a factor {apart:.3g} of "
            "one power law between the two; run one size on 4 times fewer or more tokens"
        )


def flat_parameters(fitted: Fitted, objective: float) -> dict[str, str]:
    """Raw exponents and floors whose profile likelihood is flat, with the reason.

    A parameter is held at the alternative, the others are refitted, and the objective may rise by no more than
    noise would let it: 2 (n - P) log(F_held / F_best) below the quantile of chi-squared (Huber losses this deep in
    their linear part are Laplace likelihoods, whose scale is profiled out). Without its change of exponent a break
    loses its place and width too, hence three degrees of freedom. An exponent that ends at the steepest one that is
    tried says that some sizes differ from the others, not how the loss falls with size.
    """
    alternatives = [
        (index, name, value, says)
        for index, name in enumerate(fitted.form.names)
        for value, says in _alternatives(name, float(fitted.theta[index]))
    ]
    lower, upper = bounds(fitted.form, fitted.u, fitted.log_loss)
    low, high = (np.tile(bound, (len(alternatives), 1)) for bound in (lower, upper))
    start = np.tile(fitted.theta, (len(alternatives), 1))
    for row, (index, _, value, _) in enumerate(alternatives):
        held = lower[index] if np.isneginf(value) else value
        low[row, index] = high[row, index] = start[row, index] = held
    found = minimise(fitted.form, start, fitted.u, fitted.log_loss, fitted.weight, fitted.delta, (low, high))
    # Below rounding error in the losses a fit is perfect, and any rise counts.
    noise = float(np.sum(fitted.weight * huber(np.full_like(fitted.log_loss, 1e-9), fitted.delta)))
    free = max(1, len(fitted.log_loss) - len(fitted.theta))
    rise = 2 * free * np.log((found.objective + noise) / (objective + noise))
    reasons: dict[str, str] = {}
    for (_, name, _, says), likelihood in zip(alternatives, rise, strict=True):
        if likelihood < stats.chi2.ppf(CONFIDENCE, 3 if name.startswith("change_") else 1):
            reasons.setdefault(name, says)
    for name, value, most in zip(fitted.form.names, fitted.theta, upper, strict=True):
        if name.startswith("exponent_") and value > 0.99 * most:
            reasons[name] = f"steeper exponents fit these runs ever better, up to the {most:.3g} that is tried"
    return reasons


def _alternatives(name: str, value: float) -> list[tuple[float, str]]:
    if name == "log_floor":
        return [(-np.inf, "these runs would fit a law without it as well")]
    if name.startswith("exponent_"):
        return [
            (value / FACTOR, f"these runs would fit one {FACTOR:g} times smaller as well"),
            (value * FACTOR, f"these runs would fit one {FACTOR:g} times larger as well"),
        ]
    if name.startswith("change_"):
        return [(0.0, "a curve without that break fits as well")]
    return []

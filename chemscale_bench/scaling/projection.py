"""Where to start a fit: variable projection over a grid of exponents.

With the exponents (and breaks) held, a law is linear in its other parameters, so those come from one small least
squares problem per grid cell, solved for all cells at once. The best few cells are then polished on all parameters.

Shapes: K grid cells, n points, P parameters.
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from chemscale_bench.scaling.forms import AdditiveForm, AffineForm, Array, BrokenForm, Form
from chemscale_bench.scaling.solver import Minimum, huber, minimise

JOINT = AdditiveForm(("params", "tokens"), floor=True)
SMALLEST_SHARE = 1e-5
"""Share of the smallest loss below which a floor counts as zero."""
POLISHED = 6
"""Grid cells that are carried on to the optimum."""


def bounds(form: Form, u: Array, log_loss: Array) -> tuple[Array, Array]:
    """Lowest and highest raw parameters (P,) that the data could speak of at all."""
    span, lowest = np.ptp(u, axis=0), float(np.min(log_loss))
    spacing = float(np.diff(np.unique(u[:, 0])).min())
    steepest = 30 / float(span.min())
    limits = {
        "log_floor": (lowest + np.log(SMALLEST_SHARE), lowest + 1),
        "log_break": (u[:, 0].min(), u[:, 0].max()),
        "log_width": (np.log(spacing / 4), np.log(span[0] / 2)),
        "exponent": (0.0, steepest),
        "change_scale": (-5.0, 5.0),
        "change_exponent": (-0.5, 0.5),
        "change": (-steepest, steepest),
        "log_scale": (lowest - 60, lowest + 60),
    }
    chosen = [next(limits[key] for key in limits if name.startswith(key)) for name in form.names]
    return np.array([low for low, _ in chosen]), np.array([high for _, high in chosen])


def best_fit(form: Form, u: Array, log_loss: Array, weight: Array, delta: float) -> tuple[Array, float]:
    """The global minimum of the summed Huber loss: raw parameters (P,) and the objective."""
    lower, upper = bounds(form, u, log_loss)
    starts = broken_starts(form, u, log_loss, weight) if isinstance(form, BrokenForm) else None
    if isinstance(form, AdditiveForm):
        starts = additive_starts(form, u, log_loss, weight)
    if isinstance(form, AffineForm):
        starts = affine_starts(form, additive_starts(JOINT, u, log_loss, weight))
    assert starts is not None
    starts = np.clip(starts, lower, upper)
    value = (weight * huber(log_loss - form.log_loss(starts, u), delta)).sum(axis=1)
    chosen = starts[np.argsort(value, kind="stable")[:POLISHED]]
    found: Minimum = minimise(form, chosen, u, log_loss, weight, delta, (lower, upper), tolerance=1e-12)
    best = int(np.argmin(found.objective))
    return found.theta[best], float(found.objective[best])


def additive_starts(form: AdditiveForm, u: Array, log_loss: Array, weight: Array) -> Array:
    """Raw parameters (K, P): floor and scales by non-negative least squares at each cell of a grid of exponents."""
    grids = [np.geomspace(0.1, 10, 10) / span for span in np.ptp(u, axis=0)]
    exponents = np.array(list(product(*grids)))
    columns = [np.exp(-exponents[:, k : k + 1] * feature) for k, feature in enumerate(u.T)]
    if form.floor:
        columns.insert(0, np.ones((len(exponents), len(u))))
    # Relative residuals, as the fit is in log loss: the target is 1 everywhere.
    basis = np.stack(columns, axis=2) / np.exp(log_loss)[:, None]
    weights = np.broadcast_to(weight, basis.shape[:2])
    for _ in range(4):
        linear = non_negative_least_squares(basis, weights)
        miss = np.abs((basis @ linear[:, :, None])[:, :, 0] - 1)
        # Two or three rounds of reweighting take least squares most of the way to least absolute errors.
        weights = weight / np.maximum(miss, 1e-3)
    smallest = SMALLEST_SHARE * np.exp(log_loss.min())
    logs = np.log(np.maximum(linear, smallest))
    start = int(form.floor)
    theta = np.empty((len(exponents), len(form.names)))
    theta[:, :start] = logs[:, :start]
    theta[:, start::2], theta[:, start + 1 :: 2] = logs[:, start:], exponents
    return theta


def affine_starts(form: AffineForm, joint: Array) -> Array:
    """Raw parameters (K, P) at which a form is the joint law with parameters `joint` (K, 5), or the nearest to it."""
    values = dict(zip(JOINT.names, joint.T, strict=True))
    values["exponent_both"] = (values["exponent_params"] + values["exponent_tokens"]) / 2
    return np.column_stack([values.get(name, np.zeros(len(joint))) for name in form.names])


def non_negative_least_squares(basis: Array, weight: Array) -> Array:
    """Solve K problems min sum_i w_i (basis_i x - 1)^2 with x >= 0, by trying every set of positive entries.

    Args:
        basis: (K, n, p) with p <= 3.
        weight: (K, n).

    Returns:
        x (K, p).
    """
    size = basis.shape[2]
    weighted = np.swapaxes(basis * weight[:, :, None], 1, 2)
    normal, right = weighted @ basis, weighted.sum(axis=2)
    best, lowest = np.zeros((len(basis), size)), np.full(len(basis), np.inf)
    for count in range(1, size + 1):
        for chosen in combinations(range(size), count):
            index = list(chosen)
            matrix = normal[:, index][:, :, index]
            ridge = 1e-12 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(count)
            part = np.linalg.solve(matrix + ridge, right[:, index, None])[:, :, 0]
            # At the solution the residual is sum w - right.x, so the largest right.x wins.
            value = np.where((part >= 0).all(axis=1), -(right[:, index] * part).sum(axis=1), np.inf)
            better = value < lowest
            lowest[better] = value[better]
            best[better] = 0
            best[np.flatnonzero(better)[:, None], index] = part[better]
    return best


def broken_starts(form: BrokenForm, u: Array, log_loss: Array, weight: Array) -> Array:
    """Raw parameters (K, P): log scale and exponents by least squares of log(L - floor), at a grid of the rest."""
    x, span = u[:, 0], float(np.ptp(u[:, 0]))
    places = np.quantile(np.unique(x), np.linspace(0.1, 0.9, 9 if form.breaks == 1 else 7))
    starts = []
    shares = (SMALLEST_SHARE, 0.3, 0.6, 0.85, 0.95) if form.floor else (0.0,)
    for share, middles, width in product(shares, combinations(places, form.breaks), (0.02, 0.08, 0.2)):
        rises = [span * width * np.logaddexp(0, (x - middle) / (span * width)) for middle in middles]
        floor = share * np.exp(log_loss.min())
        above = np.exp(log_loss) - floor
        root = np.sqrt(weight) * above / np.exp(log_loss)
        design = np.column_stack([np.ones_like(x), -x, *(-rise for rise in rises)])
        linear = np.linalg.lstsq(design * root[:, None], np.log(above) * root, rcond=1e-10)[0]
        theta = [*([np.log(floor)] if form.floor else []), *linear[:2]]
        for change, middle in zip(linear[2:], middles, strict=True):
            theta += [change, middle, np.log(span * width)]
        starts.append(theta)
    return np.array(starts)

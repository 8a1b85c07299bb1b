"""Minimise summed Huber losses of log residuals, for many weightings of one table at once.

Shapes: R replicates, n points, P parameters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chemscale_bench.scaling.forms import Array, Form

CHUNK_ELEMENTS = 60_000
"""Points times replicates worked on at once: the temporaries then stay in the processor's cache."""


class Minimum(NamedTuple):
    """Where R minimisations ended."""

    theta: Array
    """(R, P)"""
    objective: Array
    """(R,)"""
    converged: NDArray[np.bool_]
    """(R,) bool"""


TAIL = 1e-6
"""Curvature of the loss beyond `delta`. With none, sums over few points are flat between several best lines, and which
one a fit ends at depends on the rounding of the processor; with this much, one is best. At the usual delta, 1e-3, a
point that is off by a factor of e pulls 0.1 % more than one that is slightly off."""


def huber(residual: Array, delta: float) -> Array:
    """Huber's loss, r^2/2 up to `delta`, then delta (|r| - delta/2), plus TAIL (|r| - delta)^2/2 there."""
    size = np.abs(residual)
    inside = np.minimum(size, delta)
    loss: Array = inside * (size - inside / 2) + TAIL / 2 * (size - inside) ** 2
    return loss


def minimise(
    form: Form,
    theta: Array,
    u: Array,
    log_loss: Array,
    weight: Array,
    delta: float,
    bounds: tuple[Array, Array],
    iterations: int = 200,
    tolerance: float = 1e-9,
) -> Minimum:
    """Minimise sum_i weight_i Huber(log_loss_i - log L(theta, u_i)) from each start.

    Newton's method with the exact Hessian, damped by the matrix of iteratively reweighted least squares: that matrix
    majorises the Huber loss, so large damping always descends, and small damping converges quadratically once the
    set of points inside `delta` has settled. A parameter that pushes against a bound is held there.

    Args:
        form: the law.
        theta: starts (R, P).
        u: features (n, F).
        log_loss: targets, (n,) or (R, n).
        weight: non-negative weights, (n,) or (R, n).
        delta: where Huber's loss turns linear, in log loss.
        bounds: lowest and highest parameters, each (P,) or (R, P); equal ones hold a parameter fixed.
        iterations: most Newton steps.
        tolerance: stop when a step promises less than this share of the objective.
    """
    shape = (len(theta), len(u))
    lower, upper = (np.broadcast_to(bound, theta.shape) for bound in bounds)
    theta = np.clip(theta, lower, upper)
    weight, targets = np.broadcast_to(weight, shape), np.broadcast_to(log_loss, shape)
    objective, converged = np.empty(len(theta)), np.zeros(len(theta), dtype=bool)
    step = max(1, CHUNK_ELEMENTS // max(1, len(u)))
    for start in range(0, len(theta), step):
        part = slice(start, start + step)
        problem = _Problem(form, u, targets[part], weight[part], delta, lower[part], upper[part])
        theta[part], objective[part], converged[part] = _minimise_chunk(problem, theta[part], iterations, tolerance)
    return Minimum(theta, objective, converged)


class _Problem(NamedTuple):
    """R weighted fits of one law to the same sizes."""

    form: Form
    u: Array
    log_loss: Array
    weight: Array
    delta: float
    lower: Array
    upper: Array

    def objective(self, theta: Array, rows: NDArray[np.intp]) -> Array:
        """The summed Huber loss (R,) of the chosen rows."""
        residual = self.log_loss[rows] - self.form.log_loss(theta, self.u)
        total: Array = (self.weight[rows] * huber(residual, self.delta)).sum(axis=1)
        return total

    def system(self, theta: Array, rows: NDArray[np.intp]) -> tuple[Array, Array, Array]:
        """Gradient (R, P), exact Hessian and majorant (R, P, P); parameters held at a bound decouple."""
        model = self.form.derivatives(theta, self.u)
        residual, weight = self.log_loss[rows] - model.log_loss, self.weight[rows]
        size = np.abs(residual)
        clipped = np.clip(residual, -self.delta, self.delta)
        influence = weight * (clipped + TAIL * (residual - clipped))
        across = np.swapaxes(model.jacobian, 1, 2)
        gradient = -(across @ influence[:, :, None])[:, :, 0]
        inside = weight * np.where(size <= self.delta, 1, TAIL)
        newton = (across * inside[:, None]) @ model.jacobian - model.curvature(influence)
        share = self.delta / np.maximum(size, self.delta)
        majorant = (across * (weight * (share + TAIL * (1 - share)))[:, None]) @ model.jacobian
        held = ((theta <= self.lower[rows]) & (gradient > 0)) | ((theta >= self.upper[rows]) & (gradient < 0))
        if held.any():
            gradient[held] = 0
            coupled = ~(held[:, :, None] | held[:, None])
            newton, majorant = newton * coupled, majorant * coupled
            row, column = np.nonzero(held)
            newton[row, column, column] = majorant[row, column, column] = majorant.max(axis=(1, 2))[row] + self.delta**2
        return gradient, newton, majorant


def _minimise_chunk(problem: _Problem, theta: Array, iterations: int, tolerance: float) -> Minimum:
    count, size = theta.shape
    active = np.arange(count)
    objective = problem.objective(theta, active)
    converged, stale = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
    damping = np.full(count, 0.1)
    nothing = 1e-16 * problem.weight.sum(axis=1) * problem.delta**2 + np.finfo(float).tiny
    gradient, newton, majorant = (np.empty((count, *shape)) for shape in ((size,), (size, size), (size, size)))
    for _ in range(iterations):
        # The system of a rejected step is kept: only its damping changes.
        fresh = active[stale[active]]
        if len(fresh):
            gradient[fresh], newton[fresh], majorant[fresh] = problem.system(theta[fresh], fresh)
            ridge = 1e-12 * np.trace(majorant[fresh], axis1=1, axis2=2) + np.finfo(float).tiny
            majorant[fresh] += ridge[:, None, None] * np.eye(size)
            stale[fresh] = False
        g, metric, lam = gradient[active], majorant[active], damping[active, None, None]
        move = -_solve(newton[active] + lam * metric, g)
        promise = -(g * move).sum(axis=1)
        # An indefinite Hessian can point uphill; the majorant alone never does.
        uphill = ~(promise > 0)
        if uphill.any():
            move[uphill] = -_solve((1 + lam[uphill]) * metric[uphill], g[uphill])
            promise[uphill] = -(g[uphill] * move[uphill]).sum(axis=1)
        trial = np.clip(theta[active] + np.clip(move, -2, 2), problem.lower[active], problem.upper[active])
        value = problem.objective(trial, active)
        gain = objective[active] - value
        better = gain > 0
        index = active[better]
        theta[index], objective[index], stale[index] = trial[better], value[better], True
        damping[index[gain[better] > 0.3 * promise[better]]] /= 8
        damping[active[~better]] *= 6
        np.clip(damping, 1e-9, 1e9, out=damping)
        done = (promise < tolerance * objective[active] + nothing[active]) | (~better & (damping[active] > 1e7))
        converged[active[done]] = True
        active = active[~done]
        if not len(active):
            break
    return Minimum(theta, objective, converged)


def _solve(matrix: Array, vector: Array) -> Array:
    """Solve R small systems; a replicate that drew too few sizes is singular and takes the shortest step."""
    try:
        solution: NDArray[np.floating] = np.linalg.solve(matrix, vector[:, :, None])
    except np.linalg.LinAlgError:
        solution = np.linalg.pinv(matrix, hermitian=True) @ vector[:, :, None]
    step: Array = np.asarray(solution[:, :, 0], dtype=float)
    return step

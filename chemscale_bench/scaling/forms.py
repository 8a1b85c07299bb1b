"""The formulas of the laws, in logarithms, with exact derivatives, for many parameter vectors at once.

Every law here is a sum of positive terms, so its logarithm is a log-sum-exp of terms z_k:

    log L = log sum_k exp z_k(theta, u),   u = log size - mean(log size)

Shapes: R parameter vectors (replicates), n points, K terms, P parameters, F features (log sizes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Derivatives(NamedTuple):
    """Value and derivatives of log L at R parameter vectors."""

    log_loss: Array
    """(R, n)"""
    jacobian: Array
    """(R, n, P), the derivative of log L by each parameter."""
    curvature: Callable[[Array], Array]
    """Maps coefficients c (R, n) to sum_i c_i Hessian(log L_i), (R, P, P)."""


class Form(Protocol):
    """What the solver needs to know of a law."""

    names: tuple[str, ...]

    def log_loss(self, theta: Array, u: Array) -> Array:
        """Log L (R, n) at `theta` (R, P) for features `u` (n, F)."""

    def derivatives(self, theta: Array, u: Array) -> Derivatives:
        """Log L with its exact derivatives."""


def log_sum_exp(z: Array) -> Array:
    """Log of the sum of exp over the first axis of `z` (K, R, n), without overflow."""
    top = z.max(axis=0)
    total: Array = top + np.log(np.exp(z - top).sum(axis=0))
    return total


class AdditiveForm:
    """L = [E] + sum_k A_k x_k^-e_k: the pure power law, the one with a floor, and the joint law.

    Parameters are ordered (log E if there is a floor, then log A_k and e_k for each feature), so z_k is affine in
    them and the Hessian of log L is a covariance of the constant gradients of z_k: exact, and cheap.
    """

    def __init__(self, features: tuple[str, ...], floor: bool) -> None:
        self.floor = floor
        self.names = ("log_floor",) * floor + tuple(
            name for feature in features for name in (f"log_scale_{feature}", f"exponent_{feature}")
        )

    def terms(self, theta: Array, u: Array) -> Array:
        """The terms z (K, R, n)."""
        start = int(self.floor)
        z = np.empty((start + u.shape[1], len(theta), len(u)))
        z[:start] = theta[:, :1]
        for k, feature in enumerate(u.T):
            i = start + 2 * k
            z[start + k] = theta[:, i : i + 1] - theta[:, i + 1 : i + 2] * feature
        return z

    def log_loss(self, theta: Array, u: Array) -> Array:
        """Log L (R, n)."""
        return log_sum_exp(self.terms(theta, u))

    def derivatives(self, theta: Array, u: Array) -> Derivatives:
        """Log L with its exact derivatives."""
        z = self.terms(theta, u)
        log_loss = log_sum_exp(z)
        share = np.exp(z - log_loss)
        start = int(self.floor)
        jacobian = np.empty((*log_loss.shape, theta.shape[1]))
        if self.floor:
            jacobian[:, :, 0] = share[0]
        for k, feature in enumerate(u.T):
            jacobian[:, :, start + 2 * k] = share[start + k]
            jacobian[:, :, start + 2 * k + 1] = -share[start + k] * feature

        def curvature(c: Array) -> Array:
            weighted = c * share
            hessian = -np.swapaxes(jacobian * c[:, :, None], 1, 2) @ jacobian
            if self.floor:
                hessian[:, 0, 0] += weighted[0].sum(axis=1)
            for k, feature in enumerate(u.T):
                i, w = start + 2 * k, weighted[start + k]
                hessian[:, i, i] += w.sum(axis=1)
                cross = w @ feature
                hessian[:, i, i + 1] -= cross
                hessian[:, i + 1, i] -= cross
                hessian[:, i + 1, i + 1] += w @ feature**2
            return hessian

        return Derivatives(log_loss, jacobian, curvature)


class AffineForm:
    """L = sum_k exp z_k in which every z_k is affine in the parameters, of log sizes n and d.

    Args:
        names: of the parameters.
        terms: of the centred log sizes, (n,) each, the terms z_k as {place of a parameter: its factor}.
    """

    def __init__(self, names: tuple[str, ...], terms: Callable[[Array, Array], list[dict[int, Any]]]) -> None:
        self.names, self._terms = names, terms

    def design(self, u: Array) -> Array:
        """The gradients (K, n, P) of the terms z_k."""
        terms = self._terms(*u.T)
        design = np.zeros((len(terms), len(u), len(self.names)))
        for k, term in enumerate(terms):
            for place, factor in term.items():
                design[k, :, place] = factor
        return design

    def log_loss(self, theta: Array, u: Array) -> Array:
        """Log L (R, n)."""
        return log_sum_exp(theta @ np.swapaxes(self.design(u), 1, 2))

    def derivatives(self, theta: Array, u: Array) -> Derivatives:
        """Log L with its exact derivatives; its Hessian is the covariance of the terms' gradients."""
        design = self.design(u)
        z = theta @ np.swapaxes(design, 1, 2)
        log_loss = log_sum_exp(z)
        share = np.exp(z - log_loss)
        jacobian: Array = np.einsum("krn,knp->rnp", share, design)

        def curvature(c: Array) -> Array:
            hessian = -np.swapaxes(jacobian * c[:, :, None], 1, 2) @ jacobian
            for part, gradient in zip(share, design, strict=True):
                products = (gradient[:, :, None] * gradient[:, None]).reshape(len(u), -1)
                hessian += ((c * part) @ products).reshape(hessian.shape)
            return hessian

        return Derivatives(log_loss, jacobian, curvature)


class BrokenForm:
    """The smoothly broken power law (Caballero et al. 2022, eq. 1).

    log(L - a) = log b - c0 u - sum_i c_i f_i log(1 + exp((u - log d_i) / f_i)); parameters are ordered
    (log a if there is a floor, log b, c0, then c_i, log d_i, log f_i for each break).
    """

    def __init__(self, breaks: int, floor: bool) -> None:
        self.breaks, self.floor = breaks, floor
        self.names = (
            ("log_floor",) * floor
            + ("log_scale", "exponent")
            + tuple(f"{name}_{i}" for i in range(1, breaks + 1) for name in ("change", "log_break", "log_width"))
        )

    def power(self, theta: Array, u: Array) -> Array:
        """The logarithm of the broken power (R, n), without the floor."""
        x, start = u[:, 0], int(self.floor)
        power: Array = theta[:, start : start + 1] - theta[:, start + 1 : start + 2] * x
        for i in range(start + 2, theta.shape[1], 3):
            change, middle, width = _break(theta, i)
            power = power - change * width * np.logaddexp(0, (x - middle) / width)
        return power

    def log_loss(self, theta: Array, u: Array) -> Array:
        """Log L (R, n)."""
        power = self.power(theta, u)
        total: Array = np.logaddexp(theta[:, :1], power) if self.floor else power
        return total

    def derivatives(self, theta: Array, u: Array) -> Derivatives:
        """Log L with its exact derivatives."""
        power = self.power(theta, u)
        log_loss = np.logaddexp(theta[:, :1], power) if self.floor else power
        share = np.exp(power - log_loss)
        x, start = u[:, 0], int(self.floor)
        slope = np.zeros((*power.shape, theta.shape[1]))  # of `power`
        slope[:, :, start] = 1
        slope[:, :, start + 1] = -x
        second: dict[tuple[int, int], Array] = {}
        for i in range(start + 2, theta.shape[1], 3):
            change, middle, width = _break(theta, i)
            t = (x - middle) / width
            past, rise = np.exp(-np.logaddexp(0, -t)), np.logaddexp(0, t)
            bell = past * (1 - past)
            by_width = -width * (rise - t * past)
            slope[:, :, i] = -width * rise
            slope[:, :, i + 1] = change * past
            slope[:, :, i + 2] = change * by_width
            second[i, i + 1] = past
            second[i, i + 2] = by_width
            second[i + 1, i + 1] = -change / width * bell
            second[i + 1, i + 2] = -change * t * bell
            second[i + 2, i + 2] = change * (by_width - width * t**2 * bell)
        jacobian = share[:, :, None] * slope
        if self.floor:
            jacobian[:, :, 0] = 1 - share

        def curvature(c: Array) -> Array:
            # Hessian(log L) = share (H(power) + slope slope') + (1 - share) e0 e0' - jacobian jacobian'
            weighted = c * share
            hessian = np.swapaxes(slope * weighted[:, :, None], 1, 2) @ slope
            hessian -= np.swapaxes(jacobian * c[:, :, None], 1, 2) @ jacobian
            if self.floor:
                hessian[:, 0, 0] += (c * (1 - share)).sum(axis=1)
            for (j, k), value in second.items():
                total = (weighted * value).sum(axis=1)
                hessian[:, j, k] += total
                if j != k:
                    hessian[:, k, j] += total
            return hessian

        return Derivatives(log_loss, jacobian, curvature)


def _break(theta: Array, i: int) -> tuple[Array, Array, Array]:
    """Change of exponent, log place and width, (R, 1) each, of the break whose parameters begin at column `i`."""
    return theta[:, i : i + 1], theta[:, i + 1 : i + 2], np.exp(theta[:, i + 2 : i + 3])

"""What is known of a law, with or without runs: a Gaussian over its parameters.

Losses are taken to follow the most flexible form of the forecast (forecast.py),

    L = E + A N^-alpha + B N^change D^-(beta - change' log N)

whose parameters have a prior: exponents as published studies found them, corrections near zero. A run of one size
reports at one or several data sizes. What it reports is off the law for three reasons: its seed, which more seeds
average out; its size, whose shape or rate may suit it better than others; its data size. The last two stay however many
seeds there are. All of them grow towards small compute, as the weights of the forecast have it.

Shapes: P = 7 parameters, m points, T data sizes, K designs. Sizes are natural logs about `Belief.centre`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import block_diag
from scipy.special import ndtri

from chemscale_bench.scaling.forecast import DRIFT, FORMS
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.weighting import COMPUTE_POWER

FORM = FORMS["interaction"]
LEVELS, EXPONENTS = [0, 1, 3], [2, 4]
"""Places of the logs of E, A, B, and of alpha, beta."""
LEAST_EXPONENT = 0.02
"""What is believed of losses that do not fall: below 0 no size has a best number of tokens, which designs ask for."""

Target = Literal["exponent"] | float
"""What is asked: both exponents, or the loss of a model of so many parameters on its best number of tokens."""


class Noise(NamedTuple):
    """Standard deviations of log loss at the largest compute."""

    seed: float
    """Of the seeds of one size."""
    size: float
    """Of sizes about the law."""
    point: float
    """Of data sizes about it."""

    def weight(self, runs: Array) -> Array:
        """The inverse (T, T) of the covariance of a size's mean log losses; (..., T, T) in, (..., T, T) out.

        Args:
            runs: how many runs of that size report at both of two data sizes; zero on the diagonal where none does.
        """
        count = np.diagonal(runs, axis1=-2, axis2=-1)
        reports = count > 0
        shared = runs / np.where(reports, count, 1)[..., :, None] / np.where(reports, count, 1)[..., None, :]
        covariance = self.seed**2 * shared + self.size**2 + self.point**2 * np.eye(runs.shape[-1])
        both = reports[..., :, None] & reports[..., None, :]
        return np.asarray(np.linalg.inv(np.where(both, covariance, np.eye(runs.shape[-1]))) * both)


class Measured(NamedTuple):
    """A run that was made."""

    params: float
    data: tuple[float, ...]
    loss: tuple[float, ...]


class Belief(NamedTuple):
    """What is known of a law: a Gaussian over the parameters of `FORM`."""

    theta: Array
    """(P,), the most likely ones."""
    precision: Array
    """(P, P), the inverse of their covariance."""
    centre: Array
    """(2,), logs of the params and the data at which the scales are told."""
    noise: Noise

    @property
    def covariance(self) -> Array:
        """(P, P)."""
        return np.asarray(np.linalg.inv(self.precision))

    def gradient(self, params: ArrayLike, data: ArrayLike) -> Array:
        """The gradient (m, P) of log L by the parameters, at params and data (m,)."""
        return np.asarray(FORM.derivatives(self.theta[None], self._centred(params, data)).jacobian[0])

    def predict(self, params: ArrayLike, data: ArrayLike) -> Array:
        """Log loss (m,)."""
        return np.asarray(FORM.log_loss(self.theta[None], self._centred(params, data))[0])

    def predict_interval(self, params: ArrayLike, data: ArrayLike, largest: float, level: float) -> tuple[Array, Array]:
        """Ends (m,) of the log losses of new runs: what is not known, the drift beyond the largest compute, and noise.

        Args:
            params: (m,)
            data: (m,)
            largest: params x data of the largest run that the belief knows.
            level: of the interval.
        """
        gradient = self.gradient(params, data)
        beyond = np.maximum(np.log10(np.asarray(params) * np.asarray(data) / largest), 0)
        variance = ((gradient @ self.covariance) * gradient).sum(axis=1) + DRIFT**2 * beyond
        half = ndtri((1 + level) / 2) * np.sqrt(variance + sum(deviation**2 for deviation in self.noise))
        middle = self.predict(params, data)
        return middle - half, middle + half

    def exponents(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The exponents alpha and beta, each with its standard deviation."""
        deviation = np.sqrt(np.diag(self.covariance))
        alpha, beta = ((float(self.theta[place]), float(deviation[place])) for place in EXPONENTS)
        return alpha, beta

    def best_data(self, params: float) -> float:
        """The data size at which a size is compute-optimal: both terms then fall alike with what they cost."""
        theta, size = self.theta, np.log(params) - self.centre[0]
        log_data = (theta[3] + np.log(theta[4]) - np.log(theta[2]) - theta[1] + theta[2] * size) / theta[4]
        return float(np.exp(log_data + self.centre[1]))

    def after(self, runs: Sequence[Measured]) -> Belief:
        """This belief, changed by what runs measured; `self` is the prior.

        The most likely parameters given runs and prior, by Gauss-Newton steps that are halved until they help.
        """
        groups: dict[float, list[Measured]] = {}
        for run in runs:
            groups.setdefault(run.params, []).append(run)
        blocks = []
        for size, group in groups.items():
            at = sorted({value for run in group for value in run.data})
            covers = np.array([np.isin(at, run.data) for run in group], dtype=float)
            sums = sum(np.bincount(np.searchsorted(at, run.data), np.log(run.loss), len(at)) for run in group)
            blocks.append((np.full(len(at), size), np.array(at), sums / covers.sum(axis=0), covers.T @ covers))
        if not blocks:
            return self
        params, data, log_loss = (np.concatenate([block[place] for block in blocks]) for place in range(3))
        trust = relevance(params, data, float((params * data).max()))
        weight = block_diag(*(self.noise.weight(block[3]) for block in blocks)) * trust[:, None] * trust
        # The level first: a prior that is off by a factor would send the first step far away.
        shift = float(np.mean(log_loss - self.predict(params, data)))
        theta = self.theta.copy()
        theta[LEVELS] += shift

        def misfit(at: Array) -> float:
            error = log_loss - self._replace(theta=at).predict(params, data)
            return float(error @ weight @ error + (at - self.theta) @ self.precision @ (at - self.theta))

        def moved(at: Array, step: ArrayLike) -> Array:
            there: Array = at + np.asarray(step)
            there[EXPONENTS] = np.maximum(there[EXPONENTS], LEAST_EXPONENT)
            return there

        for _ in range(50):
            now = self._replace(theta=theta)
            gradient, error = now.gradient(params, data), log_loss - now.predict(params, data)
            precision = self.precision + gradient.T @ weight @ gradient
            step = np.linalg.solve(precision, gradient.T @ weight @ error - self.precision @ (theta - self.theta))
            before = misfit(theta)
            size = 1.0
            while size > 1e-4 and not misfit(moved(theta, size * step)) < before:
                size /= 2
            if size <= 1e-4 or before - misfit(moved(theta, size * step)) < 1e-6 * before:
                break
            theta = moved(theta, size * step)
        error = log_loss - self._replace(theta=theta).predict(params, data)
        # Runs that scatter more than the noise that is assumed tell less.
        excess = max(1.0, float(error @ weight @ error) / len(data))
        return self._replace(theta=theta, precision=self.precision + (precision - self.precision) / excess)

    def uncertainty(self, precisions: Array, target: Target, largest: Array) -> Array:
        """What a design shall make small, (K,), for precisions (K, P, P) and the largest params x data of each (K,).

        For exponents the log of their mean standard deviation (geometric, and free of their correlation), for a target
        the log of the standard deviation of its log loss, the drift of a law beyond its data included.
        """
        covariance = np.linalg.inv(precisions)
        if target == "exponent":
            block = covariance[:, EXPONENTS][:, :, EXPONENTS]
            return np.asarray(np.log(np.linalg.det(block)) / 4)
        size = float(target)
        data = self.best_data(size)
        gradient = self.gradient([size], [data])[0]
        beyond = np.maximum(np.log10(size * data) - np.log10(largest), 0)
        return np.asarray(np.log(gradient @ covariance @ gradient + DRIFT**2 * beyond) / 2)

    def _centred(self, params: ArrayLike, data: ArrayLike) -> Array:
        return np.column_stack([np.log(params), np.log(data)]) - self.centre


def relevance(params: ArrayLike, data: ArrayLike, largest: float) -> Array:
    """By how much errors (m,) at the largest compute are smaller than those at params x data."""
    return np.asarray((np.asarray(params) * np.asarray(data) / largest) ** (COMPUTE_POWER / 2))


def prior(family: Literal["language_model", "force_field"], params: float, data: float) -> Belief:
    """What published studies let expect of a study about some size and data.

    A language model's loss has a floor of half its value, exponents near .3 (Hoffmann et al. 2022; .17 without a floor
    in Frey et al. 2023); a force field's error has next to none and falls faster with frames (.5; Frey et al. report
    .26 for an equivariant one).

    Args:
        family: of the task.
        params: a typical size, where the scales are told.
        data: typical tokens or frames.
    """
    (floor, of_params, of_data, alpha, beta), noise = {
        "language_model": ((0.5, 0.2, 0.3, 0.30, 0.35), Noise(0.006, 0.005, 0.003)),
        "force_field": ((0.1, 0.3, 0.6, 0.25, 0.50), Noise(0.04, 0.03, 0.02)),
    }[family]
    theta = np.array([np.log(floor), np.log(of_params), alpha, np.log(of_data), beta, 0.0, 0.0])
    covariance = np.diag([0.5, 1.0, 0.15, 1.0, 0.15, 0.05, 0.01]) ** 2
    covariance[np.ix_(LEVELS, LEVELS)] += 3.0**2  # nothing is known of the unit
    return Belief(theta, np.linalg.inv(covariance), np.log([params, data]), noise)

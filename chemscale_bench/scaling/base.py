"""What all laws share: fitting, predicting, intervals, refusals."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.bootstrap import Fitted, Method, regular, replicate, resample
from chemscale_bench.scaling.forms import Array, Form
from chemscale_bench.scaling.identify import (
    UnidentifiedError,
    flat_parameters,
    require_apart,
    require_points,
    require_sizes,
)
from chemscale_bench.scaling.projection import best_fit
from chemscale_bench.scaling.table import DataError, check_positive, like, listed

OnFlat = Literal["raise", "nan", "ignore"]


class Interval(NamedTuple):
    """Ends of an interval, numbers or arrays of one shape."""

    low: Any
    high: Any


NO_UPPER, NO_LOWER = "no upper bound", "no lower bound"


def tells_upper(value: float, high: float, worst: float) -> bool:
    """Whether the upper end of a loss's interval says more than that no run was worse; more compute has less loss.

    Args:
        value: what is predicted.
        high: upper end of its interval.
        worst: highest loss of the fitted runs; of less compute than theirs more can be predicted, too.
    """
    return high <= (2 * value if value > worst else worst)


def bounded(value: float, interval: Interval, worst: float, digits: str = ".4g") -> str:
    """The interval of a loss as text; see `tells_upper`."""
    low, high = interval
    return between(low, high if tells_upper(value, high, worst) else np.inf, digits)


def between(low: float, high: float, digits: str = ".4g") -> str:
    """An interval as text, whose infinite ends are told in words."""
    lower, upper = f"{low:{digits}}" if low > -np.inf else NO_LOWER, f"{high:{digits}}" if high < np.inf else NO_UPPER
    return f"[{lower}, {upper}]"


class UnfittedError(UserError, NotFittedError):  # type: ignore[misc]
    """A law was asked before it was fitted."""


class ScalingLaw(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the laws; see `PowerLaw` for what a user sees.

    They are regressors of scikit-learn: `clone`, pipelines, `cross_val_score` and grids over their parameters work.

    The fit minimises the sum over points of weight x Huber(log loss - log law), with Huber's delta at 1e-3 and
    a trace of curvature beyond it (`solver.TAIL`), without which several laws can be equally good. The sum must not be
    divided by the number of points: gradients then fall below the optimisers' stopping rules, and the exponents come
    out wrong (Besiroglu et al. 2024).

    Args:
        delta: where Huber's loss turns from square to linear, in log loss.
        replicates: bootstrap refits, computed when an interval is first asked for.
        bootstrap: ``auto``, ``residuals`` or ``runs``; see `chemscale_bench.scaling.bootstrap`.
        seed: of the bootstrap.
        on_flat: what to do with a parameter whose profile likelihood is flat: ``raise``, or ``nan`` to report the
            others and give NaN for this one, or ``ignore`` to report it all the same.
    """

    features: ClassVar[tuple[str, ...]] = ("x",)
    fewest_sizes: ClassVar[int] = 3

    def __init__(
        self,
        *,
        delta: float = 1e-3,
        replicates: int = 1000,
        bootstrap: Method = "auto",
        seed: int = 0,
        on_flat: OnFlat = "raise",
    ) -> None:
        self.delta = delta
        self.replicates = replicates
        self.bootstrap = bootstrap
        self.seed = seed
        self.on_flat = on_flat

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = tags.target_tags.positive_only = True
        return tags

    def _form(self) -> Form:
        raise NotImplementedError

    def _natural(self, theta: Array) -> dict[str, Array]:
        """Parameters as users know them, (R,) each, from raw ones (R, P)."""
        raise NotImplementedError

    def _raw_name(self, name: str) -> str:
        """The raw parameter whose flat profile means that `name` cannot be told."""
        raise NotImplementedError

    def _fit(self, sizes: tuple[ArrayLike, ...], loss: ArrayLike, weight: ArrayLike | None, groups: ArrayLike) -> Self:
        columns = [check_positive(values, name) for values, name in zip(sizes, self.features, strict=True)]
        measured = check_positive(loss, "loss")
        if any(len(column) != len(measured) for column in columns):
            raise DataError(
                f"sizes and losses must have one length, got {[len(column) for column in columns]} and "
                f"{len(measured)}; pass one loss for each point"
            )
        law, form = type(self).__name__, self._form()
        for column, name in zip(columns, self.features, strict=True):
            require_sizes(column, name, law, self.fewest_sizes)
        log_sizes = np.log(np.column_stack(columns))
        require_points(len(np.unique(log_sizes, axis=0)), len(form.names), law)
        if len(columns) > 1:
            require_apart(log_sizes, law)
        weights = np.ones(len(measured)) if weight is None else check_positive(weight, "sample_weight")
        centre = log_sizes.mean(axis=0)
        u, log_loss = log_sizes - centre, np.log(measured)
        theta, self.objective_ = best_fit(form, u, log_loss, weights, self.delta)
        group: NDArray[np.intp] = np.unique(np.asarray(groups), return_inverse=True)[1]
        fitted = Fitted(form, theta, u, log_loss, weights, group, self.delta, centre)
        self.fitted_ = fitted._replace(regular=regular(fitted))
        self.n_features_in_ = len(self.features)
        self._replicates: Array | None = None
        self.residuals_ = self.fitted_.residual
        self.range_ = tuple((float(column.min()), float(column.max())) for column in columns)
        self._describe({} if self.on_flat == "ignore" else flat_parameters(self.fitted_, self.objective_))
        return self

    def _describe(self, flat: dict[str, str]) -> None:
        natural = self._natural(self.fitted_.theta[None])
        self.unidentified_ = {name: flat[self._raw_name(name)] for name in natural if self._raw_name(name) in flat}
        if self.unidentified_ and self.on_flat == "raise":
            raise UnidentifiedError(
                f"{type(self).__name__} cannot tell "
                + "; ".join(f"{name} from these points ({reason})" for name, reason in self.unidentified_.items())
                + f"; run sizes beyond {' and '.join(f'{high:.2g} {name}' for (_, high), name in self._ends())}, "
                "add seeds, or fit a law with fewer parameters"
            )
        self.parameters_ = {
            name: float("nan") if name in self.unidentified_ else float(value[0]) for name, value in natural.items()
        }
        for name, value in self.parameters_.items():
            setattr(self, f"{name}_", value)

    def _ends(self) -> list[tuple[tuple[float, float], str]]:
        return list(zip(self.range_, self.features, strict=True))

    @property
    def centre_(self) -> Array:
        """Mean log sizes (F,), which the features of `fitted_` are without."""
        return self.fitted_.centre

    @property
    def replicates_(self) -> Array:
        """Raw parameters of the bootstrap refits, (replicates, P), centred like `fitted_`."""
        self._require_fit()
        if self._replicates is None:
            self._replicates = replicate(self.fitted_, self.replicates, self.seed, self.bootstrap)
        return self._replicates

    def confidence_interval(self, name: str, level: float = 0.9) -> Interval:
        """Percentile interval of one of `parameters_`; NaN where the parameter is in `unidentified_`.

        Raises:
            UserError: if there is no such parameter.
        """
        self._require_fit()
        if name not in self.parameters_:
            raise UserError(f"name must be one of {', '.join(self.parameters_)}, got {name!r}; pass one of these")
        if name in self.unidentified_:
            return Interval(float("nan"), float("nan"))
        low, high = quantiles(self._natural(self.replicates_)[name], level)
        return Interval(float(low), float(high))

    def _log_predictions(self, theta: Array, sizes: tuple[ArrayLike, ...]) -> Array:
        self._require_fit()
        columns = [
            np.log(check_positive(listed(values), name)) for values, name in zip(sizes, self.features, strict=True)
        ]
        return self.fitted_.form.log_loss(theta, np.column_stack(np.broadcast_arrays(*columns)) - self.centre_)

    def _predict(self, sizes: tuple[ArrayLike, ...]) -> Any:
        self._require_fit()
        return like(sizes, np.exp(self._log_predictions(self.fitted_.theta[None], sizes)[0]))

    def _predict_interval(self, sizes: tuple[ArrayLike, ...], level: float, of: Literal["law", "run"]) -> Interval:
        log_loss = self._log_predictions(self.replicates_, sizes)
        if of == "run":
            random = np.random.default_rng(self.seed + 1)
            points: NDArray[np.intp] = np.arange(log_loss.shape[1])
            log_loss = log_loss + resample(self.fitted_, random, len(log_loss), points)
        return Interval(*(like(sizes, np.exp(end)) for end in quantiles(log_loss, level)))

    def _require_fit(self) -> None:
        if not hasattr(self, "fitted_"):
            raise UnfittedError(f"{type(self).__name__} must be fitted first, got no data; call fit")


def quantiles(values: Array, level: float) -> Array:
    """Lower and upper ends, along the first axis, of a percentile interval.

    Raises:
        UserError: unless `level` lies between 0 and 1.
    """
    if not 0 < level < 1:
        raise UserError(f"level must lie between 0 and 1, got {level}; use 0.9 for a 90 % interval")
    ends: Array = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends

"""What runs beyond the fitted ones will reach: several forms, weighted by a backtest, with an honest interval.

A law that fits all runs can still be wrong beyond them: on published tables the 90 % intervals of the joint law, fitted
up to a tenth of the largest compute, hold two thirds of the larger runs (benchmarks/extrapolation.md). Three things
mend that, each measured there:

- runs near the frontier and of much compute weigh more, since that is where predictions are asked for;
- four forms are fitted (`FORMS`), from exponents tied together to a scale and an exponent of the tokens that change
  with the size; their mean is weighted by how well each foretold the larger of these runs from the smaller ones;
- the interval grows with the distance beyond the data as those backtests say: a form's error behaves like a drift, its
  variance growing with the decades of compute.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.base import BaseEstimator

from chemscale_bench.scaling.base import Interval, quantiles
from chemscale_bench.scaling.bootstrap import Fitted, regular, replicate
from chemscale_bench.scaling.forms import AdditiveForm, AffineForm, Array, Form
from chemscale_bench.scaling.identify import require_apart, require_points, require_sizes
from chemscale_bench.scaling.projection import best_fit
from chemscale_bench.scaling.table import check_positive, like, log_sizes_of
from chemscale_bench.scaling.weighting import closeness

FORMS: dict[str, Form] = {
    "tied": AffineForm(
        ("log_floor", "log_scale_params", "log_scale_tokens", "exponent_both"),
        lambda n, d: [{0: 1}, {1: 1, 3: -n}, {2: 1, 3: -d}],
    ),
    "joint": AdditiveForm(("params", "tokens"), floor=True),
    "scale": AffineForm(
        ("log_floor", "log_scale_params", "exponent_params", "log_scale_tokens", "exponent_tokens", "change_scale"),
        lambda n, d: [{0: 1}, {1: 1, 2: -n}, {3: 1, 4: -d, 5: n}],
    ),
    "interaction": AffineForm(
        (
            "log_floor", "log_scale_params", "exponent_params", "log_scale_tokens", "exponent_tokens",
            "change_scale", "change_exponent",
        ),
        lambda n, d: [{0: 1}, {1: 1, 2: -n}, {3: 1, 4: -d, 5: n, 6: -n * d}],
    ),
}  # fmt: skip
"""L = E + A N^-alpha + B D^-beta with alpha = beta (`tied`) or not (`joint`), with B a power of N (`scale`), and with
beta linear in log N too (`interaction`)."""
WITHOUT_BACKTEST = ("tied", "joint")

OFF_CURVE = 3.0
"""Times the scatter of the others, by which a group must be off: one of 30 clean studies of six sizes has one."""

CUTS = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
"""Decades of compute below the largest run, at which a backtest fits on the runs below and predicts those above."""
FEWEST_RUNS = 8
"""Runs that a backtest fits to, at least."""
SHARPNESS = 4
"""A form's weight falls as its backtest error to this power."""
DRIFT, DRIFT_SAYS, CUT_SAYS, MOST_CUTS = 0.015, 8.0, 0.5, 4
"""Error in log loss per root decade that is assumed beforehand, how many observations that is worth, and what a cut of
a backtest (nested, so hardly independent) is worth, of which so many count."""
UNTESTED_DRIFT = 0.04
"""Where too few runs allow no backtest."""


class Backtest(NamedTuple):
    """Predictions of the runs above one cut from those below it."""

    compute: float
    """Largest params x tokens of the runs below."""
    fitted: int
    held_out: NDArray[np.intp]
    """(m,), rows of the runs above."""
    decades: Array
    """(m,), of compute beyond the cut."""
    errors: Array
    """(forms, m), log measured minus log predicted."""


class OffCurve(NamedTuple):
    """Runs that share a group, and are not on the curve of the others."""

    rows: NDArray[np.intp]
    error: float
    """Mean of log measured - log of the law through all others."""


class Forecast(BaseEstimator):  # type: ignore[misc]
    """Predicts losses at sizes and tokens beyond the fitted runs.

    Args:
        replicates: bootstrap refits, shared among the forms by their weight.
        seed: of the bootstrap.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import Forecast
        >>> params = np.repeat(np.geomspace(1e7, 1e9, 5), 5)
        >>> tokens = np.tile(np.geomspace(1e9, 1e11, 5), 5)
        >>> forecast = Forecast().fit(params, tokens, 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37)
        >>> [round(float(loss), 3) for loss in forecast.predict([1e10], [2e11])]
        [2.09]
        >>> low, high = forecast.predict_interval([1e10], [2e11])
        >>> bool(low < 2.09 < high)
        True
    """

    features: ClassVar[tuple[str, ...]] = ("params", "tokens")

    def __init__(self, *, replicates: int = 1000, seed: int = 0) -> None:
        self.replicates = replicates
        self.seed = seed

    def fit(
        self,
        params: ArrayLike,
        tokens: ArrayLike,
        loss: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit all forms, and weigh them by backtests inside these runs.

        Args:
            params: non-embedding parameters (n,).
            tokens: training tokens (n,).
            loss: (n,), positive, lower is better.
            sample_weight: positive weights (n,).
            groups: labels (n,) of points that share noise; by default those of one size.

        Raises:
            UserError: on bad values, naming the rows.
            UnidentifiedError: if the runs are too few, or vary params and tokens together only.
        """
        columns = [check_positive(values, name) for values, name in ((params, "params"), (tokens, "tokens"))]
        self.log_sizes_ = np.log(np.column_stack(columns))
        self.log_loss_ = np.log(check_positive(loss, "loss"))
        self._given = np.ones(len(self.log_loss_)) if sample_weight is None else check_positive(sample_weight, "weight")
        self.groups_: NDArray[np.intp] = np.unique(columns[0] if groups is None else groups, return_inverse=True)[1]
        self._decades: Array = self.log_sizes_.sum(axis=1) / np.log(10)
        self.largest_ = float(self._decades.max())
        settings = len(np.unique(self.log_sizes_, axis=0))
        for column, name in zip(columns, self.features, strict=True):
            require_sizes(column, name, "a forecast", 3)
        require_points(settings, min(len(form.names) for form in FORMS.values()), "a forecast")
        require_apart(self.log_sizes_, "a forecast")
        self._candidates = [name for name, form in FORMS.items() if settings > len(form.names)]
        tests = {test.fitted: test for cut in CUTS if (test := self._backtest(cut)) is not None}
        self.backtests_ = list(tests.values())
        self.weights_ = self._form_weights()
        everything = np.ones(len(self.log_loss_), dtype=bool)
        self.fits_ = {name: self._fit_form(name, everything) for name in self.weights_}
        self._measure_drift()
        self._draws: dict[str, Array] | None = None
        return self

    def _fit_form(self, name: str, seen: NDArray[np.bool_]) -> Fitted:
        """Fit one form to the runs of `seen` (n,)."""
        form, centre = FORMS[name], self.log_sizes_[seen].mean(axis=0)
        u, log_loss = self.log_sizes_[seen] - centre, self.log_loss_[seen]
        weight = self._given[seen] * closeness(self._decades[seen], log_loss)
        theta, _ = best_fit(form, u, log_loss, weight, 1e-3)
        fitted = Fitted(form, theta, u, log_loss, weight, self.groups_[seen], 1e-3, centre)
        return fitted._replace(regular=regular(fitted))

    def _backtest(self, cut: float) -> Backtest | None:
        seen = self._decades <= self.largest_ - cut + 1e-9
        below = self.log_sizes_[seen]
        if seen.all() or seen.sum() < FEWEST_RUNS or any(len(np.unique(column)) < 3 for column in below.T):
            return None
        edge, held_out = float(self._decades[seen].max()), np.flatnonzero(~seen)
        errors = []
        for name in self._candidates:
            fitted = self._fit_form(name, seen)
            predicted = fitted.form.log_loss(fitted.theta[None], self.log_sizes_[held_out] - fitted.centre)[0]
            errors.append(self.log_loss_[held_out] - predicted)
        decades = np.maximum(self._decades[held_out] - edge, 0.1)
        return Backtest(10**edge, int(seen.sum()), held_out, decades, np.array(errors))

    def _form_weights(self) -> dict[str, float]:
        if not self.backtests_:
            chosen = [name for name in WITHOUT_BACKTEST if name in self._candidates] or self._candidates
            return dict.fromkeys(chosen, 1 / len(chosen))
        error = np.mean([np.abs(test.errors).mean(axis=1) for test in self.backtests_], axis=0)
        weight = (error + 1e-3) ** -SHARPNESS
        return dict(zip(self._candidates, (weight / weight.sum()).tolist(), strict=True))

    def _measure_drift(self) -> None:
        residual = self.log_loss_ - self.log_mean(self.log_sizes_)
        weight = next(iter(self.fits_.values())).weight
        free = max(1, len(residual) - sum(len(FORMS[name].names) * share for name, share in self.weights_.items()))
        self.residuals_ = residual
        self.noise_ = float(np.sqrt(np.average(residual**2, weights=weight) * len(residual) / free))
        shares = np.array([self.weights_[name] for name in self._candidates if name in self.weights_])
        seen = [
            float(np.mean(np.maximum((shares @ test.errors) ** 2 - self.noise_**2, 0) / test.decades))
            for test in self.backtests_
        ]
        if seen:
            says = CUT_SAYS * min(len(seen), MOST_CUTS)
            variance = (DRIFT_SAYS * DRIFT**2 + says * float(np.mean(seen))) / (DRIFT_SAYS + says)
            self.drift_, self._free = variance**0.5, DRIFT_SAYS + says
        else:
            self.drift_, self._free = UNTESTED_DRIFT, 4.0

    def log_mean(self, log_sizes: Array) -> Array:
        """Log losses (m,) at log params and log tokens (m, 2)."""
        total: Array = sum(
            share * self.fits_[name].form.log_loss(self.fits_[name].theta[None], log_sizes - self.fits_[name].centre)[0]
            for name, share in self.weights_.items()
        )
        return total

    @property
    def heaviest_(self) -> str:
        """The form of the largest weight."""
        return max(self.weights_, key=lambda name: self.weights_[name])

    @property
    def suspects_(self) -> NDArray[np.intp]:
        """Rows of runs that lie off the law as no other run does; their residuals are not taken for those of others."""
        kept = self.fits_[self.heaviest_].regular
        assert kept is not None
        return np.flatnonzero(~kept)

    def off_curve(self) -> list[OffCurve]:
        """Groups of runs, such as all of one size, whose losses are not those of the law through the other groups.

        A group counts if all its runs lie on one side, on average by more than `OFF_CURVE` times the scatter of the
        others and what the law may drift beyond them. The worst is taken out before the others are judged.
        """
        found: list[OffCurve] = []
        seen = np.ones(len(self.log_loss_), dtype=bool)
        while True:
            judged = [self._judge(group, seen) for group in np.unique(self.groups_[seen])]
            worst = max((each for each in judged if each is not None), key=lambda each: each[1], default=None)
            if worst is None or worst[1] < 1:
                return found
            found.append(worst[0])
            seen[worst[0].rows] = False

    def _judge(self, group: int, seen: NDArray[np.bool_]) -> tuple[OffCurve, float] | None:
        """How far a group is off the law through the other ones, over what is allowed; None if it cannot be told."""
        rows, others = np.flatnonzero(self.groups_ == group), seen & (self.groups_ != group)
        enough = len(np.unique(self.log_sizes_[others], axis=0)) >= 9 and len(np.unique(self.groups_[others])) >= 4
        if len(rows) < 2 or not enough:
            return None
        fitted = self._fit_form("scale", others)
        error = self.log_loss_[rows] - fitted.form.log_loss(fitted.theta[None], self.log_sizes_[rows] - fitted.centre)
        if abs(np.sign(error).sum()) < len(rows):
            return None
        free = max(1, int(others.sum()) - len(fitted.theta))
        noise = float(np.sqrt(np.average(fitted.residual**2, weights=fitted.weight) * others.sum() / free))
        mean, size, range_ = float(error.mean()), self.log_sizes_[rows, 0].mean(), self.log_sizes_[others, 0]
        beyond = max(0.0, size - range_.max(), range_.min() - size) / np.log(10)
        allowed = OFF_CURVE * max(noise, 0.002) + 2 * DRIFT * beyond**0.5
        return OffCurve(rows, mean), abs(mean) / allowed

    def log_draws(self, log_sizes: Array) -> Array:
        """Log losses (R, m) of bootstrap refits of all forms at log params and log tokens (m, 2), without drift."""
        if self._draws is None:
            counts = {name: max(1, round(self.replicates * share)) for name, share in self.weights_.items()}
            self._draws = {
                name: replicate(self.fits_[name], count, self.seed, "residuals") for name, count in counts.items()
            }
        return np.concatenate(
            [FORMS[name].log_loss(drawn, log_sizes - self.fits_[name].centre) for name, drawn in self._draws.items()]
        )

    def log_shocks(self, log_sizes: Array, count: int, of: Literal["law", "run"] = "law") -> Array:
        """Log errors (count, m) that grow with the decades beyond the data, and the noise of a run if asked for.

        One draw's errors at different sizes are of one drift, so they differ in size only.
        """
        beyond = np.maximum(log_sizes.sum(axis=1) / np.log(10) - self.largest_, 0)
        random = np.random.default_rng(self.seed + 1)
        drawn = stats.t.rvs(self._free, size=(count, 1), random_state=random) * self.drift_ * np.sqrt(beyond)
        if of == "run":
            drawn = drawn + self.noise_ * random.normal(size=drawn.shape)
        shocks: Array = drawn
        return shocks

    def predict(self, params: ArrayLike, tokens: ArrayLike) -> Any:
        """The loss (m,) at sizes `params` and `tokens` (m,); a number at numbers."""
        return like((params, tokens), np.exp(self.log_mean(log_sizes_of(params, tokens))))

    def predict_interval(
        self, params: ArrayLike, tokens: ArrayLike, level: float = 0.9, of: Literal["law", "run"] = "law"
    ) -> Interval:
        """Percentile interval of the loss (m,), at numbers a number: of the mean over runs, or of one new run."""
        log_sizes = log_sizes_of(params, tokens)
        drawn = self.log_draws(log_sizes)
        ends = quantiles(drawn + self.log_shocks(log_sizes, len(drawn), of), level)
        return Interval(*(like((params, tokens), np.exp(end)) for end in ends))

"""Which law to trust: by error on runs it has not seen, and how well its extrapolation held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.base import Interval, ScalingLaw, bounded
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.laws import BrokenPowerLaw, PowerLaw, PowerLawWithFloor, _OneSizeLaw
from chemscale_bench.scaling.table import check_positive

HELD_OUT = (0.1, 0.2, 0.5)
"""Shares of the largest compute up to which runs are fitted, to predict the others; the first that leaves enough."""
FEWEST_FITTED = 8
EXACT = 1e-6
"""Errors below it are rounding."""


class Candidate(NamedTuple):
    """One law's result on the held-out runs."""

    law: _OneSizeLaw
    """Fitted to all runs."""
    error: float
    """Root mean square of log measured - log predicted on the held-out runs; infinite if refused."""
    refusal: str
    """Why the law was refused; empty if it was not."""


class LawChoice(NamedTuple):
    """The laws by held-out error."""

    candidates: list[Candidate]
    """Best first."""
    chosen: _OneSizeLaw
    """The simplest law whose error is not clearly worse than the best one's, fitted to all runs."""
    margin: float
    """Error of the runner-up over that of the best; 1 is a tie."""
    noise: float
    """Differences in error below this are chance: the scatter of runs over the root of the held-out count."""
    held_out: int
    """Runs that were held out."""

    @property
    def runner_up(self) -> str:
        """How far the second best law is behind, in words."""
        others = [candidate.error for candidate in self.candidates[1:]]
        if not others or np.isinf(others[0]):
            return "no other law could be fitted"
        if others[0] < EXACT:
            return "the runner-up is exact, too: runs without noise don't tell one from the other"
        return f"the runner-up's error is {self.margin:.2f} times the best one's"


def choose_law(
    x: ArrayLike, loss: ArrayLike, laws: Sequence[_OneSizeLaw] | None = None, held_out_sizes: int | None = None
) -> LawChoice:
    """Compare laws by their error on the largest sizes, which none of them was fitted to.

    Args:
        x: sizes (n,).
        loss: (n,).
        laws: simplest first; by default the power law, the one with a floor, and the broken law.
        held_out_sizes: how many of the largest sizes to hold out; by default a quarter of them, at least one.

    Raises:
        UnidentifiedError: if every law is refused.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import choose_law
        >>> params = np.geomspace(1e5, 1e9, 12)
        >>> choice = choose_law(params, 0.5 + 20 * params**-0.25)
        >>> type(choice.chosen).__name__
        'PowerLawWithFloor'
    """
    size, measured = check_positive(x, "x"), check_positive(loss, "loss")
    distinct = np.unique(size)
    if len(distinct) < 4:
        raise UnidentifiedError(
            f"laws are compared on held-out sizes, which takes 4 sizes, got {len(distinct)}; run more"
        )
    held_out_sizes = max(1, len(distinct) // 4) if held_out_sizes is None else held_out_sizes
    if not 0 < held_out_sizes < len(distinct):
        raise UserError(
            f"held_out_sizes must lie between 1 and {len(distinct) - 1}, got {held_out_sizes}; leave some to fit on"
        )
    seen = size < distinct[-held_out_sizes]
    tried = laws if laws is not None else (PowerLaw(), PowerLawWithFloor(), BrokenPowerLaw(floor=False))
    candidates, scatter = [], np.inf
    for law in tried:
        # A floor or a break that the smaller runs cannot tell from zero does no harm here: the held-out runs judge.
        part, whole = (clone(law).set_params(on_flat="ignore") for _ in range(2))
        try:
            part.fit(size[seen], measured[seen])
            whole.fit(size, measured)
        except UnidentifiedError as refusal:
            candidates.append(Candidate(law, float("inf"), str(refusal)))
            continue
        miss = np.log(measured[~seen]) - np.log(part.predict(size[~seen]))
        candidates.append(Candidate(whole, float(np.sqrt(np.mean(miss**2))), ""))
        scatter = min(scatter, float(np.sqrt(np.mean(whole.residuals_**2))))
    errors = np.array([candidate.error for candidate in candidates])
    if not np.isfinite(errors).any():
        raise UnidentifiedError(f"no law could be compared: {candidates[0].refusal}")
    noise = scatter / np.sqrt(np.sum(~seen))
    chosen = candidates[int(np.argmax(errors <= errors.min() + noise))].law
    ordered = sorted(candidates, key=lambda candidate: candidate.error)
    rounded = [max(candidate.error, EXACT) for candidate in ordered]
    margin = rounded[1] / rounded[0] if len(rounded) > 1 else float("inf")
    return LawChoice(ordered, chosen, margin, noise, int(np.sum(~seen)))


class Extrapolation(NamedTuple):
    """Predictions of runs larger than those that were fitted."""

    sizes: tuple[Array, ...]
    """The larger runs' sizes, one array (m,) for each feature of the law."""
    measured: Array
    """(m,)"""
    predicted: Array
    """(m,)"""
    low: Array
    """(m,), lower end of the interval for one new run."""
    high: Array
    """(m,)"""
    level: float
    """The interval's level."""
    fitted: int
    """Runs that the law was fitted to."""
    share: float
    """Largest compute of those over the largest of all."""
    worst: float = float("inf")
    """The highest loss of those."""

    @property
    def error(self) -> float:
        """Mean of |log measured - log predicted|."""
        return float(np.mean(np.abs(np.log(self.measured / self.predicted))))

    @property
    def coverage(self) -> float:
        """Share of the larger runs inside their interval; compare with `level`."""
        return float(np.mean((self.low <= self.measured) & (self.measured <= self.high)))

    def table(self, most: int = 20) -> str:
        """Predicted against measured, one line for each of the largest `most` runs, and the coverage."""
        lines = [f"{'sizes':>22} {'measured':>9} {'predicted':>9}  {self.level:.0%} interval"]
        for row in np.argsort(np.prod(self.sizes, axis=0), kind="stable")[::-1][:most]:
            inside = self.low[row] <= self.measured[row] <= self.high[row]
            interval = Interval(self.low[row], self.high[row])
            sizes = " x ".join(f"{size[row]:.3g}" for size in self.sizes)
            lines.append(
                f"{sizes:>22} {self.measured[row]:9.4f} "
                f"{self.predicted[row]:9.4f}  {bounded(self.predicted[row], interval, self.worst, '.4f')}"
                + ("" if inside else "  outside")
            )
        lines.append(
            f"{self.coverage:.0%} of {len(self.measured)} larger runs inside (fitted to {self.fitted}), "
            f"mean error {self.error:.2%}"
        )
        return "\n".join(lines)


def extrapolate(
    law: ScalingLaw | Forecast, sizes: Sequence[ArrayLike], loss: ArrayLike, up_to: float, level: float = 0.9
) -> Extrapolation:
    """Fit `law` on the runs whose compute is at most `up_to`, and predict the larger ones.

    Args:
        law: not fitted yet.
        sizes: its features, (n,) each.
        loss: (n,).
        up_to: largest product of the features: params x tokens, or x for a law in one size.
        level: of the intervals.

    Raises:
        UserError: if there are no larger runs.
        UnidentifiedError: if the smaller runs cannot identify the law.
    """
    columns = [check_positive(column, name) for column, name in zip(sizes, law.features, strict=True)]
    measured, compute = check_positive(loss, "loss"), np.prod(columns, axis=0)
    seen = compute <= up_to * (1 + 1e-9)
    if seen.all():
        raise UserError(
            f"up_to must leave larger runs to predict, got {up_to:.3g} with {' x '.join(law.features)} up to "
            f"{compute.max():.3g}; choose a smaller one"
        )
    fitted = clone(law)
    fitted.fit(*(column[seen] for column in columns), measured[seen])
    larger = tuple(column[~seen] for column in columns)
    low, high = fitted.predict_interval(*larger, level, "run")
    share = float(compute[seen].max() / compute.max())
    predicted, worst = fitted.predict(*larger), float(measured[seen].max())
    return Extrapolation(larger, measured[~seen], predicted, low, high, level, int(seen.sum()), share, worst)


def hold_out(
    law: ScalingLaw | Forecast, sizes: Sequence[ArrayLike], loss: ArrayLike, level: float = 0.9
) -> Extrapolation:
    """Predict the runs of most compute from the others: as far beyond as the runs allow, a decade at most.

    Raises:
        UnidentifiedError: if no part of the runs identifies the law.
    """
    columns = [check_positive(column, name) for column, name in zip(sizes, law.features, strict=True)]
    compute = np.prod(columns, axis=0)
    refusal: UnidentifiedError | None = None
    for share in HELD_OUT:
        if np.sum(compute <= compute.max() * share * (1 + 1e-9)) < FEWEST_FITTED:
            continue
        try:
            return extrapolate(law, columns, loss, float(compute.max()) * share, level)
        except UnidentifiedError as error:
            refusal = error
    raise refusal or UnidentifiedError(
        f"a test on held-out runs needs {FEWEST_FITTED} runs of less than half of the largest compute, got "
        f"{np.sum(compute <= compute.max() / 2)}; run more small ones"
    )

"""Which points lie on a power law, and which are limited by the other resource.

At a fixed data size the loss falls with model size as a power law until the data run out; there the curve bends, and
larger models are *data-limited*. In the same way loss against data bends where the model is too small for more data
to help: *model-limited*. (Frey et al. 2023 call both resolution-limited and leave them out of the exponent.) The two
readings of one table are different questions, so a point carries one label along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from chemscale_bench.scaling.base import OnFlat
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.laws import PowerLaw
from chemscale_bench.scaling.table import check_positive

Axis = Literal["params", "tokens"]
LIMITED = {"params": "data_limited", "tokens": "model_limited"}
"""What a point past the break is called, by the axis along which its curve was read."""
SIGNIFICANCE = 0.01
"""Chance of calling a break on a straight curve."""
LEAST_CHANGE = 0.7
"""Past a break the slope is at most this share of the slope before it; smaller bends are curvature, not regimes."""
FLAT = 0.4
"""A straight curve with less than this share of the least limited curve's slope is limited from its first size on."""


@dataclass(frozen=True)
class Curve:
    """Loss against one axis at one value of the other; laws are fitted when they are first asked for."""

    at: float
    """The fixed value of the other axis."""
    rows: NDArray[np.intp]
    """Its rows of the table, by size."""
    size: Array
    """Of its rows."""
    loss: Array
    """Of its rows."""
    limited_beyond: float
    """Size past which points are limited; infinite if the whole curve is a power law."""

    @cached_property
    def _law(self) -> tuple[PowerLaw | None, str]:
        inside = self.size <= self.limited_beyond
        return _fit(self.size[inside], self.loss[inside], "raise")

    @property
    def law(self) -> PowerLaw | None:
        """Fitted to the power-law points; None where they are too few, with the reason in `refusal`."""
        return self._law[0]

    @property
    def refusal(self) -> str:
        """Why there is no law; empty if there is one."""
        return self._law[1]

    @cached_property
    def law_of_all(self) -> PowerLaw | None:
        """Fitted to all points of the curve, for comparison."""
        return _fit(self.size, self.loss, "ignore")[0]


class Regimes(NamedTuple):
    """Every curve along one axis, and a label for every point."""

    along: Axis
    curves: list[Curve]
    """By the value of the other axis, ascending."""
    label: NDArray[np.str_]
    """(n,), `power_law`, and `data_limited` (along params) or `model_limited` (along tokens)."""

    @property
    def headline(self) -> Curve:
        """The curve at the largest value of the other axis that has a law: the one to compare with the paper.

        Raises:
            UnidentifiedError: if no curve has one.
        """
        for curve in reversed(self.curves):
            if curve.law is not None:
                return curve
        raise UnidentifiedError(f"no curve along {self.along} has enough power-law points: {self.curves[-1].refusal}")


def find_regimes(params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, along: Axis = "params") -> Regimes:
    """Find where each curve leaves its power law, and fit the exponent before that.

    Each curve is tried as a straight line in log-log and as a line with one bend to a shallower one, at every place;
    the bend is kept if an F test against the noise of all curves together says so.

    Args:
        params: non-embedding parameters (n,).
        tokens: training tokens or frames (n,).
        loss: (n,).
        along: the axis to read the curves along.

    Raises:
        UserError: on bad values, naming the rows.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import find_regimes
        >>> params, tokens = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e5, 1e8, 7), [1e8, 1e10]))
        >>> limit = np.where(tokens == 1e8, 4e6, np.inf)
        >>> loss = 10 * np.minimum(params, limit) ** -0.17
        >>> regimes = find_regimes(params, tokens, loss)
        >>> [int((regimes.label[tokens == data] == "data_limited").sum()) for data in (1e8, 1e10)]
        [3, 0]
        >>> round(regimes.headline.law.exponent_, 3)
        0.17
    """
    columns = {"params": check_positive(params, "params"), "tokens": check_positive(tokens, "tokens")}
    measured = check_positive(loss, "loss")
    moving, fixed = columns[along], columns["tokens" if along == "params" else "params"]
    parts = [np.flatnonzero(fixed == value) for value in np.unique(fixed)]
    parts = [part[np.argsort(moving[part], kind="stable")] for part in parts]
    bends = [_best_bend(np.log(moving[part]), np.log(measured[part])) for part in parts]
    free = sum(max(0, bend.points - 4) for bend in bends)
    noise = sum(bend.bent for bend in bends if bend.points > 4) / free if free else np.inf
    noise = max(noise, 1e-20)
    # The curve with most of the other resource is the least limited one.
    richest = next((bend for bend in reversed(bends) if bend.points >= 3), bends[-1])
    unlimited = richest.first_slope if richest.holds(noise, free) else richest.slope
    label = np.full(len(measured), "power_law", dtype="<U13")
    curves = []
    for part, bend in zip(parts, bends, strict=True):
        limit = np.inf
        if bend.holds(noise, free):
            limit = float(np.exp(bend.place))
        elif bend.points >= 3 and bend.slope < FLAT * unlimited:
            limit = 0.0
        label[part[moving[part] > limit]] = LIMITED[along]
        curves.append(Curve(float(fixed[part[0]]), part, moving[part], measured[part], limit))
    return Regimes(along, curves, label)


class _Bend(NamedTuple):
    """The best bent line through one curve."""

    points: int
    """Different sizes."""
    place: float
    """Log size of the bend."""
    straight: float
    """Sum of squares about the straight line."""
    bent: float
    """Sum of squares about the bent line."""
    slope: float
    """Fall of the straight line."""
    first_slope: float
    """Fall before the bend."""
    second_slope: float
    """Fall after the bend."""

    def holds(self, noise: float, free: int) -> bool:
        """Whether the bend is real, given the variance of a point and its degrees of freedom."""
        if self.points < 4 or free < 1 or not self.second_slope < LEAST_CHANGE * self.first_slope:
            return False
        # The place was searched for as well, so each of the possible places gets its share of the significance.
        threshold = stats.f.ppf(1 - SIGNIFICANCE / (self.points - 2), 2, free)
        return bool((self.straight - self.bent) / 2 / noise > threshold)


def _best_bend(log_size: Array, log_loss: Array) -> _Bend:
    x, inverse, count = np.unique(log_size, return_inverse=True, return_counts=True)
    y = np.bincount(inverse, log_loss) / count
    line = np.column_stack([np.ones_like(x), -x])
    coefficients, straight = _squares(line, y, count)
    slope = float(coefficients[1]) if len(x) > 1 else 0.0
    best = _Bend(len(x), np.inf, straight, straight, slope, slope, slope)
    for left, right in pairwise(x[1:]):
        for place in np.linspace(left, right, 8, endpoint=False):
            (_, first, change), bent = _squares(np.column_stack([line, np.maximum(x - place, 0)]), y, count)
            if bent < best.bent:
                best = _Bend(len(x), float(place), straight, bent, slope, float(first), float(first - change))
    return best


def _squares(design: Array, y: Array, weight: NDArray[np.intp]) -> tuple[Array, float]:
    root = np.sqrt(weight)
    solution: Array = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0].astype(float)
    return solution, float(np.sum(weight * (y - design @ solution) ** 2))


def _fit(size: Array, loss: Array, on_flat: OnFlat) -> tuple[PowerLaw | None, str]:
    if not len(size):
        return None, "no power-law points"
    try:
        return PowerLaw(on_flat=on_flat).fit(size, loss), ""
    except UnidentifiedError as error:
        return None, str(error)

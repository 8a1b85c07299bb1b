"""The laws: how loss falls with model size, data and both.

>>> import numpy as np
>>> from chemscale_bench.scaling import PowerLaw
>>> law = PowerLaw().fit([1e6, 4e6, 1.6e7, 6.4e7], [2.0, 1.6, 1.28, 1.024])
>>> round(law.exponent_, 4)
0.161
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.base import Interval, OnFlat, ScalingLaw
from chemscale_bench.scaling.bootstrap import Method
from chemscale_bench.scaling.forms import AdditiveForm, Array, BrokenForm
from chemscale_bench.scaling.table import check_counts, columns_of


class _OneSizeLaw(ScalingLaw):
    """A law in one variable x: parameters, tokens, FLOPs, or anything else positive."""

    def fit(self, x: ArrayLike, loss: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the law.

        Args:
            x: sizes (n,) or (n, 1): non-embedding parameters, tokens or FLOPs; points of one size are seeds, resampled
                together.
            loss: (n,), positive, lower is better; nats per token, or an error in any one unit.
            sample_weight: positive weights (n,), for example 1 / (number of seeds of that size).

        Raises:
            DataError: on bad values, naming the rows.
            UnidentifiedError: if the points cannot identify the law.
        """
        sizes = columns_of(x, self.features)
        return self._fit(sizes, loss, sample_weight, groups=sizes[0])

    def predict(self, x: ArrayLike) -> Any:
        """The law's loss (m,) at sizes `x`, (m,) or (m, 1); a number at a number."""
        self._require_fit()
        return self._predict(columns_of(x, self.features))

    def predict_interval(self, x: ArrayLike, level: float = 0.9, of: Literal["law", "run"] = "law") -> Interval:
        """Percentile interval of the loss at sizes `x` (m,) or a number: of the law itself, or of one new run."""
        return self._predict_interval(columns_of(x, self.features), level, of)


class PowerLaw(_OneSizeLaw):
    """The paper's power law: loss = scale x^-exponent, a straight line in log-log.

    Source: Frey et al. 2023, L(R) = alpha R^-beta; scale is alpha (in the unit of the loss) and exponent is beta.
    Compare exponents with the paper's 0.17 and 0.26 only under this law: an irreducible term makes them larger.

    Example:
        >>> from chemscale_bench.scaling import PowerLaw
        >>> params = [1e6, 3e6, 1e7, 3e7, 1e8]
        >>> law = PowerLaw().fit(params, [2.010, 1.665, 1.362, 1.126, 0.918])
        >>> round(law.exponent_, 3)
        0.17
        >>> low, high = law.confidence_interval("exponent", level=0.9)
        >>> bool(low < 0.17 < high)
        True
        >>> [round(float(loss), 3) for loss in law.predict([1e9])]
        [0.62]
    """

    features: ClassVar[tuple[str, ...]] = ("x",)
    fewest_sizes: ClassVar[int] = 3
    scale_: float
    exponent_: float

    def _form(self) -> AdditiveForm:
        return AdditiveForm(("x",), floor=False)

    def _natural(self, theta: Array) -> dict[str, Array]:
        return {"scale": np.exp(theta[:, 0] + theta[:, 1] * self.centre_[0]), "exponent": theta[:, 1]}

    def _raw_name(self, name: str) -> str:
        return "exponent_x"


class PowerLawWithFloor(_OneSizeLaw):
    """A power law above an irreducible loss: loss = irreducible + scale x^-exponent.

    `irreducible` and `scale` have the unit of the loss. Source: Kaplan et al. 2020; Henighan et al. 2020, eq. 1.1.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import PowerLawWithFloor
        >>> params = np.geomspace(1e5, 1e9, 9)
        >>> law = PowerLawWithFloor().fit(params, 0.5 + 20 * params**-0.25)
        >>> round(law.irreducible_, 4), round(law.scale_, 2), round(law.exponent_, 4)
        (0.5, 20.0, 0.25)
    """

    features: ClassVar[tuple[str, ...]] = ("x",)
    fewest_sizes: ClassVar[int] = 4
    irreducible_: float
    scale_: float
    exponent_: float

    def _form(self) -> AdditiveForm:
        return AdditiveForm(("x",), floor=True)

    def _natural(self, theta: Array) -> dict[str, Array]:
        return {
            "irreducible": np.exp(theta[:, 0]),
            "scale": np.exp(theta[:, 1] + theta[:, 2] * self.centre_[0]),
            "exponent": theta[:, 2],
        }

    def _raw_name(self, name: str) -> str:
        return "log_floor" if name == "irreducible" else "exponent_x"


class BrokenPowerLaw(_OneSizeLaw):
    """A smoothly broken power law, with one or two breaks.

    loss = irreducible + scale x^-exponent prod_i (1 + (x / break_i)^(1 / f_i))^(-change_i f_i)

    The exponent is `exponent` below the first break, and grows by `change_i` past break i, whose place `break_i`
    has the unit of x. Widths f_i are fitted but not reported: points a factor apart say little about them.
    Source: Caballero et al. 2022 (Broken Neural Scaling Laws), eq. 1.

    Args:
        breaks: 1 or 2.
        floor: whether there is an irreducible term.
        delta: as for every law, see `ScalingLaw`.
        replicates: bootstrap refits.
        bootstrap: ``auto``, ``residuals`` or ``runs``.
        seed: of the bootstrap.
        on_flat: ``raise``, ``nan`` or ``ignore``.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import BrokenPowerLaw
        >>> params = np.geomspace(1e4, 1e9, 16)
        >>> loss = 10 * params**-0.1 * (1 + (params / 1e6) ** 2) ** (-0.2 * 0.5)
        >>> law = BrokenPowerLaw(floor=False).fit(params, loss)
        >>> round(law.exponent_, 3), round(law.change_1_, 3), round(law.break_1_ / 1e6, 2)
        (0.1, 0.2, 1.0)
    """

    features: ClassVar[tuple[str, ...]] = ("x",)
    fewest_sizes: ClassVar[int] = 6
    exponent_: float
    change_1_: float
    break_1_: float

    def __init__(
        self,
        breaks: Literal[1, 2] = 1,
        *,
        floor: bool = True,
        delta: float = 1e-3,
        replicates: int = 1000,
        bootstrap: Method = "auto",
        seed: int = 0,
        on_flat: OnFlat = "raise",
    ) -> None:
        super().__init__(delta=delta, replicates=replicates, bootstrap=bootstrap, seed=seed, on_flat=on_flat)
        self.breaks = breaks
        self.floor = floor

    def _form(self) -> BrokenForm:
        if self.breaks not in (1, 2):
            raise UserError(f"breaks must be 1 or 2, got {self.breaks}; use one of these")
        return BrokenForm(self.breaks, self.floor)

    def _natural(self, theta: Array) -> dict[str, Array]:
        centre, start = self.centre_[0], int(self.floor)
        natural = {"irreducible": np.exp(theta[:, 0])} if self.floor else {}
        exponent = theta[:, start + 1]
        natural |= {"scale": np.exp(theta[:, start] + exponent * centre), "exponent": exponent}
        for i in range(1, self.breaks + 1):
            column = start + 3 * i - 1
            natural[f"change_{i}"] = theta[:, column]
            natural[f"break_{i}"] = np.exp(theta[:, column + 1] + centre)
        return natural

    def _raw_name(self, name: str) -> str:
        if name == "irreducible":
            return "log_floor"
        return name.replace("break_", "change_")


class JointLaw(ScalingLaw):
    """The joint law: loss = irreducible + params_scale params^-params_exponent + tokens_scale tokens^-tokens_exponent.

    In the usual letters L = E + A N^-alpha + B D^-beta. The scales are hardly identified on their own (they trade
    against the exponents): judge a fit by the exponents, E and predictions. Source: Hoffmann et al. 2022, eq. 2;
    fitting as in Besiroglu et al. 2024, with a global search by variable projection in place of many random starts.

    Example:
        >>> import numpy as np
        >>> from chemscale_bench.scaling import JointLaw
        >>> params = np.repeat(np.geomspace(1e7, 1e9, 5), 5)
        >>> tokens = np.tile(np.geomspace(1e9, 1e11, 5), 5)
        >>> loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
        >>> law = JointLaw().fit(params, tokens, loss)
        >>> round(law.irreducible_, 3), round(law.params_exponent_, 3), round(law.tokens_exponent_, 3)
        (1.8, 0.35, 0.37)
        >>> [round(float(loss), 3) for loss in law.predict([1e10], [2e11])]
        [2.09]
    """

    features: ClassVar[tuple[str, ...]] = ("params", "tokens")
    fewest_sizes: ClassVar[int] = 3
    irreducible_: float
    params_scale_: float
    params_exponent_: float
    tokens_scale_: float
    tokens_exponent_: float

    def fit(
        self,
        params: ArrayLike,
        tokens: ArrayLike,
        loss: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the law, to `fit(params, tokens, loss)` or, as in scikit-learn, `fit(X, loss)`.

        Args:
            params: non-embedding parameters (n,); or X (n, 2), params and tokens.
            tokens: training tokens, or frames of a force field (n,); after X, the loss.
            loss: (n,), positive, lower is better; left out after X.
            sample_weight: positive weights (n,).
            groups: labels (n,) of points that share noise and are resampled together; by default the points of one
                model size (all its seeds, and the budgets that one run passes).

        Raises:
            DataError: on bad values, naming the rows.
            UnidentifiedError: if the points cannot identify the law.
        """
        if loss is None:
            (params, tokens), loss = columns_of(params, self.features), tokens
        check_counts(params, "params", fewest=1000)
        return self._fit((params, tokens), loss, sample_weight, groups=params if groups is None else groups)

    def predict(self, params: ArrayLike, tokens: ArrayLike | None = None) -> Any:
        """The law's loss (m,) at sizes `params` and `tokens` (m,), or at X (m, 2); a number at numbers."""
        return self._predict(columns_of(params, self.features) if tokens is None else (params, tokens))

    def predict_interval(
        self, params: ArrayLike, tokens: ArrayLike, level: float = 0.9, of: Literal["law", "run"] = "law"
    ) -> Interval:
        """Percentile interval of the loss (m,), at numbers a number: of the law itself, or of one new run."""
        return self._predict_interval((params, tokens), level, of)

    def _form(self) -> AdditiveForm:
        return AdditiveForm(("params", "tokens"), floor=True)

    def _natural(self, theta: Array) -> dict[str, Array]:
        return {
            "irreducible": np.exp(theta[:, 0]),
            "params_scale": np.exp(theta[:, 1] + theta[:, 2] * self.centre_[0]),
            "params_exponent": theta[:, 2],
            "tokens_scale": np.exp(theta[:, 3] + theta[:, 4] * self.centre_[1]),
            "tokens_exponent": theta[:, 4],
        }

    def _raw_name(self, name: str) -> str:
        return "log_floor" if name == "irreducible" else f"exponent_{name.split('_')[0]}"

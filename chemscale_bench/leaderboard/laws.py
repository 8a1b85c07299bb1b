"""What the runs of a study tell of how it scales, kept from one board to the next: refits are what a board costs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench import scaling
from chemscale_bench.data.cache import home, keep
from chemscale_bench.errors import UserError
from chemscale_bench.scaling import Forecast, PowerLaw, compute_optimal, find_regimes
from chemscale_bench.scaling.base import tells_upper
from chemscale_bench.scaling.frontier import undominated
from chemscale_bench.scaling.planning import FAR
from chemscale_bench.scaling.regimes import Axis, Curve


class Estimate(NamedTuple):
    """A number with its interval, or the reason why there is none, or why it takes no part in a ranking."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """Infinite if the interval has no upper end that the runs tell."""
    reason: str = ""

    @property
    def rankable(self) -> float:
        """The number, NaN if there is a reason against it."""
        return math.nan if self.reason else self.value


UNKNOWN = Estimate(reason="there are no runs")


class Laws(NamedTuple):
    """How a study scales."""

    params_exponent: Estimate = UNKNOWN
    data_exponent: Estimate = UNKNOWN
    predicted: Estimate = UNKNOWN
    """Primary metric at the board's compute."""
    line: tuple[tuple[float, float], ...] = ()
    """The power law along parameters, at the most data that tell one: (params, loss)."""
    line_budget: int = 0
    """Those data."""


class Question(NamedTuple):
    """What is asked of all studies of a board."""

    data: str
    """What budgets count: tokens or frames."""
    flops: float
    """Compute at which the primary metric is predicted."""
    level: float
    """Of the intervals."""
    replicates: int
    """Bootstrap refits behind the prediction."""


def laws_of(points: pd.DataFrame, question: Question) -> Laws:
    """The laws of a study, from the cache if the same was asked of the same points by the same code before.

    Args:
        points: one row per run and budget: params, budget, loss, flops.
        question: what to fit and predict.
    """
    columns = points[["params", "budget", "loss", "flops"]].to_numpy(float)
    asked = f"{question} {hashlib.sha256(columns.tobytes()).hexdigest()}"
    *estimates, line, budget = remembered(asked, lambda: fit(points, question))
    by_size, by_data, predicted = (Estimate(*one) for one in estimates)
    return Laws(by_size, by_data, predicted, tuple((x, y) for x, y in line), budget)


def remembered(asked: str, find: Callable[[], Any]) -> Any:
    """What `find` finds, as JSON gives it back; from the cache if the same was asked of the same code before."""
    path = home() / "laws" / f"{hashlib.sha256(f'{code_digest()} {asked}'.encode()).hexdigest()[:32]}.json"
    if path.exists():
        return json.loads(path.read_text())
    text = json.dumps(find())
    keep(path, text)
    return json.loads(text)


@cache
def code_digest() -> str:
    """Of all code that decides what a fit gives."""
    own = (Path(__file__), Path(__file__).with_name("forecasts.py"))
    sources = [*own, *sorted(Path(scaling.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def fit(points: pd.DataFrame, question: Question) -> Laws:
    """Fit the laws that the points can tell."""
    params, data, loss = (points[name].to_numpy(float) for name in ("params", "budget", "loss"))
    params_exponent, curve = _exponent(params, data, loss, "params", question.level)
    found = Laws(params_exponent, _exponent(params, data, loss, "tokens", question.level)[0])
    if curve is not None and curve.law is not None:
        ends = np.geomspace(curve.size.min(), curve.size[curve.size <= curve.limited_beyond].max(), 12)
        line = tuple(zip(ends.tolist(), curve.law.predict(ends).tolist(), strict=True))
        found = found._replace(line=line, line_budget=round(curve.at))
    try:
        if question.data == "tokens":
            weight = 1 / points.groupby(["params", "budget"])["loss"].transform("size").to_numpy(float)
            forecast = Forecast(replicates=question.replicates).fit(params, data, loss, weight)
            best = compute_optimal(forecast, [question.flops], question.level)
            loss_at, interval = best.loss, best.loss_interval
            asked = {"parameters": best.params[0] / params.max(), "tokens": best.tokens[0] / data.max()}
        else:
            front = _front(points)
            power = PowerLaw(replicates=question.replicates).fit(front["flops"], front["loss"])
            loss_at = power.predict([question.flops])
            interval = power.predict_interval([question.flops], question.level)
            asked = {"compute": question.flops / front["flops"].max()}
        value, low, high = float(loss_at[0]), float(interval.low[0]), float(interval.high[0])
        high = high if tells_upper(value, high, float(loss.max())) else math.inf
        predicted = Estimate(value, low, high, _too_far(asked))
    except UserError as refusal:
        predicted = Estimate(reason=str(refusal))
    return found._replace(predicted=predicted)


def _exponent(
    params: np.ndarray, data: np.ndarray, loss: np.ndarray, along: Axis, level: float
) -> tuple[Estimate, Curve | None]:
    """The power law's exponent along an axis where the other resource is largest, and its curve."""
    try:
        curve = find_regimes(params, data, loss, along).headline
        assert curve.law is not None
        low, high = curve.law.confidence_interval("exponent", level)
        return Estimate(curve.law.exponent_, low, high), curve
    except UserError as refusal:
        return Estimate(reason=str(refusal)), None


def _too_far(asked: dict[str, float]) -> str:
    """Why a prediction is no measurement: what it asks a law for, in multiples of the most that the runs had."""
    what, times = max(asked.items(), key=lambda item: item[1])
    return (
        f"it takes {times:.2g} times the {what} of any run here: too far from them to be ranked" if times > FAR else ""
    )


def _front(points: pd.DataFrame) -> pd.DataFrame:
    """The means over seeds that no cheaper setting beats."""
    means = points.dropna(subset="flops").groupby(["params", "budget"])[["flops", "loss"]].mean()
    return means[undominated(means["flops"].to_numpy(), means["loss"].to_numpy())]

"""What larger runs should reach, told from smaller ones before they are made, and what came of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chemscale_bench.scaling.belief import Belief, Measured
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.table import RunTable

REPLICATES = 500


class Foretelling(NamedTuple):
    """Losses that runs should reach."""

    loss: Array
    """(m,)"""
    low: Array
    """(m,), lower ends of the intervals of a single run."""
    high: Array
    """(m,), upper ends; not finite where none is told."""
    law: dict[str, Any]
    """What told them."""


def predict_larger(
    table: RunTable, params: ArrayLike, data: ArrayLike, level: float, prior: Belief | None
) -> Foretelling:
    """The forecast from runs, or, where these are too few for one, what is believed after them.

    Args:
        table: the smaller runs, with a column `run_id`.
        params: (m,)
        data: (m,), tokens or frames.
        level: of the intervals.
        prior: what was believed before any run; without it too few runs are refused.

    Raises:
        UnidentifiedError: if the runs are too few and there is no prior.
    """
    frame = table.frame
    try:
        forecast = Forecast(replicates=REPLICATES)
        forecast.fit(frame["params"], frame["tokens"], frame["loss"], table.seed_weight)
        low, high = forecast.predict_interval(params, data, level, of="run")
        law = {"forms": forecast.weights_, "drift": forecast.drift_, "noise": forecast.noise_}
        return Foretelling(np.asarray(forecast.predict(params, data)), low, high, law)
    except UnidentifiedError:
        if prior is None:
            raise
    runs = [
        Measured(float(part["params"].iloc[0]), tuple(part["tokens"]), tuple(part["loss"]))
        for _, part in frame.groupby("run_id", sort=False)
    ]
    belief, largest = prior.after(runs), float((frame["params"] * frame["tokens"]).max())
    low, high = (np.exp(end) for end in belief.predict_interval(params, data, largest, level))
    law = {"belief": belief.theta.tolist(), "centre": np.exp(prior.centre).tolist()}
    return Foretelling(np.exp(belief.predict(params, data)), low, high, law)


def beside_measured(foretold: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """What was foretold beside what was measured, a row for every run.

    Args:
        foretold: columns params, data, foretold, low, high.
        measured: columns params, data, measured.

    Returns:
        The columns of both, and `inside`.
    """
    table = foretold.merge(measured, on=["params", "data"])
    return table.assign(inside=table["measured"].between(table["low"], table["high"]))

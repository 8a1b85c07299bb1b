"""Forecasts of studies: from MLflow into an entry, made again from its smaller runs, beside what the larger reached."""

from __future__ import annotations

import datetime
import hashlib
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.consistent import Inconsistent
from chemscale_bench.leaderboard.entry import RESULTS, Entry, Family, Run
from chemscale_bench.leaderboard.foretold import Foretold, Point
from chemscale_bench.leaderboard.laws import remembered
from chemscale_bench.scaling import UnidentifiedError, validate
from chemscale_bench.scaling.belief import prior
from chemscale_bench.scaling.foretelling import beside_measured, predict_larger
from chemscale_bench.tracking.forecast import WRITTEN, read_forecast
from chemscale_bench.tracking.reader import LoggedRun
from chemscale_bench.tracking.store import open_store

TOLERANCE = 0.01
"""On what is foretold and on the ends of its interval: refits differ a little between machines."""
MOST_RESULTS = {False: 1000, True: 200}
"""Of the smaller runs, without a prior and with one: whoever verifies an entry fits them again."""


def read_foretold(runs: Sequence[LoggedRun]) -> Foretold | None:
    """The forecast of the study that logged runs belong to; of several studies that from the most runs.

    One that an entry of these runs can't hold is left out, which a line on the standard error says.
    """
    from mlflow.exceptions import MlflowException

    client, known, found = open_store(), {run.run_id for run in runs}, []
    for parent in sorted({run.tags["mlflow.parentRunId"] for run in runs if "mlflow.parentRunId" in run.tags}):
        try:
            record = read_forecast(client, parent) if WRITTEN in client.get_run(parent).data.tags else None
            if record and not known.issuperset(record["runs"]):
                raise UserError("it is from runs that take no part here")
            found += [foretold_of(record)] if record else []
        except (MlflowException, UserError, ValidationError, OSError, KeyError, TypeError, ValueError) as problem:
            say_left_out(f"study {parent}", problem)
    return max(found, key=lambda each: len(each.runs), default=None)


def say_left_out(study: str, problem: Exception) -> None:
    """Say on the standard error why a forecast does not come along."""
    why = [*str(problem).splitlines(), type(problem).__name__][0]
    print(f"note: the forecast of {study} is left out: {why}", file=sys.stderr)


def foretold_of(record: dict[str, Any]) -> Foretold:
    """A forecast as an entry tells it, from the record that the study wrote.

    Raises:
        ValidationError: if an entry can't hold it.
        UserError: if it can't be made again, since an older study did not write all that it takes.
    """
    if "belief" in record["law"] and "centre" not in record["law"]:
        raise UserError("it was made from a prior by an older version, which did not write down which")
    budgets = record["tokens"] if "tokens" in record else record["frames"]
    points = [
        {"params": round(params), "budget": round(budget), "loss": loss, "low": low,
         "high": high if math.isfinite(high) else None}
        for params, budget, loss, low, high
        in zip(record["params"], budgets, record["loss"], record["low"], record["high"], strict=True)
    ]  # fmt: skip
    centre = record["law"].get("centre")
    return Foretold.model_validate(
        {"written": datetime.datetime.fromisoformat(record["written"]), "level": record["level"],
         "runs": tuple(record["runs"]), "points": tuple(points), "centre": centre and tuple(centre)}
    )  # fmt: skip


def table_of(runs: Iterable[Run], metric: str) -> pd.DataFrame:
    """What runs reached: columns run_id, seed, params, data, measured."""
    return pd.DataFrame(
        [
            (run.run, run.seed, float(run.non_embedding_params), float(result.budget), result.metrics[metric])
            for run in runs
            for result in run.results
        ],
        columns=["run_id", "seed", "params", "data", "measured"],
    )


def judged(foretold: Foretold, runs: Sequence[Run], metric: str) -> pd.DataFrame:
    """What was foretold beside what was measured: columns params, data, foretold, low, high, measured, inside.

    Args:
        foretold: the forecast of an entry.
        runs: the runs of it.
        metric: that is foretold.
    """
    points = [(float(at.params), float(at.budget), at.loss, at.low, upper(at)) for at in foretold.points]
    later = table_of([run for run in runs if run.run not in foretold.runs], metric)
    told = pd.DataFrame(points, columns=["params", "data", "foretold", "low", "high"])
    return beside_measured(told, later.drop(columns=["run_id", "seed"]))


def upper(point: Point) -> float:
    """The upper end of an interval, infinite where there is none."""
    return math.inf if point.high is None else point.high


def check(entry: Entry) -> None:
    """Make a forecast again from the smaller runs.

    Raises:
        Inconsistent: naming what contradicts it.
    """
    if (foretold := entry.foretold) is None:
        return
    by_id = {run.run: run for run in entry.runs}
    unknown = [run for run in foretold.runs if run not in by_id]
    require(not unknown, "a forecast must be made from runs of its entry", unknown[:1])
    known = table_of([by_id[run] for run in foretold.runs], entry.primary_metric)
    most = MOST_RESULTS[foretold.centre is not None]
    require(len(known) <= most, f"the smaller runs of a forecast may have {most} results", len(known))
    reached = float((known["params"] * known["data"]).max())
    low = [(point.params, point.budget) for point in foretold.points if point.params * point.budget <= reached]
    require(not low, f"what is foretold must have more params times budget than the {reached:.3g} of its runs", low[:1])
    age = foretold.written.date() - entry.date
    require(age <= datetime.timedelta(days=1), "a forecast may not be younger than its entry", foretold.when)
    columns = known[["params", "data", "measured"]].to_numpy(float)
    if foretold.centre is not None:
        at = [(float(point.params), float(point.budget)) for point in foretold.points]
        low_end, high_end = np.min([*columns[:, :2], *at], axis=0), np.max([*columns[:, :2], *at], axis=0)
        rounded = np.clip(foretold.centre, low_end, high_end)  # the centre of one budget is it, but for exp(log(x))
        inside = bool(np.allclose(foretold.centre, rounded, rtol=1e-9, atol=0))
        require(inside, "the centre of a prior must lie among sizes and budgets of its runs", foretold.centre)
    asked = f"{foretold} {entry.family} {hashlib.sha256(columns.tobytes()).hexdigest()}"
    for what, own in remembered(asked, lambda: made_again(foretold, known, entry.family)).items():
        for point, value in zip(foretold.points, own, strict=True):
            told = upper(point) if what == "high" else getattr(point, what)
            close = abs(told - value) <= TOLERANCE * point.loss if math.isfinite(value) else told == math.inf
            at_point = f"{what} of {point.params:,} params on {point.budget:,}"
            require(close, f"{at_point} must be the {value:.6g} that follows from the smaller runs", told)


def made_again(foretold: Foretold, known: pd.DataFrame, family: Family) -> dict[str, list[float]]:
    """What the smaller runs foretell: loss, low and high, of each point.

    Raises:
        Inconsistent: if they are too few.
    """
    table = validate(known.rename(columns={"data": "tokens", "measured": "loss"}), typed=False)
    params, data = np.array([(point.params, point.budget) for point in foretold.points], dtype=float).T
    believed = prior(family, *foretold.centre) if foretold.centre else None
    try:
        with np.errstate(all="ignore"):
            told = predict_larger(table, params, data, foretold.level, believed)
    except UnidentifiedError as problem:
        raise Inconsistent(f"a forecast needs runs enough, or the centre of its prior: {problem}") from None
    return {name: getattr(told, name).tolist() for name in ("loss", "low", "high")}


def require(holds: bool, rule: str, got: object) -> None:
    """Raise `Inconsistent` with the rule and the value unless the claim holds."""
    if not holds:
        raise Inconsistent(f"{rule}, got {got}; leave the forecast as its study wrote it, or out")


def summary(foretold: Foretold | None, runs: Sequence[Run], family: Family) -> str:
    """What an entry tells of a forecast."""
    if foretold is None:
        return "no forecast; a `study` writes one before its largest runs begin"
    table = judged(foretold, runs, RESULTS[family][0])
    if table.empty:
        return f"a forecast from {len(foretold.runs)} runs, of larger ones that are not in it"
    off = np.abs(np.log(table["measured"] / table["foretold"])).mean()
    return (
        f"a forecast from {len(foretold.runs)} runs, written at {foretold.when} UTC: "
        f"{table['inside'].sum()} of {len(table)} later runs and budgets inside their {foretold.level:.0%} intervals, "
        f"{off:.1%} off on average"
    )

"""Ranking: what each study reached at every budget, how it scales, and what it would reach with more compute."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.leaderboard.entry import RESULTS
from chemscale_bench.leaderboard.verify import Level
from chemscale_bench.scaling import JointLaw, PowerLaw, compute_optimal, find_regimes
from chemscale_bench.scaling.regimes import Axis, Curve


class Estimate(NamedTuple):
    """A number with its interval, or the reason why there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


UNKNOWN = Estimate(reason="there are no runs")


class Reached(NamedTuple):
    """What a study reached at one budget with its best size there."""

    metrics: dict[str, float]
    """Means over seeds."""
    low: float
    """Of the primary metric's mean, by Student's t over seeds; NaN with one seed."""
    high: float
    seeds: tuple[float, ...]
    """The primary metric of each seed."""
    params: float
    """The best size; NaN for a paper."""


@dataclass
class Row:
    """One study on its board."""

    study: Study
    reached: dict[int, Reached]
    """By budget."""
    points: pd.DataFrame
    """One row per run and budget: params, budget, seed, loss, flops, device_seconds, energy_kj."""
    params_exponent: Estimate = UNKNOWN
    data_exponent: Estimate = UNKNOWN
    predicted: Estimate = UNKNOWN
    """Primary metric at the board's compute."""
    line: list[tuple[float, float]] = field(default_factory=list)
    """The power law along parameters, at the most data that tell one: (params, loss)."""
    line_budget: int = 0
    """Those data."""
    rank: dict[str, int] = field(default_factory=dict)
    """By budget (as text), `params_exponent` and `predicted`; unverified entries have none."""
    differs: dict[str, float] = field(default_factory=dict)
    """By budget: chance of a difference to the next rank as large as this one's without a true one (Welch's t)."""


@dataclass
class Board:
    """All studies of one version of one task."""

    task: str
    task_digest: str
    metric: str
    data: str
    """What budgets count: tokens or frames."""
    flops: float
    """Compute at which losses are predicted; NaN without any run."""
    level: float
    rows: list[Row]

    @property
    def budgets(self) -> list[int]:
        """Every budget that any study has, ascending."""
        return sorted({budget for row in self.rows for budget in row.reached})


def build(studies: Iterable[Study], level: float = 0.9, flops: float = 0.0, replicates: int = 200) -> list[Board]:
    """The boards of all tasks, by name; papers stand on every version of their task.

    Args:
        studies: entries, experiments and papers.
        level: of all intervals.
        flops: compute at which losses are predicted; 0 is the most that any run of the task has used.
        replicates: bootstrap refits behind the intervals of laws.
    """
    groups: dict[str, dict[str, list[Study]]] = defaultdict(lambda: defaultdict(list))
    for study in studies:
        groups[study.task][study.task_digest].append(study)
    boards = []
    for task, versions in sorted(groups.items()):
        papers = versions.pop("", [])
        for digest, members in sorted(versions.items()) or [("", [])]:
            boards.append(_board(task, digest, [*members, *papers], level, flops, replicates))
    return boards


def _board(task: str, digest: str, studies: Sequence[Study], level: float, flops: float, replicates: int) -> Board:
    family = studies[0].family
    metric = RESULTS[family][0]
    rows = [_row(study, metric, level) for study in studies]
    spent = [row.points["flops"].max() for row in rows if row.points["flops"].notna().any()]
    board = Board(
        task, digest, metric, "tokens" if family == "language_model" else "frames",
        flops or max(spent, default=math.nan), level, rows,
    )  # fmt: skip
    for row in rows:
        _fit(row, board, replicates)
    for budget in board.budgets:
        _rank(rows, str(budget), lambda row, budget=budget: _primary(row, budget, metric))
        _compare(rows, budget)
    _rank(rows, "params_exponent", lambda row: -row.params_exponent.value)
    _rank(rows, "predicted", lambda row: row.predicted.value)
    return board


def _row(study: Study, metric: str, level: float) -> Row:
    points = table_of(study, metric)
    reached = {}
    for budget, metrics in study.published.items():
        reached[budget] = Reached(metrics, math.nan, math.nan, (metrics[metric],), math.nan)
    for budget in points["budget"].unique():
        part = points[points["budget"] == budget]
        means = part.groupby("params")["loss"].mean()
        params = float(means.index[means.argmin()])
        seeds = part[part["params"] == params]
        losses = tuple(seeds["loss"].tolist())
        half = math.nan
        if len(losses) > 1:
            half = float(
                stats.t.ppf((1 + level) / 2, len(losses) - 1) * np.std(losses, ddof=1) / math.sqrt(len(losses))
            )
        mean = float(np.mean(losses))
        metrics = {name: float(seeds[name].mean()) for name in RESULTS[study.family] if seeds[name].notna().all()}
        reached[int(budget)] = Reached(metrics, mean - half, mean + half, losses, params)
    row = Row(study, reached, points)
    if study.published_exponent:
        value, error = study.published_exponent
        row.params_exponent = Estimate(value, value - error, value + error)
    return row


def table_of(study: Study, metric: str) -> pd.DataFrame:
    """One row per run and budget, with what it took to get there: a language model's share, a force field's all."""
    rows: list[dict[str, Any]] = []
    for run in study.runs:
        for result in run.results:
            share = result.budget / run.units_trained if study.family == "language_model" else 1.0
            rows.append(
                {
                    "params": float(run.non_embedding_params), "budget": result.budget, "seed": run.seed,
                    "loss": result.metrics[metric], "flops": share * (run.flops_total or math.nan),
                    "device_seconds": share * run.train_seconds * max(1, run.gpus),
                    "energy_kj": share * (run.energy_kj or math.nan), **result.metrics,
                }
            )  # fmt: skip
    names = ["params", "budget", "seed", "loss", "flops", "device_seconds", "energy_kj", *RESULTS[study.family]]
    return pd.DataFrame(rows, columns=names)


# -- laws --------------------------------------------------------------------------------------------------------


def _fit(row: Row, board: Board, replicates: int) -> None:
    """Fit the laws that the study's runs can tell."""
    if row.points.empty:
        return
    params, data, loss = (row.points[name].to_numpy(float) for name in ("params", "budget", "loss"))
    row.params_exponent, curve = _exponent(params, data, loss, "params", board.level)
    row.data_exponent, _ = _exponent(params, data, loss, "tokens", board.level)
    if curve is not None and curve.law is not None:
        sizes = params[curve.rows]
        ends = np.geomspace(sizes.min(), sizes[sizes <= curve.limited_beyond].max(), 12)
        row.line = list(zip(ends.tolist(), curve.law.predict(ends).tolist(), strict=True))
        row.line_budget = round(curve.at)
    try:
        if board.data == "tokens":
            weight = 1 / row.points.groupby(["params", "budget"])["loss"].transform("size").to_numpy(float)
            joint = JointLaw(on_flat="nan", replicates=replicates).fit(params, data, loss, weight)
            best = compute_optimal(joint, [board.flops], board.level)
            loss_at, interval = best.loss, best.loss_interval
        else:
            front = _front(row.points)
            power = PowerLaw(replicates=replicates).fit(front["flops"], front["loss"])
            loss_at, interval = power.predict([board.flops]), power.predict_interval([board.flops], board.level)
        row.predicted = Estimate(float(loss_at[0]), float(interval.low[0]), float(interval.high[0]))
    except UserError as refusal:
        row.predicted = Estimate(reason=str(refusal))


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


def _front(points: pd.DataFrame) -> pd.DataFrame:
    """The means over seeds that no cheaper setting beats."""
    means = points.dropna(subset="flops").groupby(["params", "budget"])[["flops", "loss"]].mean().sort_values("flops")
    front: pd.DataFrame = means[means["loss"] < means["loss"].cummin().shift(fill_value=math.inf)]
    return front


# -- ranks -------------------------------------------------------------------------------------------------------


def _primary(row: Row, budget: int, metric: str) -> float:
    return row.reached[budget].metrics[metric] if budget in row.reached else math.nan


def _takes_part(row: Row) -> bool:
    return row.study.kind != "entry" or row.study.level >= Level.CONSISTENT


def _rank(rows: Sequence[Row], by: str, value: Any) -> None:
    found = sorted((value(row), i) for i, row in enumerate(rows) if _takes_part(row) and math.isfinite(value(row)))
    for place, (_, i) in enumerate(found, 1):
        rows[i].rank[by] = place


def _compare(rows: Sequence[Row], budget: int) -> None:
    """Test neighbouring ranks against each other, where both have seeds."""
    key = str(budget)
    ranked = sorted((row for row in rows if key in row.rank), key=lambda row: row.rank[key])
    for row, following in pairwise(ranked):
        ours, theirs = row.reached[budget].seeds, following.reached[budget].seeds
        if min(len(ours), len(theirs)) > 1 and np.ptp(ours) + np.ptp(theirs) > 0:
            row.differs[key] = float(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)

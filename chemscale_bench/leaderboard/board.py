"""Ranking: what each study reached at every budget, how it scales, and what it would reach with more compute."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.leaderboard.entry import RESULTS, Run
from chemscale_bench.leaderboard.laws import Estimate, Laws, Question, laws_of
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.progress import progress_bar
from chemscale_bench.scaling.seeds import Mean, gap, mean_over_seeds
from chemscale_bench.tasks import BOTH_STRINGS

NO_LAWS = Laws()
SMILES = "@smiles"  # ends the name of a task that is written so
PER_MOLECULE, PER_ATOM = "val/nats_per_molecule", "val/bits_per_heavy_atom"


class Reached(NamedTuple):
    """What a study reached at one budget with its best size there."""

    metrics: dict[str, float]
    """Means over seeds."""
    mean: Mean
    """The primary metric's, over seeds; a paper's has no error."""
    low: float
    """Of the mean; NaN without two seeds of this size or one near it."""
    high: float
    seeds: int
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
    laws: Laws = NO_LAWS
    rank: dict[str, int] = field(default_factory=dict)
    """By budget (as text), `params_exponent` and, if near its runs, `predicted`; unverified entries have none."""
    differs: dict[str, float] = field(default_factory=dict)
    """By budget: chance of a difference to the next rank as large as this one's without a true one (Welch's t); not for
    a mean without an interval."""


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
    note: str = ""
    """What is to be known of it."""

    @property
    def repeats(self) -> bool:
        """Whether its studies stand on boards of their own, too."""
        return self.task.endswith(BOTH_STRINGS)

    @property
    def budgets(self) -> list[int]:
        """Every budget that any study has, ascending."""
        return sorted({budget for row in self.rows for budget in row.reached})


def build(studies: Iterable[Study], level: float = 0.9, flops: float = 0.0, replicates: int = 200) -> list[Board]:
    """The boards of all tasks, by name, those without a run last; papers stand on every version of their task.

    Args:
        studies: entries, experiments and papers.
        level: of all intervals.
        flops: compute at which losses are predicted; 0 is the most that any run of the task has used.
        replicates: bootstrap refits behind the intervals of laws.
    """
    groups: dict[str, dict[str, list[Study]]] = defaultdict(lambda: defaultdict(list))
    for study in studies:
        groups[study.task][study.task_digest].append(study)
    members = []
    for task, versions in sorted(groups.items()):
        papers = versions.pop("", [])
        members += [(task, digest, [*found, *papers]) for digest, found in sorted(versions.items()) or [("", [])]]
    shown = progress_bar(members, desc="fitting laws", unit="board", delay=2, leave=False)
    boards = [_board(task, digest, found, level, flops, replicates) for task, digest, found in shown]
    newest: dict[str, Board] = {}
    for board in sorted(filter(_measured, boards), key=_last_date):
        newest[board.task] = board
    for task, smiles in list(newest.items()):
        if task.endswith(SMILES) and (selfies := newest.get(task.removesuffix(SMILES))):
            boards += _of_both_strings(selfies, smiles, level, flops, replicates)
    # First those that have something to show; within them, by name.
    return sorted(boards, key=lambda board: not _measured(board))


def _measured(board: Board) -> bool:
    return any(row.study.runs for row in board.rows)


def _last_date(board: Board) -> str:
    """Of its entries; the user's own runs are younger than any."""
    return max(row.study.date or "now" for row in board.rows if row.study.runs)


def _of_both_strings(selfies: Board, smiles: Board, level: float, flops: float, replicates: int) -> list[Board]:
    """One board of all studies on the molecules of a task, however these are written, by what strings have in common.

    Nothing if the molecules are others, or a string has no study that says what they have in common.
    """
    studies, tokens, atoms = [], [], []
    for board, string in ((selfies, "SELFIES"), (smiles, "SMILES")):
        found = [row.study for row in board.rows if row.study.runs and all(map(_in_common, row.study.runs))]
        if not found:
            return []
        metrics = found[0].runs[0].results[-1].metrics
        tokens.append(f"{metrics[PER_MOLECULE] / metrics[board.metric]:.1f} tokens as {string}")
        atoms.append(metrics[PER_MOLECULE] / metrics[PER_ATOM])
        studies += [replace(study, model=f"{study.model}, {string}") for study in found]
    if not math.isclose(*atoms, rel_tol=1e-3):  # in the mean, of thousands of validation molecules
        return []
    both = _board(selfies.task + BOTH_STRINGS, "", studies, level, flops, replicates, PER_ATOM)
    both.note = f"A molecule has {' and '.join(tokens)}."
    return [both]


def _in_common(run: Run) -> bool:
    """Whether a run says what does not depend on the string."""
    return all({PER_MOLECULE, PER_ATOM} <= set(result.metrics) for result in run.results)


def _board(
    task: str, digest: str, studies: Sequence[Study], level: float, flops: float, replicates: int, metric: str = ""
) -> Board:
    family = studies[0].family
    metric = metric or RESULTS[family][0]
    rows = [_row(study, metric, level) for study in studies]
    spent = [row.points["flops"].max() for row in rows if row.points["flops"].notna().any()]
    board = Board(
        task, digest, metric, "tokens" if family == "language_model" else "frames",
        flops or max(spent, default=math.nan), level, rows,
    )  # fmt: skip
    question = Question(board.data, board.flops, level, replicates)
    for row in rows:
        if not row.points.empty:
            row.laws = laws_of(row.points, question)
    for budget in board.budgets:
        _rank(rows, str(budget), lambda row, budget=budget: _primary(row, budget, metric))
        _compare(rows, budget, level)
    _rank(rows, "params_exponent", lambda row: -row.laws.params_exponent.value)
    _rank(rows, "predicted", lambda row: row.laws.predicted.rankable)
    return board


def _row(study: Study, metric: str, level: float) -> Row:
    points = table_of(study, metric)
    reached = {}
    for budget, metrics in study.published.items():
        mean = Mean(metrics[metric], math.nan, 0)
        reached[budget] = Reached(metrics, mean, *mean.interval(level), 1, math.nan)
    by_budget: dict[int, dict[float, list[dict[Any, Any]]]] = defaultdict(lambda: defaultdict(list))
    for point in points.to_dict("records"):
        by_budget[point["budget"]][point["params"]].append(point)
    for budget, by_size in by_budget.items():
        params, seeds = min(by_size.items(), key=lambda item: (_mean(item[1], "loss"), item[0]))
        of_budget = points[points["budget"] == budget]
        mean = mean_over_seeds(of_budget["params"], of_budget["loss"], params)
        metrics = {name: _mean(seeds, name) for name in RESULTS[study.family]}
        metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
        reached[budget] = Reached(metrics, mean, *mean.interval(level), len(seeds), params)
    row = Row(study, reached, points)
    if study.published_exponent:
        value, error = study.published_exponent
        row.laws = Laws(Estimate(value, value - error, value + error))
    return row


def _mean(seeds: Sequence[dict[Any, Any]], name: str) -> float:
    return float(np.mean([seed[name] for seed in seeds]))


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


# -- ranks -------------------------------------------------------------------------------------------------------


def _primary(row: Row, budget: int, metric: str) -> float:
    return row.reached[budget].metrics[metric] if budget in row.reached else math.nan


def _takes_part(row: Row) -> bool:
    return row.study.kind != "entry" or row.study.level >= Level.CONSISTENT


def _rank(rows: Sequence[Row], by: str, value: Any) -> None:
    found = sorted((value(row), i) for i, row in enumerate(rows) if _takes_part(row) and math.isfinite(value(row)))
    for place, (_, i) in enumerate(found, 1):
        rows[i].rank[by] = place


def _compare(rows: Sequence[Row], budget: int, level: float) -> None:
    """Test neighbouring ranks against each other."""
    key = str(budget)
    ranked = sorted((row for row in rows if key in row.rank), key=lambda row: row.rank[key])
    for row, following in pairwise(ranked):
        between = gap(following.reached[budget].mean, row.reached[budget].mean, level)
        if not math.isnan(between.p):
            row.differs[key] = between.p

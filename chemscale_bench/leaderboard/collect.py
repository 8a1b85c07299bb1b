"""Runs and entries as one tidy table: a row for every run and budget."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from chemscale_bench.tracking.reader import LoggedRun, read_curves


class Measured(NamedTuple):
    """A finished run and what it reached."""

    run: LoggedRun
    by_budget: dict[int, float]
    """The metric at each budget: by tokens seen, or at the number of training frames."""

    @property
    def about(self) -> tuple[str, ...]:
        """What tells runs apart: size, seed, task, model, version of the task and, for a force field, frames."""
        names = ("non_embedding_params", "seed", "task_name", "model", "train_frames")
        return (*(self.run.params.get(name, "") for name in names), self.run.tags.get("task_digest", ""))


def measure(runs: Iterable[LoggedRun], metric: str) -> tuple[list[Measured], dict[str, int]]:
    """The runs that can be compared, and how many were left out, by reason.

    Of the runs that agree in all that `Measured.about` says (they may differ in the learning rate, say) the one with
    the lowest loss at its last budget counts, with all its budgets; the others are left out.
    """
    left_out: Counter[str] = Counter()
    fit = []
    for run in runs:
        if run.status != "FINISHED":
            left_out[run.status] += 1
        elif metric not in run.metrics:
            left_out[f"without {metric}"] += 1
        elif "non_embedding_params" not in run.params:
            left_out["without non_embedding_params"] += 1
        else:
            fit.append(run)
    curves = read_curves([run.run_id for run in fit], [metric])
    points = {run_id: part for run_id, part in curves.groupby("run", observed=True)[["step", "value"]]}
    best: dict[tuple[str, ...], Measured] = {}
    for run in fit:
        part = points[run.run_id]
        by_step = dict(zip(part["step"].tolist(), part["value"].tolist(), strict=True))
        frames = run.params.get("train_frames")
        found = Measured(run, {int(frames): by_step[max(by_step)]} if frames else by_step)
        if found.about in best:
            left_out["repeated, a better one kept"] += 1
        if found.about not in best or _final(found) < _final(best[found.about]):
            best[found.about] = found
    return list(best.values()), dict(left_out)


def _final(measured: Measured) -> float:
    """The loss at the last budget; one that is not a number is worse than any other."""
    loss = measured.by_budget[max(measured.by_budget)]
    return math.inf if math.isnan(loss) else loss

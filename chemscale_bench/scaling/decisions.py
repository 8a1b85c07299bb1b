"""Do small runs rank models as large ones do? Decision accuracy (Magnusson et al., "DataDecide", 2025)."""

from __future__ import annotations

from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.scaling.line import Line, straight_line
from chemscale_bench.scaling.seeds import gap, mean_over_seeds

CELL = ["params", "data"]


class Decision(NamedTuple):
    """Two models, at the largest cell that both have and at the smaller ones."""

    better: str
    """The model with the lower mean loss at the largest common cell."""
    other: str
    params: float
    data: float
    """The largest common cell."""
    difference: float
    """Mean loss of `other` less that of `better` there."""
    interval: tuple[float, float]
    """Of the difference, by Welch's t over seeds (`scaling.seeds`); nan where one has no two seeds of any near size."""
    smaller: pd.DataFrame
    """The smaller common cells, the least first: params, data, share (of the largest's params x data), pairs (one run
    of each model) and agree (share of them that rank the two in this order; ties count half)."""

    @property
    def accuracy(self) -> float:
        """Share of all pairs at smaller cells that rank the two as the largest cell does; nan without any."""
        pairs = self.smaller["pairs"]
        return float((self.smaller["agree"] * pairs).sum() / pairs.sum()) if len(pairs) else float("nan")


def decisions(runs: pd.DataFrame, level: float = 0.9) -> list[Decision]:
    """What the runs of some models say of every two of them that share a size and a budget.

    Args:
        runs: model, params (as wanted, so that sizes that were built a little differently meet), data, loss; a row per
            run and budget.
        level: of the intervals.
    """
    found = []
    for names in combinations(dict.fromkeys(runs["model"]), 2):
        cells = [runs[runs["model"] == name].groupby(CELL)["loss"].agg(list) for name in names]
        common = sorted(set(cells[0].index) & set(cells[1].index), key=lambda cell: (cell[0] * cell[1], cell))
        if not common:
            continue
        params, data = top = common[-1]
        at_largest = [runs[(runs["model"] == name) & (runs["data"] == data)] for name in names]
        means = {
            name: mean_over_seeds(table["params"], table["loss"], params)
            for name, table in zip(names, at_largest, strict=True)
        }
        better, other = sorted(names, key=lambda name: means[name].value)
        of_better, of_other = (cells[names.index(name)] for name in (better, other))
        rows = []
        for cell in common[:-1]:
            pairs = np.array(list(product(of_better[cell], of_other[cell])))
            agree = np.mean((pairs[:, 0] < pairs[:, 1]) + 0.5 * (pairs[:, 0] == pairs[:, 1]))
            rows.append((*cell, cell[0] * cell[1] / (top[0] * top[1]), len(pairs), float(agree)))
        between = gap(means[other], means[better], level)
        found.append(
            Decision(
                better, other, params, data, between.value, (between.low, between.high),
                pd.DataFrame(rows, columns=[*CELL, "share", "pairs", "agree"]),
            )
        )  # fmt: skip
    return found


class Exponents(NamedTuple):
    """How fast the losses of two models fall along one axis, as straight lines in logarithms."""

    axis: str
    """params or data."""
    at: float
    """The largest value of the other axis at which both can be told."""
    points: int
    """Values of the axis that both have there."""
    models: tuple[str, str]
    lines: tuple[Line, Line]
    """Of the negative log loss, so that slopes are exponents."""
    difference: Line
    """Of the first line's points less the second's: its slope is the first exponent less the second."""


def exponents(runs: pd.DataFrame, level: float = 0.9) -> list[Exponents]:
    """What the exponents of every two models are and whether they differ, at sizes and budgets that both have.

    Points are means over seeds: what the runs of one size share, such as how well its shape was chosen, is no less an
    error for being repeated. Whether exponents differ is seen from the differences at each point: what moves both
    models there, such as a law that is not quite straight, drops out. Intervals are Student's t.

    Args:
        runs: as for `decisions`.
        level: of the intervals.
    """
    found = []
    for names, (axis, other) in product(combinations(dict.fromkeys(runs["model"]), 2), (CELL, CELL[::-1])):
        tables = [runs[(runs["model"] == name) & (runs["loss"] > 0)] for name in names]
        for at in sorted(set(tables[0][other]) & set(tables[1][other]), reverse=True):
            means = [-np.log(part["loss"]).groupby(part[axis]).mean() for part in (t[t[other] == at] for t in tables)]
            both = pd.concat(means, axis=1, join="inner", keys=names)
            x = np.log(both.index)
            first, second = (straight_line(x, both[name], level) for name in names)
            difference = straight_line(x, both[names[0]] - both[names[1]], level)
            if first and second and difference:
                found.append(Exponents(axis, at, len(both), names, (first, second), difference))
                break
    return found

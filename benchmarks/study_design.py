"""What a designed study tells against a uniform grid of the same cost, on laws drawn at random and on published tables.

Run: `python -m benchmarks.study_design drawn` (an hour on one core), or `python -m benchmarks.study_design FOLDER`, a
folder of .csv files with params, tokens and loss (half an hour). benchmarks/study_design.md keeps the result.

Drawn: 30 laws L = E + A N^-alpha + B D^-beta from the prior of the design, of which it does not see what was drawn.
Sizes and data are half decades; a run costs 6 N D, and reports at all budgets on its way. Its log loss is off the law
by its seed, its size and its data size. The grid takes the smallest n sizes to the k-th budget with s seeds, of all
that can be paid the one with most sizes, then budgets, then seeds. Both end in the joint law of `fit`, in the belief
that a study shows on its way (with the prior, and small runs trusted less), and in the forecast of a model ten times as
large as any, on its best tokens. Median absolute errors over the laws.

Published: rows are bought one by one at 6 N D up to a share of what all rows cost whose compute is at most a tenth of
the largest; the forecast through those predicts all larger ones. Against random rows for the same cost, ten draws.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.scaling_backtest import tables
from chemscale_bench.errors import UserError
from chemscale_bench.scaling import Forecast, JointLaw
from chemscale_bench.scaling.belief import LEVELS, Belief, Measured, Target, prior, relevance
from chemscale_bench.scaling.design import MOST_SEEDS, Cell, choose

SIZES = tuple(float(digit * 10**power) for power in (4, 5, 6) for digit in (1, 3))
TOKENS = tuple(float(digit * 10**power) for power in (5, 6, 7) for digit in (1, 3))[:5]
CELLS = [
    Cell(n, TOKENS[: place + 1], 6 * n * most)
    for n in SIZES
    for place, most in enumerate(TOKENS)
    if place and most > 0.3 * n
]
LAWS, LARGE = 30, 3e7
BUDGETS = (3e13, 1e14)
SHARES = (0.1, 0.3)
WAYS: tuple[tuple[str, float, Target | None], ...] = (
    ("grid", 1, None), ("grid, twice the cost", 2, None), ("designed for exponents", 1, "exponent"),
    ("designed for 3e7", 1, LARGE),
)  # fmt: skip


class World:
    """One law drawn from the prior, and its noise."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        belief = prior("language_model", 1e5, 1e6)
        spread = belief.covariance - 3.0**2 * np.isin(np.arange(7), LEVELS)[:, None] * np.isin(np.arange(7), LEVELS)
        while True:
            theta = self.random.multivariate_normal(belief.theta, spread)
            if 0.1 < theta[2] < 0.6 and 0.1 < theta[4] < 0.6:
                break
        theta[5:] = 0  # so that there is an exponent to be right about
        self.law, self.noise = belief._replace(theta=theta), belief.noise
        self.of_size = dict(zip(SIZES, self.random.normal(0, self.noise.size, len(SIZES)), strict=True))
        self.of_point = {(n, d): self.random.normal(0, self.noise.point) for n in SIZES for d in TOKENS}

    def run(self, cell: Cell) -> Measured:
        """What a run measures."""
        seed = self.random.normal(0, self.noise.seed)
        off = np.array([self.of_size[cell.params] + self.of_point[cell.params, d] + seed for d in cell.data])
        off /= relevance(cell.params, np.array(cell.data), max(SIZES) * max(TOKENS))
        log_loss = self.law.predict(np.full(len(cell.data), cell.params), np.array(cell.data)) + off
        return Measured(cell.params, cell.data, tuple(np.exp(log_loss)))


def grid(budget: float) -> list[Cell]:
    """The uniform grid that is affordable."""
    best: tuple[int, int, int] = (0, 0, 0)
    for sizes in range(3, len(SIZES) + 1):
        for place in range(2, len(TOKENS)):
            cost = sum(6 * n * TOKENS[place] for n in SIZES[:sizes])
            best = max(best, (sizes, place, min(MOST_SEEDS, int(budget // cost)))) if cost <= budget else best
    sizes, place, seeds = best
    return [Cell(n, TOKENS[: place + 1], 6 * n * TOKENS[place]) for n in SIZES[:sizes] for _ in range(seeds)]


def sequential(world: World, budget: float, target: Target) -> list[Measured]:
    """A study that plans anew after every run, the cheapest of its plan first."""
    before, made, measured, left = prior("language_model", 1e5, 1e6), list[Cell](), list[Measured](), budget
    while True:
        belief: Belief = before.after(measured)._replace(precision=before.precision)
        try:
            plan = choose(CELLS, left, belief, target, made).cells(CELLS)
        except UserError:
            return measured
        if not plan:
            return measured
        made.append(plan[0])
        measured.append(world.run(plan[0]))
        left -= plan[0].cost


def errors(world: World, runs: Sequence[Measured]) -> list[float]:
    """Errors of alpha and beta by the joint law, by the belief, and of the log loss of the large model."""
    rows = [(run.params, d, loss) for run in runs for d, loss in zip(run.data, run.loss, strict=True)]
    params, tokens, loss = np.array(rows).T
    _, place, count = np.unique(params + 1j * tokens, return_inverse=True, return_counts=True)
    weight = 1 / count[place]
    law = JointLaw(on_flat="ignore").fit(params, tokens, loss, weight)
    belief = prior("language_model", 1e5, 1e6).after(runs)
    data = world.law.best_data(LARGE)
    foretold = float(np.log(Forecast(replicates=100).fit(params, tokens, loss, weight).predict([LARGE], [data])[0]))
    fitted = [law.parameters_[name] for name in ("params_exponent", "tokens_exponent")]
    fitted += [value for value, _ in belief.exponents()] + [foretold]
    true = [*world.law.theta[[2, 4, 2, 4]], float(world.law.predict([LARGE], [data])[0])]
    return list(np.subtract(fitted, true))


def drawn() -> None:
    """Print the table of the drawn laws."""
    print("| FLOPs | how | runs | joint law: alpha, beta | belief: alpha, beta | loss at 3e7 |")
    print("|---|---|---|---|---|---|")
    for budget in BUDGETS:
        found: dict[str, list[tuple[float, ...]]] = {}
        for seed in range(LAWS):
            for name, cost, target in WAYS:
                world = World(seed)
                paid = cost * budget
                runs = sequential(world, paid, target) if target else [world.run(cell) for cell in grid(paid)]
                try:
                    off = errors(world, runs)
                except UserError:
                    off = [np.nan] * 5
                found.setdefault(name, []).append((len(runs), *off))
        for name, rows in found.items():
            runs, *columns = np.abs(np.array(rows)).T
            alpha, beta, of_belief, beta_of_belief, loss = (np.nanmedian(column) for column in columns)
            missing = int(np.isnan(columns[0]).sum())
            print(
                f"| {budget:.0e} | {name} | {np.median(runs):.0f}{f' ({missing} not told)' * bool(missing)} | "
                f"{alpha:.3f}, {beta:.3f} | {of_belief:.3f}, {beta_of_belief:.3f} | {loss:.2%} |",
                flush=True,
            )


def bought(table: pd.DataFrame, budget: float, target: float) -> pd.DataFrame:
    """Rows of a table that a design buys, one by one."""
    before = prior("language_model", float(table["params"].median()), float(table["tokens"].median()))
    rest, left = table.copy(), budget
    taken: list[int] = []
    while len(rest):
        made = [Cell(n, (d,), 0.0) for n, d in table.loc[taken, ["params", "tokens"]].to_numpy()]
        measured = [Measured(n, (d,), (loss,)) for n, d, loss in table.loc[taken].to_numpy()]
        belief = before.after(measured)._replace(precision=before.precision)
        cells = [Cell(n, (d,), 6 * n * d) for n, d in rest[["params", "tokens"]].to_numpy()]
        try:
            design = choose(cells, left, belief, target, made)
        except UserError:
            break
        if not design.counts:
            break
        place = min(design.counts, key=lambda each: cells[each].cost)
        left -= cells[place].cost
        taken.append(int(rest.index[place]))
        rest = rest.drop(index=rest.index[place])
    return table.loc[taken]


def at_random(table: pd.DataFrame, budget: float, seed: int) -> pd.DataFrame:
    """Random rows for the same money."""
    shuffled = table.sample(frac=1, random_state=seed)
    cost = (6 * shuffled["params"] * shuffled["tokens"]).to_numpy()
    keep, spent = [], 0.0
    for one in cost:
        keep.append(spent + one <= budget)
        spent += one * keep[-1]
    return shuffled[keep]


def error_beyond(rows: pd.DataFrame, larger: pd.DataFrame) -> float:
    """Mean error of the log loss of the larger runs, by a forecast through some rows."""
    try:
        forecast = Forecast(replicates=100).fit(rows["params"], rows["tokens"], rows["loss"])
    except UserError:
        return np.nan
    predicted = forecast.predict(larger["params"], larger["tokens"])
    return float(np.abs(np.log(predicted / larger["loss"].to_numpy())).mean())


def published(folder: Path) -> None:
    """Print the table of the published studies."""
    print("| table | rows | share | bought | designed | at random | ratio |\n|---|---|---|---|---|---|---|")
    ratios: dict[float, list[float]] = {share: [] for share in SHARES}
    for name, whole in tables(folder):
        table = whole[["params", "tokens", "loss"]].astype(float).reset_index(drop=True)
        compute = table["params"] * table["tokens"]
        below, larger = table[compute <= compute.max() / 10], table[compute > compute.max() / 10]
        if len(below) < 40:
            continue
        largest = larger.loc[larger["loss"].idxmin()]
        for share in SHARES:
            budget = share * float((6 * below["params"] * below["tokens"]).sum())
            rows = bought(below.reset_index(drop=True), budget, float(largest["params"]))
            ours = error_beyond(rows, larger)
            others = [error_beyond(at_random(below, budget, seed), larger) for seed in range(10)]
            theirs = float(np.nanmedian(others))
            ratios[share].append(ours / theirs)
            print(
                f"| {name} | {len(below)} | {share:.0%} | {len(rows)} | {ours:.2%} | {theirs:.2%} | "
                f"{ours / theirs:.2f} |",
                flush=True,
            )
    for share, found in ratios.items():
        print(f"\n{share:.0%} of the cost: median ratio {np.nanmedian(found):.2f} over {len(found)} tables")


if __name__ == "__main__":
    if sys.argv[1:] == ["drawn"]:
        drawn()
    else:
        published(Path(sys.argv[1]))

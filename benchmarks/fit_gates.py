"""Fit the gates of the pruner to recorded curves: on all sets, and on all but one, graded on that one; see `--help`.

A study is simulated for many random orders at once; only the looks are simulated, as the pruner sees them. It prints
the correlations for chemscale_bench/tuning/gates.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.replay import read_sets
from chemscale_bench.tuning.estimators import Array, at_this_pace, best_so_far
from chemscale_bench.tuning.gates import LOOKS, TREND_FROM, TREND_SHARE, let_through
from chemscale_bench.tuning.recorded import Curves

TRIALS = 60
ROUNDS = 60
START = (0.5, 0.65, 0.75, 0.8, 0.85)


class Orders:
    """Random studies of one set; S studies, N trials, K looks."""

    def __init__(self, curves: Curves, studies: int, seed: int) -> None:
        values, random = curves.values, np.random.default_rng(seed)
        length = values.shape[1]
        drawn = [random.choice(len(values), min(TRIALS, len(values)), replace=False) for _ in range(studies)]
        reports = np.ceil(np.array(LOOKS) * length - 1e-9).astype(int)
        steps = np.arange(1, length + 1)
        level = np.array([[best_so_far(row[:n])[-1] for n in reports] for row in values])
        trend = np.array([[at_this_pace(steps[:n], row[:n], length) for n in reports] for row in values])
        broken = ~np.isfinite(values)
        diverged = np.where(broken.any(1), broken.argmax(1) + 1, length + 1)
        self.reports, self.length = reports, length
        self.level_SNK, self.trend_SNK = level[drawn], trend[drawn]
        self.diverged_SN, self.final_SN = diverged[drawn], curves.final[drawn]

    def grade(self, correlations: Array, miss: float) -> tuple[float, float]:
        """Budget saved and best trials kept, in per cent."""
        studies, trials, looks = self.level_SNK.shape
        passed = np.zeros((studies, trials, looks), dtype=bool)
        spent = np.full((studies, trials), self.length)
        for own in range(trials):
            alive = np.ones(studies, dtype=bool)
            for look, report in enumerate(self.reports):
                gone = alive & (self.diverged_SN[:, own] <= report)
                spent[gone, own] = self.diverged_SN[gone, own]
                alive &= ~gone
                there = passed[:, :own, look]
                ranks = [
                    1 + ((stat[:, :own, look] < stat[:, own, look, None]) & there).sum(1)
                    for stat in (self.level_SNK, self.trend_SNK)
                ]
                good = ranks[0] <= let_through(correlations[look], own + 1, miss)
                if LOOKS[look] >= TREND_FROM:
                    good |= ranks[1] <= round(TREND_SHARE * own)
                passed[:, own, look] = alive
                spent[alive & ~good, own] = report
                alive &= good
            late = alive & (self.diverged_SN[:, own] <= self.length)
            spent[late, own] = self.diverged_SN[late, own]
        whole = np.where(spent == self.length, self.final_SN, np.inf).min(1)
        return 100 - 100 * float(spent.mean()) / self.length, 100 * float((whole == self.final_SN.min(1)).mean())


def loss(grades: list[tuple[float, float]], target: float) -> float:
    """Winners stopped, the more of one set the worse, and savings below the target."""
    saved, kept = np.array(grades).T
    return float(((100 - kept) ** 1.5).mean() ** (2 / 3) + 3 * np.maximum(0, target - saved).mean())


def fit(orders: list[Orders], target: float, miss: float) -> Array:
    """Correlations at the looks, by random search in Fisher's z."""
    random, width = np.random.default_rng(0), 0.15
    best = np.arctanh(np.array(START))
    least = loss([one.grade(np.tanh(best), miss) for one in orders], target)
    for _ in range(ROUNDS):
        tried = np.clip(best + random.normal(0, width, len(best)) * (random.random(len(best)) < 0.5), 0, 3)
        found = loss([one.grade(np.tanh(tried), miss) for one in orders], target)
        width = max(0.03, 0.985 * width) if found > least else min(0.2, 1.1 * width)
        if found <= least:
            best, least = tried, found
    return np.tanh(best)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with klein2017*.jsonl and taskset*.json.xz")
    parser.add_argument("--target", type=float, default=73.0, help="per cent of the budget to save")
    parser.add_argument("--miss", type=float, default=0.05, help="of the gates")
    parser.add_argument("--studies", type=int, default=80, help="random orders to fit to")
    given = parser.parse_args()
    sets = read_sets(given.folder)
    fitted = [Orders(curves, given.studies, seed=5) for curves in sets]
    fresh = [Orders(curves, 400, seed=77) for curves in sets]
    shared = fit(fitted, given.target, given.miss)
    command = f"python -m benchmarks.fit_gates FOLDER --target {given.target} --miss {given.miss}"
    print(f"# Gates of the pruner\n\n`{command}`\n")
    print(f"Fitted to {given.studies} orders of {TRIALS} trials of each set: {shared.round(2).tolist()}")
    print("On 400 other orders, budget saved / best trial kept in %; the last column is about what a rule of ranks at")
    print("these looks can reach:\n")
    print("| curves | gates fitted to all | to all but this set | to this set alone |\n|---|---|---|---|")
    for number, curves in enumerate(sets):
        without = fit(fitted[:number] + fitted[number + 1 :], given.target, given.miss)
        alone = fit([fitted[number]], given.target, given.miss)
        cells = ["{:.1f} / {:.1f}".format(*fresh[number].grade(one, given.miss)) for one in (shared, without, alone)]
        print(f"| {curves.name} | {' | '.join(cells)} |", flush=True)

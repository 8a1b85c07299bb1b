"""Fit the gates of the pruner to recorded curves: on all sets, and on all but one, graded on that one; see `--help`.

A study is simulated for many random orders at once; only the looks are simulated, as the pruner sees them. It prints
the correlations for chemscale_bench/tuning/gates.py.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay import HELD_OUT, read_sets
from chemscale_bench.tuning.estimators import Array, best_so_far, noise_so_far
from chemscale_bench.tuning.gates import LOOKS, LOWEST, MIDDLE, let_through, reliability, remembered, second_chance
from chemscale_bench.tuning.pruner import LEAST_LEVELS
from chemscale_bench.tuning.recorded import Curves, Stress

TRIALS = 60
ROUNDS = 100
GRID = 2000
START = (0.5, 0.75, 0.85, 0.85, 0.9, 0.9)


@cache
def gates_of(trials: int, miss: float) -> NDArray[np.int64]:
    """Gates at correlations 0, 1 / GRID, 2 / GRID, ... 1: they are asked for a million times."""
    return let_through(np.arange(GRID + 1) / GRID, trials, miss)


class Orders:
    """Random studies of one set; S studies, N trials, K looks."""

    def __init__(self, curves: Curves, studies: int, seed: int, stress: Stress = "none") -> None:
        random, length = np.random.default_rng(seed), curves.values.shape[1]
        drawn = [curves.draw(TRIALS, random, stress) for _ in range(studies)]
        values_SNR = np.array([study.values for study in drawn])
        self.spent_SNR = np.array([study.spent for study in drawn])
        reports = np.ceil(np.array(LOOKS) * length - 1e-9).astype(int)
        steps = np.arange(1, length + 1)
        best = np.array([[best_so_far(row) for row in study] for study in values_SNR])
        level, half = best[:, :, reports - 1], reports // 2
        self.before_SNK = np.where(half > 0, best[:, :, half - 1], np.inf)
        noise = np.array([[noise_so_far(steps, row)[reports - 1] for row in study] for study in values_SNR])
        broken_SNR = ~np.isfinite(values_SNR)
        self.reports, self.length, self.level_SNK, self.noise_SNK = reports, length, level, noise
        self.diverged_SN = np.where(broken_SNR.any(2), broken_SNR.argmax(2) + 1, length + 1)  # its report
        self.final_SN = np.array([study.final for study in drawn])

    def grade(self, correlations: Array, miss: float) -> tuple[float, float]:
        """Budget saved and best trials kept, in per cent."""
        studies, trials, _ = self.level_SNK.shape
        passed = np.zeros(self.level_SNK.shape, dtype=bool)
        last = np.full((studies, trials), self.length)  # report of each trial
        for own in range(trials):
            alive, before = np.ones(studies, dtype=bool), np.full(studies, np.nan)
            for look, report in enumerate(self.reports):
                gone = alive & (self.diverged_SN[:, own] <= report)
                last[gone, own] = self.diverged_SN[gone, own]
                alive &= ~gone
                passed[:, own, look] = alive
                there, level = passed[:, : own + 1, look], self.level_SNK[:, : own + 1, look]
                rank = 1 + ((level[:, :own] < level[:, own:]) & there[:, :own]).sum(1)
                standing = remembered(rank, before, own + 1)
                before = (standing - 0.5) / (own + 1)
                (noise,), _ = quantiles(self.noise_SNK[:, : own + 1, look], there, [0.5])
                (low, middle), levels = quantiles(level, there, [LOWEST, MIDDLE])
                share = reliability(low, middle, np.nan_to_num(noise), report, report / self.length)
                correlation = correlations[look] * np.where(levels >= LEAST_LEVELS, share, 1) ** 0.5
                gate = gates_of(own + 1, miss)[np.rint(correlation * GRID).astype(int)]
                good = (rank == 1) | (np.rint(standing) <= gate)
                rivals = np.where(there, level, np.inf)
                rivals[:, own] = level[:, own]
                good |= second_chance(rivals, self.before_SNK[:, : own + 1, look], own, gate, LOOKS[look])
                last[alive & ~good, own] = report
                alive &= good
            late = alive & (self.diverged_SN[:, own] <= self.length)
            last[late, own] = self.diverged_SN[late, own]
        whole = np.where(last == self.length, self.final_SN, np.inf).min(1)
        spent = np.take_along_axis(self.spent_SNR, last[..., None] - 1, 2)
        return 100 - 100 * float(spent.mean()), 100 * float((whole == self.final_SN.min(1)).mean())


def quantiles(values_SN: Array, there_SN: NDArray[np.bool_], which: list[float]) -> tuple[list[Array], Array]:
    """Quantiles of each row's finite values that are there (NaN without any), and how many these are."""
    used = there_SN & np.isfinite(values_SN)
    count = used.sum(1)
    ordered = np.sort(np.where(used, values_SN, np.nan), axis=1)  # NaN come last
    rows, out = np.arange(len(ordered)), []
    for share in which:
        place = share * np.maximum(count - 1, 0)
        first = np.floor(place).astype(int)
        low, high = ordered[rows, first], ordered[rows, np.ceil(place).astype(int)]
        out.append(low + (place - first) * (high - low))
    return out, count


def loss(sets: list[tuple[Orders, Orders]], correlations: Array, target: float, miss: float) -> float:
    """Winners stopped beyond a few, the more of one set the worse, and savings below the target of its plain curves."""
    plain, noisy = (np.array([one.grade(correlations, miss) for one in orders]).T for orders in zip(*sets, strict=True))
    lost, lost_in_noise = (
        float((np.maximum(0, goal - grades[1]) ** 1.5).mean() ** (2 / 3)) for goal, grades in ((97, plain), (92, noisy))
    )
    return lost + 0.5 * lost_in_noise + 3 * float(np.maximum(0, target - plain[0]).mean())


def fit(sets: list[tuple[Orders, Orders]], target: float, miss: float) -> Array:
    """Correlations at the looks, by random search in Fisher's z."""
    random, width = np.random.default_rng(0), 0.15
    best = np.arctanh(np.array(START))
    least = loss(sets, np.tanh(best), target, miss)
    for _ in range(ROUNDS):
        tried = np.clip(best + random.normal(0, width, len(best)) * (random.random(len(best)) < 0.5), 0, 3)
        found = loss(sets, np.tanh(tried), target, miss)
        width = max(0.03, 0.985 * width) if found > least else min(0.2, 1.1 * width)
        if found <= least:
            best, least = tried, found
    return np.tanh(best)


def both(curves: Curves, studies: int, seed: int) -> tuple[Orders, Orders]:
    """Random orders of a set as it is, and half as many with noise on the reports."""
    return Orders(curves, studies, seed), Orders(curves, studies // 2, seed + 1, "noise")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with klein2017*.jsonl and taskset*.json.xz")
    parser.add_argument("--target", type=float, default=73.0, help="per cent of the budget to save")
    parser.add_argument("--miss", type=float, default=0.05, help="of the gates")
    parser.add_argument("--studies", type=int, default=80, help="random orders to fit to")
    given = parser.parse_args()
    everything = {curves.name: curves for curves in read_sets(given.folder)}
    held_out, sets = everything.pop(HELD_OUT), list(everything.values())
    fitted = [both(curves, given.studies, seed=5) for curves in sets]
    fresh = [both(curves, 400, seed=77) for curves in sets]
    shared = fit(fitted, given.target, given.miss)
    command = f"python -m benchmarks.fit_gates FOLDER --target {given.target} --miss {given.miss}"
    print(f"# Gates of the pruner\n\n`{command}`\n")
    print(
        f"Fitted to {given.studies} orders of {TRIALS} trials of each set and half as many with noise on the reports:"
    )
    print(f"{shared.round(2).tolist()}. On other orders, budget saved / best trial kept in %; the last column is about")
    print("what this rule can reach with gates of a set's own:\n")
    print("| curves | gates fitted to all | the same under noise | to all but this set | to this set alone |")
    print("|---|---|---|---|---|")
    for number, curves in enumerate(sets):
        without = fit(fitted[:number] + fitted[number + 1 :], given.target, given.miss)
        alone = fit([fitted[number]], given.target, given.miss)
        plain, noisy = fresh[number]
        tried = (plain, shared), (noisy, shared), (plain, without), (plain, alone)
        cells = ["{:.1f} / {:.1f}".format(*orders.grade(gates, given.miss)) for orders, gates in tried]
        print(f"| {curves.name} | {' | '.join(cells)} |", flush=True)
    orders = both(held_out, 400, seed=77)
    cells = ["{:.1f} / {:.1f}".format(*one.grade(shared, given.miss)) for one in orders]
    print(f"| {held_out.name}, held out | {' | '.join(cells)} | the same | |")

"""The tables of benchmarks/replay.md: pruners on recorded curves; see `--help`.

FOLDER holds Klein's and TaskSet's curves; those of our own sweeps lie in benchmarks/curves.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from chemscale_bench.tuning.estimators import best_so_far
from chemscale_bench.tuning.named import PRUNERS
from chemscale_bench.tuning.recorded import Curves, Stress, from_long, read
from chemscale_bench.tuning.replay import FRACTIONS, Grade, grade, prediction_table, predictions, table

OWN = Path(__file__).parent / "curves"
HELD_OUT = "chemgpt-1e5-pubchem-deposits.parquet"  # nothing was fitted to it
FEW = (5, 10, 20)
"""Trials of small studies."""
STRESSED = ("performance", "performance_careful", "performance_bold", "median_20", "successive_halving_10")


def read_sets(folder: Path) -> list[Curves]:
    """The public sets in a folder, and our own."""
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.json.xz"), *OWN.glob("*.parquet")])
    return [read(str(file)) for file in files]


def at_equal_positions(file: Path) -> Curves:
    """Curves of a sweep compared at equal positions, whatever the schedules of its trials."""
    return from_long(pd.read_parquet(file).drop(columns=["warmup", "decay"]), f"{file.name} by position")


def ranks_of_the_best(curves: Curves, trials: int) -> str:
    """A row of markdown: the rank among all early on that 96 of 100 eventual winners stand at or above."""
    random, length = np.random.default_rng(0), curves.values.shape[1]
    level = np.array([best_so_far(row) for row in curves.values])
    drawn = [random.choice(len(level), min(trials, len(level)), replace=False) for _ in range(1000)]
    cells = []
    for fraction in FRACTIONS:
        stand = level[:, round(fraction * length) - 1]
        ranks = [1 + int((stand[one] < stand[one[curves.final[one].argmin()]]).sum()) for one in drawn]
        cells.append(f"{np.quantile(ranks, 0.96):.0f}")
    return f"| {curves.name} | {' | '.join(cells)} |"


def by_trials(found: dict[int, list[Grade]]) -> str:
    """Markdown: how each pruner does over all sets, by the number of trials of a study."""
    columns = sorted(found)
    lines = ["| pruner | " + " | ".join(map(str, columns)) + " |\n|---" + len(columns) * "|---" + "|"]
    for pruner in STRESSED:
        of = [[row for row in found[trials] if row.pruner == pruner] for trials in columns]
        cells = (
            f"{np.mean([row.saved_percent for row in rows]):.1f} / {np.mean([row.kept_percent for row in rows]):.1f}"
            for rows in of
        )
        lines.append(f"| {pruner} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with klein2017*.jsonl and taskset*.json.xz")
    parser.add_argument("--studies", type=int, default=100, help="random orders of each set")
    parser.add_argument("--trials", type=int, default=60, help="of a study")
    given = parser.parse_args()
    sets = read_sets(given.folder)
    command = f"python -m benchmarks.replay FOLDER --studies {given.studies} --trials {given.trials}"
    print("# Pruners on recorded curves\n")
    print(f"`{command}`, {datetime.date.today()}, {platform.machine()}, Python {platform.python_version()}.")
    print(f"{given.studies} studies of {given.trials} trials each, drawn at random in random order; 90 % intervals.")
    print(
        "The gates of `performance` were fitted to other orders of these same sets, but not to\n"
        f"{HELD_OUT}; [gates.md](gates.md) has what they reach on a set that they were not fitted\n"
        "to, and what gates of a set's own could reach. Trials of our own sweeps, *.parquet, differ in warm-up and\n"
        "decay and are compared at equal areas under their schedules, as `tune` does. A set of fewer trials than a\n"
        "study has gives all: 64 in the set held out, whose studies have nearly always the same winner. Decisions are\n"
        "timed with as many processes as cores."
    )

    by_position = [at_equal_positions(file) for file in sorted(OWN.glob("*.parquet"))]
    sections = [
        ("All pruners", sets, list(PRUNERS), given.trials, "none"),
        ("Sweeps compared at equal positions, not at equal areas under their schedules", by_position, list(PRUNERS),
         given.trials, "none"),
        *((f"Studies of {trials} trials", sets, STRESSED, trials, "none") for trials in FEW),
        *((f"Stress: {stress}", sets, STRESSED, given.trials, stress) for stress in get_args(Stress)[1:]),
    ]  # fmt: skip
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        graded = [
            [pool.submit(grade, one, names, trials=trials, studies=given.studies, stress=stress) for one in curves]
            for _, curves, names, trials, stress in sections
        ]
        found = {}
        for (title, _, _, trials, stress), futures in zip(sections, graded, strict=True):
            rows = [row for future in futures for row in future.result()]
            print(f"\n## {title}\n\n{table(rows)}", flush=True)
            if stress == "none" and "positions" not in title:
                found[trials] = rows
    print("\n## By number of trials: budget saved / best kept in %, means over all sets\n")
    print(by_trials(found))
    print(f"\n## Where the eventual best of {given.trials} stands early on\n")
    print("The rank by the best report so far that 96 % of winners stay within, at a fraction of the budget:\n")
    print("| curves | " + " | ".join(f"{fraction:.0%}" for fraction in FRACTIONS) + " |\n|---" + 4 * "|---" + "|")
    print("\n".join(ranks_of_the_best(curves, given.trials) for curves in sets))
    print("\n## Prediction of the final value, from trials that nobody stopped\n")
    for curves in sets:
        print(prediction_table(curves.name, predictions(curves)) + "\n")

"""The tables of benchmarks/replay.md: pruners on recorded curves; see `--help`.

FOLDER holds Klein's and TaskSet's curves; those of our own sweeps lie in benchmarks/curves.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from pathlib import Path
from typing import get_args

from chemscale_bench.tuning.recorded import Stress, read
from chemscale_bench.tuning.replay import PRUNERS, Grade, grade, prediction_table, predictions, table

OWN = Path(__file__).parent / "curves"
STRESSED = ("performance", "performance_bold", "paper", "median_20", "successive_halving_10")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with klein2017*.jsonl and taskset*.json.xz")
    parser.add_argument("--studies", type=int, default=100, help="random orders of each set")
    parser.add_argument("--trials", type=int, default=60, help="of a study")
    given = parser.parse_args()
    files = sorted([*given.folder.glob("*.jsonl"), *given.folder.glob("*.json.xz"), *OWN.glob("*.parquet")])
    sets = [read(str(file)) for file in files]
    command = f"python -m benchmarks.replay FOLDER --studies {given.studies} --trials {given.trials}"
    print("# Pruners on recorded curves\n")
    print(f"`{command}`, {datetime.date.today()}, {platform.machine()}, Python {platform.python_version()}.")
    print(f"{given.studies} studies of {given.trials} trials each, drawn at random in random order; 90 % intervals.")

    def show(title: str, rows: list[Grade]) -> None:
        print(f"\n## {title}\n\n{table(rows)}", flush=True)

    size = {"trials": given.trials, "studies": given.studies}
    show("All pruners", [one for curves in sets for one in grade(curves, list(PRUNERS), **size)])
    for trials in (30, 100):
        other = {"trials": trials, "studies": given.studies}
        show(f"Studies of {trials} trials", [one for curves in sets for one in grade(curves, STRESSED, **other)])
    for stress in get_args(Stress)[1:]:
        show(f"Stress: {stress}", [one for curves in sets for one in grade(curves, STRESSED, **size, stress=stress)])
    print("\n## Prediction of the final value, from trials that nobody stopped\n")
    for curves in sets:
        print(prediction_table(curves.name, predictions(curves)) + "\n")

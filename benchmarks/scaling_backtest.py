"""How far laws hold beyond their data: fitted to runs of up to a tenth of the largest compute, predicting the rest.

Run: `python -m benchmarks.scaling_backtest FOLDER`, a folder of .csv files with params, tokens and loss; a few minutes
on one core for 25 published tables. benchmarks/extrapolation.md keeps the result, and says which tables.

A table with a column `outlier` counts twice, once without those rows; one with `budget` alone too, once with the runs
within 15 % of the best loss of their budget; of a table with `step` those steps count that all its runs have.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import Forecast, JointLaw

DECADES = 1.0
"""Of compute, that are held out."""


class Score(NamedTuple):
    """How one law did on the larger runs of one table."""

    run: float
    """Share of the runs inside the 90 % interval of a run."""
    law: float
    """Share inside the 90 % interval of the law."""
    width: float
    """Median ratio of the ends of a run's interval, less 1."""
    error: float
    """Mean of |log measured - log predicted|."""


def tables(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Names and runs of the tables in a folder."""
    for path in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(path).astype({"params": float, "tokens": float, "loss": float})
        if "step" in frame:
            runs = frame.groupby("step")["params"].nunique()
            frame = frame[frame["step"].isin(runs.index[runs == runs.max()])]
            frame = frame[frame["step"] % 11_925 == 0]
        yield path.stem, frame
        if "outlier" in frame and frame["outlier"].any():
            yield f"{path.stem}, no outliers", frame[~frame["outlier"]]
        elif "budget" in frame and "outlier" not in frame:
            best = frame.groupby("budget")["loss"].transform("min")
            yield f"{path.stem}, near the best", frame[frame["loss"] <= 1.15 * best]


def score(law: JointLaw | Forecast, frame: pd.DataFrame) -> tuple[Score, int]:
    """Fit to the cheaper runs, and predict the others, which are counted too."""
    compute = np.log10(frame["params"] * frame["tokens"])
    seen = compute <= compute.max() - DECADES + 1e-9
    below, above = frame[seen], frame[~seen]
    law.fit(below["params"], below["tokens"], below["loss"])
    sizes, loss = (above["params"], above["tokens"]), above["loss"].to_numpy()
    error = np.abs(np.log(loss) - np.log(law.predict(*sizes)))
    run, mean = law.predict_interval(*sizes, of="run"), law.predict_interval(*sizes, of="law")
    inside = [float(np.mean((low <= loss) & (loss <= high))) for low, high in (run, mean)]
    return Score(*inside, float(np.median(run.high / run.low)) - 1, float(error.mean())), len(above)


def main(folder: str, replicates: str = "400") -> None:
    """Print the table, and the means over tables."""
    print("| table | runs | larger | joint law: in run's, law's, width, error | forecast: the same | s |")
    print("|---" * 6 + "|")
    scores: dict[str, list[Score]] = {"joint": [], "forecast": []}
    for name, frame in tables(Path(folder)):
        start, row = time.perf_counter(), []
        for kind, law in (
            ("joint", JointLaw(on_flat="ignore", replicates=int(replicates))),
            ("forecast", Forecast(replicates=int(replicates))),
        ):
            try:
                found, held_out = score(law, frame)
            except UserError as refusal:
                row.append(str(refusal))
                continue
            scores[kind].append(found)
            row.append(f"{found.run:.2f}, {found.law:.2f}, {found.width:.3f}, {found.error:.2%}")
        took = time.perf_counter() - start
        print(f"| {name} | {len(frame)} | {held_out} | {' | '.join(row)} | {took:.1f} |", flush=True)
    for kind, found in scores.items():
        run, law, width, error = (np.array(column) for column in zip(*found, strict=True))
        print(
            f"{kind}: {len(found)} tables; {run.mean():.1%} in the run's interval, {law.mean():.1%} in the law's; "
            f"median width {np.median(width):.3f}; mean error {error.mean():.2%}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

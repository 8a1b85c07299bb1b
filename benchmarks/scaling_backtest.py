"""How far laws hold beyond their data: fitted to runs of up to a tenth of the largest compute, predicting the rest.

Run: `python -m benchmarks.scaling_backtest FOLDER`, a folder of .csv files with params, tokens and loss, or with one of
`whole`, `parts` (which part of a forecast does it), `few` (studies of few runs) behind it; half an hour on one core for
25 published tables. benchmarks/extrapolation.md keeps the result, and says which tables.

A table with a column `outlier` counts twice, once without those rows; one with `budget` alone too, once with the runs
within 15 % of the best loss of their budget; of a table with `step` those steps count that all its runs have.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import Forecast, JointLaw, forecast

DECADES = 1.0
"""Of compute, that are held out."""
REPLICATES = 400
LESS = (0.3, 0.6, 1.0)
"""Decades below the largest compute, from which on runs are left out to see the same at less compute."""
FEW, DRAWS = (6, 10, 20), 2
"""Runs of small studies, and how many are drawn from each table."""

ALIKE = {"COMPUTE_POWER": 0.0, "EXCESS": math.inf}
PARTS: dict[str, dict[str, Any]] = {
    "joint law alone": {"FORMS": {"joint": forecast.FORMS["joint"]}, **ALIKE},
    "`scale` alone": {"FORMS": {"scale": forecast.FORMS["scale"]}, **ALIKE},
    "`interaction` alone": {"FORMS": {"interaction": forecast.FORMS["interaction"]}, **ALIKE},
    "the form that a backtest finds best": {"SHARPNESS": 60, **ALIKE},
    "mean of all forms": {"SHARPNESS": 0, **ALIKE},
    "mean of all forms, weighted by the backtest": ALIKE,
    "joint law, runs weighted": {"FORMS": {"joint": forecast.FORMS["joint"]}},
    "the form that a backtest finds best, runs weighted": {"SHARPNESS": 60},
    "`Forecast`: all forms weighted by the backtest, runs weighted": {"FORMS": forecast.FORMS},
}
"""Forecasts without some of their parts, as what their module's constants then are."""


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


def score(law: JointLaw | Forecast, frame: pd.DataFrame, intervals: bool = True) -> tuple[Score, int]:
    """Fit to the cheaper runs, and predict the others, which are counted too; without intervals only the error."""
    compute = np.log10(frame["params"] * frame["tokens"])
    seen = compute <= compute.max() - DECADES + 1e-9
    below, above = frame[seen], frame[~seen]
    law.fit(below["params"], below["tokens"], below["loss"])
    sizes, loss = (above["params"], above["tokens"]), above["loss"].to_numpy()
    error = np.abs(np.log(loss) - np.log(law.predict(*sizes)))
    if not intervals:
        return Score(math.nan, math.nan, math.nan, float(error.mean())), len(above)
    run, law_itself = law.predict_interval(*sizes, of="run"), law.predict_interval(*sizes, of="law")
    inside = [float(np.mean((low <= loss) & (loss <= high))) for low, high in (run, law_itself)]
    return Score(*inside, float(np.median(run.high / run.low)) - 1, float(error.mean())), len(above)


def whole(folder: Path) -> None:
    """Every table, by the joint law and by a forecast."""
    print("| table | runs | larger | joint law: in run's, law's, width, error | forecast: the same | s |")
    print("|---" * 6 + "|")
    scores: dict[str, list[Score]] = {"joint law": [], "forecast": []}
    for name, frame in tables(folder):
        start, row = time.perf_counter(), []
        for kind, law in laws().items():
            found, held_out = score(law, frame)
            scores[kind].append(found)
            row.append(f"{found.run:.2f}, {found.law:.2f}, {found.width:.3f}, {found.error:.2%}")
        took = time.perf_counter() - start
        print(f"| {name} | {len(frame)} | {held_out} | {' | '.join(row)} | {took:.1f} |", flush=True)
    print("\n" + "\n".join(f"- {kind}: {mean(found)}" for kind, found in scores.items()))


def parts(folder: Path) -> None:
    """What a forecast's parts do for its mean error, on whole tables and on their runs of less compute."""
    print("| | mean error | at less compute |\n|---|---|---|")
    for name, changes in PARTS.items():
        errors: list[list[float]] = [[], []]
        with patch.multiple(forecast, **changes):
            for _, frame in tables(folder):
                compute = np.log10(frame["params"] * frame["tokens"])
                for decades in (0.0, *LESS):
                    try:
                        found, held_out = score(
                            Forecast(replicates=1), frame[compute <= compute.max() - decades + 1e-9], intervals=False
                        )
                    except UserError:  # too few runs are left
                        continue
                    if held_out > 1:
                        errors[decades > 0].append(found.error)
        shown = " | ".join(f"{np.mean(column):.2%} ({len(column)})" for column in errors)
        print(f"| {name} | {shown} |", flush=True)


def few(folder: Path) -> None:
    """Studies of a few runs, drawn at random from those of less compute; they predict all of more."""
    print("| runs | joint law | forecast |\n|---|---|---|")
    for count in FEW:
        scores: dict[str, list[Score]] = {kind: [] for kind in laws()}
        for _, frame in tables(folder):
            compute = np.log10(frame["params"] * frame["tokens"])
            seen = compute <= compute.max() - DECADES + 1e-9
            for draw in range(DRAWS if seen.sum() >= count else 0):
                study = pd.concat([frame[seen].sample(count, random_state=draw), frame[~seen]])
                for kind, law in laws().items():
                    try:
                        scores[kind].append(score(law, study)[0])
                    except UserError:  # a law says that these runs are too few, or too much alike
                        continue
        print(f"| {count} | " + " | ".join(mean(found) for found in scores.values()) + " |", flush=True)


def laws() -> dict[str, JointLaw | Forecast]:
    """Both, not fitted yet."""
    return {
        "joint law": JointLaw(on_flat="ignore", replicates=REPLICATES),
        "forecast": Forecast(replicates=REPLICATES),
    }


def mean(scores: list[Score]) -> str:
    """Over tables, in words."""
    run, law, width, error = (np.array(column) for column in zip(*scores, strict=True))
    return (
        f"{len(scores)} tables; {run.mean():.1%} in the run's interval, {law.mean():.1%} in the law's; median width "
        f"{np.median(width):.3f}; mean error {error.mean():.2%}"
    )


STUDIES: dict[str, Callable[[Path], None]] = {"whole": whole, "parts": parts, "few": few}


def main(folder: str, *chosen: str) -> None:
    """Print the tables of the chosen studies, all of them by default."""
    for name in chosen or STUDIES:
        print(f"\n## {name}\n")
        STUDIES[name](Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])

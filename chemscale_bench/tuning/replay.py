"""Grade pruners on recorded curves, without training: what do they save, and do they keep the best trial?

The real pruner decides, in a real in-memory study, one trial after another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.pruners import BasePruner
from optuna.trial import TrialState, create_trial

from chemscale_bench.progress import progress_bar
from chemscale_bench.tuning.estimators import Array
from chemscale_bench.tuning.figures import Predictions, foretell
from chemscale_bench.tuning.named import PRUNERS
from chemscale_bench.tuning.recorded import Curves, Stress

FRACTIONS = (0.05, 0.1, 0.2, 0.5)
RESAMPLES = 1000


class Outcome(NamedTuple):
    """One replayed study."""

    saved: float  # share of the trials' budgets that was not needed
    kept: bool  # whether the best trial finished
    regret: float  # how much worse the chosen trial is than the best, as a share of the best
    seconds_per_decision: float


def replay(curves: Curves, pruner: BasePruner) -> Outcome:
    """Run the trials of one study in their order; a report that is not finite is passed on as it is."""
    study = optuna.create_study(pruner=pruner)
    length = curves.values.shape[1]
    used, decisions, seconds = 0.0, 0, 0.0
    finished: list[int] = []
    for number, values in enumerate(curves.values.tolist()):
        trial = study.ask()
        for step, value in enumerate(values, start=1):
            trial.report(value, step)
            started = time.perf_counter()
            stop = step < length and trial.should_prune()
            seconds += time.perf_counter() - started
            decisions += 1
            if stop:
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            final = values[-1]
            study.tell(
                trial, final if math.isfinite(final) else None, None if math.isfinite(final) else TrialState.FAIL
            )
            finished.append(number)
        used += curves.spent[number, step - 1]
    final, best = curves.final, float(curves.final.min())
    chosen = float(final[finished].min()) if finished else math.inf
    regret = (chosen - best) / abs(best) if best else chosen - best
    return Outcome(1 - used / len(curves.values), chosen == best, regret, seconds / decisions)


class Grade(NamedTuple):
    """A pruner over many studies of one set of curves; intervals are 90 %, by bootstrap over the studies."""

    curves: str
    pruner: str
    studies: int
    saved_percent: float
    saved_low: float
    saved_high: float
    kept_percent: float
    kept_low: float
    kept_high: float
    regret_percent: float
    milliseconds_per_decision: float


def grade(
    curves: Curves, names: Sequence[str], *, trials: int, studies: int, seed: int = 0, stress: Stress = "none"
) -> list[Grade]:
    """Replay the same studies under every pruner.

    Args:
        curves: of one set.
        names: of `PRUNERS`.
        trials: of a study.
        studies: random draws and orders.
        seed: of the draws.
        stress: see `Curves.draw`.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drawn = [curves.draw(trials, np.random.default_rng([seed, number]), stress) for number in range(studies)]
    graded = []
    try:
        with progress_bar(total=len(names) * studies, desc=curves.name, unit="study") as bar:
            for name in names:
                outcomes = []
                for number, study in enumerate(drawn):
                    outcomes.append(replay(study, PRUNERS[name](study.values.shape[1], number)))
                    bar.update()
                graded.append(_grade(curves.name, name, outcomes))
    finally:
        optuna.logging.set_verbosity(before)
    return graded


def _grade(curves: str, pruner: str, outcomes: list[Outcome]) -> Grade:
    saved, kept, regret, seconds = (np.array(column, dtype=float) for column in zip(*outcomes, strict=True))
    finite = regret[np.isfinite(regret)]
    return Grade(
        curves, pruner, len(outcomes), *_percent(saved), *_percent(kept),
        100 * float(finite.mean()) if len(finite) else math.inf, 1000 * float(seconds.mean()),
    )  # fmt: skip


def _percent(values: Array) -> tuple[float, float, float]:
    """Mean and 90 % interval, in per cent."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.05, 0.95])
    return 100 * float(values.mean()), 100 * float(low), 100 * float(high)


def predictions(curves: Curves, trials: int = 100) -> dict[float, Predictions]:
    """Final values foretold from the first 5, 10, 20 and 50 % of trials that nobody stopped."""
    drawn = curves.draw(trials, np.random.default_rng(0))
    length = drawn.values.shape[1]
    frozen = [
        create_trial(state=TrialState.COMPLETE, value=float(row[-1]), intermediate_values=dict(enumerate(row, 1)))
        for row in drawn.values
        if np.isfinite(row[-1])
    ]
    return {fraction: foretell(frozen, length, fraction) for fraction in FRACTIONS}


def table(graded: list[Grade]) -> str:
    """Markdown."""
    lines = ["| curves | pruner | saved % | best kept % | regret % | ms per decision |", "|---|---|---|---|---|---|"]
    for one in graded:
        lines.append(
            f"| {one.curves} | {one.pruner} | {one.saved_percent:.1f} [{one.saved_low:.1f}, {one.saved_high:.1f}] | "
            f"{one.kept_percent:.0f} [{one.kept_low:.0f}, {one.kept_high:.0f}] | {one.regret_percent:.2f} | "
            f"{one.milliseconds_per_decision:.2f} |"
        )
    return "\n".join(lines)


def prediction_table(name: str, found: dict[float, Predictions]) -> str:
    """Markdown: how well early reports foretell final values."""
    lines = ["| curves | known | trials | R² of the final value | Spearman |", "|---|---|---|---|---|"]
    for fraction, foretold in found.items():
        lines.append(
            f"| {name} | {fraction:.0%} | {len(foretold.final)} | {foretold.r2:.3f} | {foretold.spearman:.3f} |"
        )
    return "\n".join(lines)


def frame(graded: list[Grade]) -> pd.DataFrame:
    """One row per set and pruner."""
    return pd.DataFrame(graded)

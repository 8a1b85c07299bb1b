"""Speed and memory of the fits, against what a user would run instead, in one run.

Run with `python -m pytest benchmarks/speed/test_scaling.py -s`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import huber, logsumexp

from chemscale_bench.scaling import JointLaw
from chemscale_bench.speed.measurements import Row

CHINCHILLA = Path(__file__).parents[3] / "shared" / "data" / "scaling" / "chinchilla_epoch.csv"
SAMPLED_STARTS = 15


@pytest.fixture(scope="module")
def runs() -> tuple[np.ndarray, ...]:
    """params, tokens, loss of the 240 Chinchilla points."""
    if not CHINCHILLA.exists():
        pytest.skip("needs ../shared/data/scaling/chinchilla_epoch.csv beside the project")
    frame = pd.read_csv(CHINCHILLA).sort_values("loss").iloc[:-5]
    params = frame["Model Size"].to_numpy()
    return params, frame["Training FLOP"].to_numpy() / 6 / params, frame["loss"].to_numpy()


def usual_grid() -> np.ndarray:
    """The 4,500 starts of Hoffmann et al. 2022, appendix D.3: a, b, e, alpha, beta."""
    scales, exponents = np.arange(0, 26, 5), np.arange(0, 2.1, 0.5)
    return np.array(list(product(scales, scales, np.arange(-1, 1.1, 0.5), exponents, exponents)))


def usual_fit(start: np.ndarray, runs: tuple[np.ndarray, ...], weight: Any = 1.0) -> Any:
    """One L-BFGS run from one start, with numeric gradients, on the summed Huber loss."""
    n, d, y = (np.log(column) for column in runs)

    def objective(theta: np.ndarray) -> float:
        a, b, e, alpha, beta = theta
        residual = y - logsumexp([a - alpha * n, b - beta * d, e + 0 * n], axis=0)
        return float((weight * huber(1e-3, residual)).sum())

    return minimize(objective, start, method="L-BFGS-B")


def test_joint_fit_against_the_usual_grid(
    benchmark: Any, runs: tuple[np.ndarray, ...], record_row: Callable[..., Row]
) -> None:
    """At least 1,000 times faster than 4,500 starts, with the same objective or a lower one."""
    law = benchmark.pedantic(lambda: JointLaw().fit(*runs), rounds=5, warmup_rounds=1)
    grid = usual_grid()
    sample = grid[np.random.default_rng(0).choice(len(grid), SAMPLED_STARTS, replace=False)]
    begin = time.perf_counter()
    best = min(float(usual_fit(start, runs).fun) for start in sample)
    usual = (time.perf_counter() - begin) / SAMPLED_STARTS * len(grid)
    alternative = f"{len(grid):,} starts of L-BFGS (scaled from {SAMPLED_STARTS})"
    row = record_row(f"joint law, {len(runs[0])} points", "s", benchmark.stats.stats.data, alternative, usual)
    assert row.ratio > 1000
    assert law.objective_ <= best * (1 + 1e-9)


@pytest.mark.parametrize("bootstrap", ["runs", "residuals"])
def test_four_thousand_refits(
    benchmark: Any, runs: tuple[np.ndarray, ...], bootstrap: str, record_row: Callable[..., Row]
) -> None:
    """4,000 refits in under 30 s."""
    law = JointLaw(replicates=4000, bootstrap=bootstrap).fit(*runs)  # type: ignore[arg-type]

    def refit() -> np.ndarray:
        law._replicates = None
        return law.replicates_

    benchmark.pedantic(refit, rounds=1)
    seconds = benchmark.stats.stats.median
    weights = np.random.default_rng(0).exponential(size=(SAMPLED_STARTS, len(runs[0])))
    begin = time.perf_counter()
    for weight in weights:
        usual_fit(law_start(law), runs, weight)
    each = (time.perf_counter() - begin) / SAMPLED_STARTS
    alternative = f"warm L-BFGS, numeric gradients (scaled from {SAMPLED_STARTS})"
    record_row(f"4,000 bootstrap refits of it, {bootstrap}", "s", seconds, alternative, 4000 * each)
    assert seconds < 30


def law_start(law: JointLaw) -> np.ndarray:
    """The optimum in the usual parametrisation, as a warm start."""
    return np.array(
        [
            np.log(law.params_scale_),
            np.log(law.tokens_scale_),
            np.log(law.irreducible_),
            law.params_exponent_,
            law.tokens_exponent_,
        ]
    )


def planted(sizes: int, budgets: int, seeds: int, seed: int) -> tuple[np.ndarray, ...]:
    """A table from a joint law with 1 % noise."""
    random = np.random.default_rng(seed)
    params = np.repeat(np.geomspace(1e6, 1e9, sizes), budgets * seeds)
    tokens = np.tile(np.repeat(np.geomspace(1e8, 1e11, budgets), seeds), sizes)
    loss = 0.9 + 60 * params**-0.3 + 900 * tokens**-0.35
    return params, tokens, loss * np.exp(0.01 * random.normal(size=len(params)))


def intervals(law: JointLaw) -> list[Any]:
    """All intervals of a law."""
    return [law.confidence_interval(name) for name in law.parameters_]


def test_ten_thousand_runs_of_200_models(benchmark: Any, record_row: Callable[..., Row]) -> None:
    """200 tables of 50 runs, each fitted with intervals from 1,000 refits."""
    tables = [planted(5, 5, 2, seed) for seed in range(200)]

    def fit_all() -> int:
        laws = [JointLaw(on_flat="nan").fit(*table) for table in tables]
        return sum(len(intervals(law)) for law in laws)

    hold_to_limits("200 tables of 50 runs", benchmark, fit_all, record_row)


def test_ten_thousand_runs_in_one_table(benchmark: Any, record_row: Callable[..., Row]) -> None:
    """One table of 10,000 runs in 200 groups of seeds, fitted with intervals from 1,000 refits."""
    table = planted(20, 10, 50, 0)
    cell = np.unique(np.column_stack(table[:2]), axis=0, return_inverse=True)[1]
    work = lambda: intervals(JointLaw().fit(*table, groups=cell))  # noqa: E731
    hold_to_limits("10,000 runs in 200 groups", benchmark, work, record_row)


def hold_to_limits(name: str, benchmark: Any, work: Callable[[], object], record_row: Callable[..., Row]) -> None:
    """Time `work` once, and hold its time and the process's peak memory to the limits."""
    benchmark.pedantic(work, rounds=1)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = record_row(f"{name}, fits with intervals", "s", benchmark.stats.stats.median)
    record_row(f"{name}: peak memory of the process", "MiB", peak_mib)
    assert row.ours < 60
    assert peak_mib < 1024

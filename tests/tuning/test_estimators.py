"""Estimators of the final loss: golden numbers, and what divergence means."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.tuning import estimators

STEPS = np.arange(1, 21)
SCALARS: dict[str, Callable[[list[float]], float]] = {
    "sum_of_losses": estimators.sum_of_losses,
    "sum_of_last_losses": estimators.sum_of_last_losses,
    "decayed_sum_of_losses": estimators.decayed_sum_of_losses,
    "mean_of_last_quarter": estimators.mean_of_last_quarter,
    "best_so_far": lambda curve: float(estimators.best_so_far(curve)[-1]),
}


@pytest.mark.parametrize(
    ("name", "golden"),
    [("sum_of_losses", 129.82763), ("sum_of_last_losses", 5.732065), ("decayed_sum_of_losses", 128.995315)],
)
def test_golden_numbers_of_a_force_field(name: str, golden: float, shared_data: Path) -> None:
    log = pd.read_csv(shared_data / "tse_example" / "metrics.csv").dropna(subset="train_loss_step")
    epochs = log.groupby("epoch")["train_loss_step"].mean().tolist()
    assert len(epochs) == 30
    assert SCALARS[name](epochs[:10]) == pytest.approx(golden, abs=5e-7 * golden)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("end", [math.nan, math.inf, -math.inf])
def test_a_diverged_curve_is_the_worst(name: str, end: float) -> None:
    assert SCALARS[name]([3.0, 2.0, 1.5, 1.4, end]) == math.inf
    assert SCALARS[name]([end]) == math.inf


@pytest.mark.parametrize("name", SCALARS)
def test_a_curve_that_came_back_is_judged_by_its_finite_reports(name: str) -> None:
    assert math.isfinite(SCALARS[name]([3.0, math.nan, 1.5, 1.4, 1.3, 1.2]))


@pytest.mark.parametrize("name", SCALARS)
def test_of_two_curves_the_lower_one_is_better(name: str) -> None:
    high = [1 + 2 / step for step in STEPS]
    assert SCALARS[name]([0.9 * value for value in high]) < SCALARS[name](high)


def test_the_untrained_model_is_no_best_report() -> None:
    assert estimators.best_so_far([0.1, 0.5, 0.4, 0.6]).tolist() == [0.1, 0.5, 0.4, 0.4]


def test_the_noise_of_reports_is_found_whatever_the_spacing() -> None:
    """Around a straight line, where the middle of three reports misses the line through the others by noise alone."""
    random = np.random.default_rng(0)
    steps = np.cumsum(random.uniform(1, 5, 4000))
    noise = estimators.noise_so_far(steps, 9 - 1e-3 * steps + random.normal(0, 0.2, 4000))
    assert noise[-1] == pytest.approx(0.04, rel=0.05)
    assert np.isnan(noise[:3]).all()
    assert noise[3:10] == pytest.approx(0.04, rel=2)


def test_a_straight_curve_has_no_noise_and_a_divergence_adds_none() -> None:
    line = 3 - 0.1 * STEPS[:12]
    assert estimators.noise_so_far(STEPS[:12], line)[3:] == pytest.approx(0, abs=1e-20)
    assert np.isnan(estimators.noise_so_far([1, 2, 3], [3, 2, 1])).all()
    random = np.random.default_rng(0)
    curve = random.normal(0, 1, 8000)
    curve[random.choice(8000, 900, replace=False)] = [math.nan, math.inf, -math.inf] * 300
    assert estimators.noise_so_far(np.arange(8000), curve)[-1] == pytest.approx(1, rel=0.05)


def test_sums_and_means_by_hand() -> None:
    curve = [9.0, math.nan, 8.0, 4.0, 2.0]
    assert estimators.sum_of_losses(curve) == 23
    assert estimators.sum_of_last_losses(curve) == 2
    assert estimators.sum_of_last_losses(curve, epochs=3) == 14
    assert estimators.decayed_sum_of_losses(curve, decay=0.5) == 2 + 4 / 2 + 8 / 4 + 9 / 8
    assert estimators.decayed_sum_of_losses([1.0, 0.0]) == 0.999
    assert estimators.mean_of_last_quarter(curve) == 2
    assert estimators.mean_of_last_quarter([*curve, 1.0]) == 1.5  # of five finite ones two


def test_the_noise_about_two_neighbours_by_hand() -> None:
    """Halfway between them the line is (a + b) / 2, of variance v (1 + 1/4 + 1/4); at a third, v (1 + 1/9 + 4/9)."""
    assert estimators.noise_so_far([0, 1, 2, 3], [9, 1, 2, 1]).tolist()[3] == pytest.approx(1 / 1.5)
    even = estimators.noise_so_far([0, 1, 2, 3, 4], [9, 1, 2, 1, 6])
    assert even[3:] == pytest.approx([1 / 1.5, (1 + 3**2) / 1.5 / 2])
    uneven = estimators.noise_so_far([0, 1, 2, 4], [9, 3, 7, 9])  # the line through 3 and 9 is at 5 after a third
    assert uneven[3] == pytest.approx(2**2 / (1 + 1 / 9 + 4 / 9))

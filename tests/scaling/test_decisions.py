"""Decision accuracy on runs whose order is known."""

import math

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.scaling.decisions import decisions, exponents
from chemscale_bench.scaling.figures_models import figure_models


def grid(model: str, losses: dict[tuple[int, int], list[float]]) -> list[tuple[str, int, int, int, float]]:
    return [
        (model, params, data, seed, loss)
        for (params, data), found in losses.items()
        for seed, loss in enumerate(found)
    ]  # fmt: skip


def frame(*rows: list[tuple[str, int, int, int, float]]) -> pd.DataFrame:
    return pd.DataFrame([one for each in rows for one in each], columns=["model", "params", "data", "seed", "loss"])


CROSSING = frame(
    grid("small", {(10, 10): [1.0, 1.2], (10, 100): [0.8], (100, 100): [0.70, 0.72]}),
    grid("large", {(10, 10): [1.1, 1.3], (10, 100): [0.8], (100, 100): [0.60, 0.62], (1000, 1000): [0.1]}),
)


def test_the_largest_common_cell_decides_and_smaller_ones_are_asked() -> None:
    (found,) = decisions(CROSSING)
    assert (found.better, found.other, found.params, found.data) == ("large", "small", 100, 100)
    assert found.difference == pytest.approx(0.1)
    # By hand: at (10, 10) only large's 1.1 against small's 1.2 is in order, of 4 pairs; at (10, 100) there is a tie.
    assert found.smaller["share"].tolist() == pytest.approx([0.01, 0.1])
    assert found.smaller["pairs"].tolist() == [4, 1]
    assert found.smaller["agree"].tolist() == [0.25, 0.5]
    assert found.accuracy == pytest.approx((1 + 0.5) / 5)


def test_the_interval_is_that_of_welch_and_needs_two_seeds() -> None:
    (found,) = decisions(CROSSING, level=0.9)
    # Both have variance 2e-4: t of 2 degrees of freedom at 95 % is 2.91999, the standard error is sqrt(2e-4).
    half = 2.9199856 * math.sqrt(2e-4)
    assert found.interval == pytest.approx((0.1 - half, 0.1 + half))
    (single,) = decisions(CROSSING[CROSSING["seed"] == 0])
    assert np.isnan(single.interval).all()


def test_every_two_models_are_compared_on_what_they_share() -> None:
    third = frame(grid("third", {(100, 100): [0.65]}))
    found = decisions(pd.concat([CROSSING, third]))
    assert [(each.better, each.other) for each in found] == [("large", "small"), ("third", "small"), ("large", "third")]
    assert math.isnan(found[1].accuracy)
    figure = figure_models(CROSSING, found[:1], "loss", "tokens")
    assert {trace.name for trace in figure.data} >= {"small", "large", "large before small"}


def test_models_without_a_common_cell_are_left_out() -> None:
    found = decisions(pd.concat([CROSSING, frame(grid("other", {(7, 7): [1.0]}))]))
    assert [(each.better, each.other) for each in found] == [("large", "small")]


def test_any_number_of_models_can_be_drawn() -> None:
    runs = frame(*(grid(f"model {number}", {(1, 1): [2.0], (10, 10): [1.0 + number]}) for number in range(9)))
    assert len(figure_models(runs, decisions(runs), "loss", "tokens").data) == 9 * 2 + 36


def test_exponents_are_compared_where_both_models_were_measured() -> None:
    def falls(model: str, power: float, sizes: tuple[int, ...]) -> list[tuple[str, int, int, int, float]]:
        return grid(model, {(100, n): [(1 + 0.2 * (n == 200)) * n**-power, n**-power] for n in sizes})

    table = frame(falls("steep", 0.5, (50, 200, 950)), falls("flat", 0.3, (50, 200, 500, 950)))
    (found,) = exponents(table)
    assert (found.axis, found.at, found.points, found.models) == ("data", 100, 3, ("steep", "flat"))
    assert [line.slope for line in found.lines] == pytest.approx([0.5, 0.3], abs=0.02)
    assert found.lines[0].slope_interval[0] < 0.4  # 200 frames lie off the line of each, by as much
    assert found.difference.slope == pytest.approx(0.2)
    assert found.difference.slope_interval == pytest.approx((0.2, 0.2))
    assert exponents(frame(falls("steep", 0.5, (50, 200)), falls("flat", 0.3, (500, 950)))) == []


def test_what_the_seeds_of_a_size_share_is_no_surer_for_being_repeated() -> None:
    rng, sizes, draws = np.random.default_rng(1), np.array([1e4, 3e4, 1e5]), 500
    held = told = 0
    for _ in range(draws):
        off = rng.normal(0, 0.006, (2, 3, 1)) + rng.normal(0, 0.005, (2, 3, 5))
        loss = sizes[:, None] ** -0.2 * np.exp(off)
        models = ({(n, 1e6): each.tolist() for n, each in zip(sizes, one, strict=True)} for one in loss)
        (found,) = exponents(frame(*(grid(name, cells) for name, cells in zip("ab", models, strict=True))))
        held += found.lines[0].slope_interval[0] < 0.2 < found.lines[0].slope_interval[1]
        told += found.difference.p < 0.1
    # With every run a point of its own the intervals held 59 %.
    assert (held / draws, told / draws) == pytest.approx((0.9, 0.1), abs=0.04)


def test_a_loss_of_nothing_has_no_logarithm_and_is_left_out_of_exponents() -> None:
    noisy = [(10, 1.0), (20, 0.8), (40, 0.7), (80, 0.5)]
    models = [grid(name, {(100, n): [loss**power] for n, loss in noisy}) for name, power in (("a", 1), ("b", 2))]
    expected, found = (
        exponents(frame(*models)),
        exponents(frame(*models, grid("a", {(100, 160): [0.0]}), grid("b", {(100, 160): [0.2]}))),
    )
    assert [each.difference for each in found] == [each.difference for each in expected]
    assert len(found) == 1

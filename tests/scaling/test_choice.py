"""Laws are judged by runs that they have not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import (
    JointLaw,
    PowerLaw,
    PowerLawWithFloor,
    UnidentifiedError,
    choose_law,
    extrapolate,
)
from chemscale_bench.scaling.choice import Candidate, Extrapolation, LawChoice, hold_out

X = np.geomspace(1e5, 1e9, 14)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (20 * X**-0.2, "PowerLaw"),
        (0.5 + 20 * X**-0.25, "PowerLawWithFloor"),
        (10 * X**-0.05 * (1 + (X / 1e7) ** 2) ** -0.15, "BrokenPowerLaw"),
    ],
    ids=["straight", "floor", "broken"],
)
def test_the_law_that_made_the_data_is_chosen(loss: np.ndarray, name: str) -> None:
    noisy = loss * np.exp(0.003 * np.random.default_rng(0).normal(size=len(X)))
    choice = choose_law(X, noisy)
    assert type(choice.chosen).__name__ == name
    assert choice.held_out == 3
    assert choice.margin >= 1
    assert [candidate.error for candidate in choice.candidates] == sorted(c.error for c in choice.candidates)


def test_of_runs_without_noise_no_law_is_better_than_exact() -> None:
    assert choose_law(X, 20 * X**-0.2).margin >= 1


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        ((0.01, 0.025), "the runner-up's error is 2.50 times the best one's"),
        ((1e-15, 3e-9), "the runner-up is exact, too: runs without noise don't tell one from the other"),
        ((0.01, np.inf), "no other law could be fitted"),
        ((0.01,), "no other law could be fitted"),
    ],
)
def test_what_is_said_of_the_runner_up(errors: tuple[float, ...], says: str) -> None:
    laws = [Candidate(PowerLaw(), error, "") for error in errors]
    choice = LawChoice(laws, laws[0].law, errors[-1] / errors[0], noise=0.0, held_out=3)
    assert choice.runner_up == says


def test_few_sizes_are_not_compared() -> None:
    with pytest.raises(UnidentifiedError, match="takes 4 sizes, got 3"):
        choose_law([1e6, 1e7, 1e8], [3, 2, 1])


def test_extrapolation_covers_new_runs_of_the_same_law(planted: Any) -> None:
    random = np.random.default_rng(3)
    shares = []
    for _ in range(10):
        noisy = planted.loss * np.exp(0.01 * random.normal(size=30))
        report = extrapolate(JointLaw(replicates=200, on_flat="nan"), planted[:2], noisy, up_to=4e17)
        shares.append(report.coverage)
    assert 0.75 <= np.mean(shares) <= 1
    assert report.fitted == 20
    assert "% of 10 larger runs inside (fitted to 20)" in report.table()


def test_extrapolation_shows_a_law_that_breaks() -> None:
    loss = 10 * np.minimum(X, 1e7) ** -0.2 * np.exp(0.01 * np.random.default_rng(0).normal(size=14))
    assert extrapolate(PowerLaw(), [X], loss, up_to=1e7).coverage < 0.5


def test_nothing_to_predict() -> None:
    with pytest.raises(UserError, match="up_to must leave larger runs"):
        extrapolate(PowerLaw(), [X], 20 * X**-0.2, up_to=1e9)


def test_what_held_out_runs_say_by_hand() -> None:
    sizes = (np.array([1.0, 2.0, 3.0]), np.array([10.0, 10.0, 10.0]))
    measured, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.2, 3.0])
    low, high = np.array([1.0, 2.1, 2.0]), np.array([2.0, 2.3, 3.0])
    found = Extrapolation(sizes, measured, predicted, low, high, 0.9, 7, 0.1)
    assert found.error == pytest.approx(np.log(1.1) / 3)
    assert found.coverage == pytest.approx(2 / 3), "ends are inside"
    lines = found.table(most=2).splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["3", "x", "10"], ["2", "x", "10"]]
    assert [line.endswith("outside") for line in lines[1:3]] == [False, True]
    assert lines[3] == "67% of 3 larger runs inside (fitted to 7), mean error 3.18%"


def test_the_edge_of_what_is_fitted_is_fitted() -> None:
    loss = 20 * X**-0.2
    found = extrapolate(PowerLaw(replicates=5), [X], loss, up_to=float(X[9]))
    assert (found.fitted, len(found.measured), found.level) == (10, 4, 0.9)
    assert found.share == pytest.approx(X[9] / X[13])
    assert found.predicted == pytest.approx(loss[10:])
    assert extrapolate(PowerLaw(replicates=5), [X], loss, float(X[9]) * (1 - 1e-12)).fitted == 10


@pytest.mark.parametrize(("points", "share"), [(8, 0.1), (7, 0.2), (4, 0.5), (3, None)])
def test_a_decade_is_held_out_or_as_much_as_leaves_eight(points: int, share: float | None) -> None:
    """Eight runs below a tenth of the largest, or below a fifth, or below a half; the rest is above."""
    edges = {8: [], 7: [0.2], 4: [0.15, 0.2, 0.3, 0.5], 3: [0.2, 0.3, 0.4, 0.45]}[points]
    x = np.array([*np.geomspace(1e-4, 0.1, points), *edges, 0.9, 1.0]) * 1e9
    if share is None:
        with pytest.raises(UnidentifiedError, match="needs 8 runs of less than half of the largest compute, got 7"):
            hold_out(PowerLaw(), [x], 20 * x**-0.2)
        return
    found = hold_out(PowerLaw(replicates=5), [x], 20 * x**-0.2, 0.8)
    assert (found.fitted, len(found.measured), found.share, found.level) == (8, 2, pytest.approx(share), 0.8)


def test_a_quarter_of_the_sizes_is_held_out_and_errors_are_relative() -> None:
    x = np.geomspace(1e6, 1e9, 4)
    loss = 20 * x**-0.2
    loss[3] *= 1.1
    choice = choose_law(x, loss, [PowerLaw()])
    assert choice.held_out == 1
    assert choice.candidates[0].error == pytest.approx(np.log(1.1))
    assert choice.margin == np.inf
    assert choice.noise == pytest.approx(np.sqrt(np.mean(choice.candidates[0].law.residuals_ ** 2)))
    assert choose_law(X, 20 * X**-0.2, [PowerLaw()], held_out_sizes=9).held_out == 9
    for bad in (0, 14):
        with pytest.raises(UserError, match="held_out_sizes must lie between 1 and 13"):
            choose_law(X, 20 * X**-0.2, held_out_sizes=bad)


def test_the_simplest_law_that_chance_allows_is_chosen_and_the_runner_up_is_compared() -> None:
    loss = 20 * X**-0.2 * np.exp(0.01 * np.random.default_rng(0).normal(size=14))
    choice = choose_law(X, loss, [PowerLaw(), PowerLawWithFloor()])
    assert isinstance(choice.chosen, PowerLaw)
    first, second = (candidate.error for candidate in choice.candidates)
    assert choice.margin == pytest.approx(second / first)

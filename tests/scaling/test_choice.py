"""Laws are judged by runs that they have not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import JointLaw, PowerLaw, UnidentifiedError, choose_law, extrapolate

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

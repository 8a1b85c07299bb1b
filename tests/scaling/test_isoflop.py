"""Parabolas with minima by hand."""

import math

import numpy as np
import pytest

from chemscale_bench.scaling import UnidentifiedError, isoflop

STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
"""Of log size about a minimum; the window of a factor 8 reaches to 2.08."""


def group(flops: float, best: float, steps: np.ndarray = STEPS, bend: float = 0.1) -> tuple[np.ndarray, ...]:
    """Runs of equal FLOPs, a parabola about the best log size."""
    params = np.exp(best + steps)
    return params, flops / 6 / params, 2 + bend * steps**2


def found(*groups: tuple[np.ndarray, ...]) -> tuple[list[float], list[float], float]:
    flops, params, power = isoflop(*(np.concatenate(columns) for columns in zip(*groups, strict=True)))
    return np.log(flops).tolist(), np.log(params).tolist(), power


def test_minima_and_their_slope_are_exact_for_parabolas() -> None:
    flops, params, power = found(group(math.exp(40), 15.3, STEPS + 0.3), group(math.exp(44), 17.3), group(1e15, 13))
    assert flops == pytest.approx([math.log(1e15), 40, 44])
    assert params == pytest.approx([13, 15.3, 17.3])
    assert power == pytest.approx(np.polyfit(flops, params, 1)[0])
    assert math.isnan(found(group(1e18, 15))[2])


def test_runs_are_of_one_group_up_to_15_per_cent() -> None:
    near, far = group(1e18, 15), group(1.2e18, 15.1)
    assert len(found(near, far)[0]) == 2
    assert len(found(near, group(1.1e18, 15.1))[0]) == 1


def test_sizes_far_from_the_best_do_not_count() -> None:
    params, tokens, loss = group(1e18, 15, np.array([-2.2, *STEPS, 2.2]))
    loss[[0, -1]] = 9, 3
    assert found((params, tokens, loss))[1] == pytest.approx([15])
    assert isoflop(params, tokens, loss, window=10).params != pytest.approx([math.exp(15)], rel=1e-3)


@pytest.mark.parametrize(
    "runs",
    [
        group(1e18, 15, STEPS[:4]),
        group(1e18, 15, bend=-0.1),
        group(1e18, 15, STEPS + 2.5),
        group(1e18, 15, STEPS - 2.5),
        tuple(np.repeat(column, 2) for column in group(1e18, 15, STEPS[:4])),
    ],
)
def test_a_group_without_a_minimum_inside_is_refused(runs: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(UnidentifiedError, match="none with a minimum"):
        isoflop(*runs)


def test_flops_follow_from_what_a_token_costs() -> None:
    params, tokens, loss = group(1e18, 15)
    assert isoflop(params, tokens, loss, flops_per_param_token=12).flops == pytest.approx([2e18])

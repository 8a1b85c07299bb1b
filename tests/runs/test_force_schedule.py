"""How fast force fields learn, by width and length."""

from __future__ import annotations

import pytest

from chemscale_bench.models import painn
from chemscale_bench.runs.force_schedule import rate_factor


@pytest.mark.parametrize(
    ("width", "steps", "factor"),
    [
        (52, 1, 1),
        (52, 5_000, 1),
        (52, 20_000, 0.5),
        (52, 500_000, 0.1),
        (16, 5_000, 1),
        (104, 5_000, 0.5),
        (104, 20_000, 0.25),
    ],
)
def test_wide_and_long_runs_learn_slower(width: int, steps: int, factor: float) -> None:
    assert painn.PEAK_RATE[1] == 52
    assert rate_factor("painn", width, steps) == pytest.approx(factor)

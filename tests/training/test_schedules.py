import numpy as np
import pytest

from chemscale_bench.training.schedules import ForwardArea, Segment, batch_tokens_at, learning_rate_factor, segments


def test_a_decay_branches_off_the_trunk_at_every_budget() -> None:
    assert segments([100, 300], 0.2) == [
        Segment("trunk", 80, 100),
        Segment("decay", 100, 100),
        Segment("trunk", 240, 300),
        Segment("decay", 300, 300),
    ]


@pytest.mark.parametrize(
    ("position", "warmup", "branch", "factor"),
    [
        (0, 10, None, 0.1),
        (9, 10, None, 1.0),
        (50, 0, None, 1.0),
        (80, 10, 80, 1.0),
        (85, 10, 80, 0.5),
        (100, 10, 80, 0.0),
        (4, 10, 0, 0.5 * 0.8),
    ],
)
def test_learning_rate(position: int, warmup: int, branch: int | None, factor: float) -> None:
    assert learning_rate_factor(position, warmup, branch, 100) == pytest.approx(factor)


def test_the_batch_grows_with_the_tokens_seen_between_its_bounds() -> None:
    sizes = [batch_tokens_at(position) for position in (0, 10**6, 10**7, 10**8, 10**10)]
    assert sizes == sorted(sizes)
    assert sizes == [512, 976, 9_765, 97_656, 524_288]


def test_the_forward_area_is_that_under_the_schedule() -> None:
    even = ForwardArea(warmup=0, decay=0)
    assert even.at([0, 0.25, 1]) == pytest.approx([0, 0.25, 1])
    # A triangle of .5 / 2, a rectangle of .3, and two thirds less than .2 below 1 - sqrt.
    whole = 0.25 + 0.3 + 0.2 / 3
    slow = ForwardArea(warmup=0.5, decay=0.2)
    assert slow.at([0.25, 0.5, 0.8]) == pytest.approx([0.0625 / whole, 0.25 / whole, 0.55 / whole], rel=1e-3)
    assert slow.positions_at(slow.at([0.1, 0.9])) == pytest.approx([0.1, 0.9])


@pytest.mark.parametrize(("warmup", "decay"), [(1, 0.6), (1, 1), (0, 1), (0.001, 0.1)])
def test_the_forward_area_grows_all_the_way(warmup: float, decay: float) -> None:
    areas = ForwardArea(warmup, decay).at(np.linspace(0, 1, 50))
    assert (np.diff(areas) > 0).all()
    assert areas[-1] == 1

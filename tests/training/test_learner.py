"""One optimizer step by hand: a model of one weight, data that are numbers, losses that are products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.learner import Learner, Step


class Scale(nn.Module):
    """Summed loss w x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def forward(self, numbers: np.ndarray) -> Tensor:
        return (self.weight * torch.tensor(numbers, dtype=torch.float32)).sum()


class Numbers:
    """Passes of at most `limit` items."""

    def passes(self, items: np.ndarray, limit: int) -> Iterator[np.ndarray]:
        for start in range(0, len(items), limit):
            yield items[start : start + limit]


def learner(clip: float = 100.0, limit: int = 2, average: bool = False) -> Learner:
    model = Scale()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    objective: Any = Numbers()
    running = RunningAverage(model, 0.9) if average else None
    fabric = Fabric(accelerator="cpu", devices=1)
    return Learner(fabric, model, optimizer, objective, clip=clip, pass_limit=limit, average=running, captures=True)


ITEMS = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_step_follows_the_mean_gradient_whatever_the_passes(limit: int) -> None:
    made = learner(limit=limit)
    made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert made.module.weight.item() == pytest.approx(2 - 0.1 * 3)
    assert float(made.loss_sum) == pytest.approx(2 * 15)
    assert float(made.gradient_norm) == pytest.approx(3)
    assert made.train_seconds > 0
    made.perform(Step(made, ITEMS[:1], 1))  # type: ignore[arg-type]
    assert made.module.weight.item() == pytest.approx(1.7 - 0.1 * 1), "the last gradient is forgotten"
    assert float(made.loss_sum) == pytest.approx(30 + 1.7)


def test_a_gradient_is_clipped_and_its_norm_told_as_it_was() -> None:
    made = learner(clip=0.5)
    made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert made.module.weight.item() == pytest.approx(2 - 0.1 * 0.5)
    assert float(made.gradient_norm) == pytest.approx(3)


def test_the_average_follows_the_changed_weights() -> None:
    made = learner(average=True)
    assert made.average is not None
    made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert made.average.module.weight.item() == pytest.approx(1.7)
    made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert made.average.module.weight.item() == pytest.approx(1.7 - 0.3 * (1 - 2 / 11))
    assert not made.captures, "nothing is recorded on a CPU"


def test_memory_that_does_not_suffice_for_64_units_is_an_error() -> None:
    made = learner(limit=200)

    def full(_: Any, __: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    made.learn = full
    with pytest.raises(torch.OutOfMemoryError):
        made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert made.pass_limit == 50

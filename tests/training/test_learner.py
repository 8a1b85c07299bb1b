"""One optimizer step by hand: a model of one weight, data that are numbers, losses that are products."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

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
    made, started = learner(limit=limit), time.perf_counter()
    made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert 0 < made.train_seconds < time.perf_counter() - started
    assert made.module.weight.item() == pytest.approx(2 - 0.1 * 3)
    assert float(made.loss_sum) == pytest.approx(2 * 15)
    assert float(made.gradient_norm) == pytest.approx(3)
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


@pytest.mark.parametrize(("spread", "part", "again"), [(0, "forward", 1), (0, "backward", 0), (1, "forward", 0)])
def test_memory_is_tried_again_only_where_no_other_process_waits(
    spread: int, part: str, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, calls = learner(limit=200), 0
    made.spread, made.exchanges = bool(spread), True  # as the last pass of one of two processes has it
    made.fabric = SimpleNamespace(autocast=nullcontext, backward=lambda loss: step("backward"))  # type: ignore[assignment]
    made.model = lambda _: step("forward")

    def step(now: str) -> Tensor:
        nonlocal calls
        calls += now == part
        if calls == 1 and now == part:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return torch.ones(())

    monkeypatch.setattr(made, "accumulate", lambda *_: made.forward_backward(None, torch.ones(())))
    with nullcontext() if again else pytest.raises(torch.OutOfMemoryError):
        made.perform(Step(made, ITEMS, 5))  # type: ignore[arg-type]
    assert calls == 1 + again


def test_rates_are_held_on_the_device_and_recordings_forgotten_only_when_that_is_new() -> None:
    """What a GPU does before each step, whose recorded update reads the rate where it lies."""
    made, forgotten = learner(), []
    made.update = SimpleNamespace(forget=lambda: forgotten.append("update"))  # type: ignore[assignment]
    (group,) = made.optimizer.param_groups
    made.hold_rates()
    rate = group["lr"]
    assert isinstance(rate, Tensor)
    assert (rate.item(), group["capturable"], len(forgotten)) == (pytest.approx(0.1), True, 1)
    rate.fill_(0.05)
    made.hold_rates()
    assert group["lr"] is rate
    assert len(forgotten) == 1
    group["lr"] = 0.2  # as a resumed state has it
    made.hold_rates()
    assert (group["lr"].item(), len(forgotten)) == (pytest.approx(0.2), 2)
    made.fabric = SimpleNamespace(device=torch.device("meta"))  # type: ignore[assignment]
    made.hold_rates()
    assert (group["lr"].device.type, len(forgotten)) == ("meta", 3)


class OneOfSeveral:
    """What Fabric is to one process of several; gradients are exchanged unless it is asked to hold them back."""

    device = torch.device("cpu")

    def __init__(self, rank: int, processes: int, most_passes: int = 0) -> None:
        self.global_rank, self.world_size, self.most_passes, self.held = rank, processes, most_passes, 0

    def no_backward_sync(self, _: Any) -> AbstractContextManager[None]:
        self.held += 1
        return nullcontext()

    def all_reduce(self, _: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "max"
        return torch.tensor(self.most_passes)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize(("rank", "own", "held"), [(0, 1 + 3 + 5, 2), (1, 2 + 4, 1)])
def test_processes_share_a_step_and_exchange_gradients_once(rank: int, own: float, held: int) -> None:
    made = learner(limit=1)
    made.fabric = fabric = OneOfSeveral(rank, 2)  # type: ignore[assignment]
    assert made.accumulate(ITEMS, 5).item() == pytest.approx(2 * own)
    assert made.module.weight.grad.item() == pytest.approx(own * 2 / 5)  # their mean over two is that of all items
    assert fabric.held == held


def test_a_process_without_a_share_adds_nothing_and_takes_part() -> None:
    made = learner()
    made.fabric = fabric = OneOfSeveral(1, 2)  # type: ignore[assignment]
    assert made.accumulate(ITEMS[:1], 1).item() == 0
    assert made.module.weight.grad.item() == 0
    assert fabric.held == 0


def test_where_weights_are_gathered_all_make_as_many_passes() -> None:
    made = learner(limit=1)
    made.fabric, made.spread = OneOfSeveral(1, 2, most_passes=4), True  # type: ignore[assignment]
    with patch.object(made.module, "forward", wraps=made.module.forward) as forward:
        assert made.accumulate(ITEMS, 5).item() == pytest.approx(2 * 6)
        assert forward.call_count == 4
    assert made.module.weight.grad.item() == pytest.approx(6 * 2 / 5)
    assert made.fabric.held == 0  # type: ignore[attr-defined]

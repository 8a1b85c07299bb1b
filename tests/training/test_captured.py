"""Steps that are replayed as CUDA graphs change the weights as the steps themselves do; needs a GPU."""

from typing import Any

import pytest
import torch
from small import Log, make_molecules, trainer

from chemscale_bench.training.captured import Captured
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.together import train_together

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

BUDGETS = [8000, 16000]


def losses(log: Log) -> list[float]:
    return [report.loss for report in log.reports]


def run(captures: bool, **settings: Any) -> tuple[Log, Trainer]:
    log = Log()
    one = trainer(make_molecules(), log, BUDGETS, 2e-4, device="cuda", captures=captures, **settings)
    one.run()
    return log, one


def test_a_curve_with_a_branch_is_that_without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chemscale_bench.training.captured.LAUNCH_BOUND", -1.0)  # record everything
    replayed = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (replayed.append(1), replay(graph)))
    captured, _ = run(captures=True)
    assert len(replayed) > 20
    assert losses(captured) == pytest.approx(losses(run(captures=False)[0]), rel=1e-4)


def test_memory_that_runs_out_after_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chemscale_bench.training.captured.LAUNCH_BOUND", -1.0)
    log = Log()
    one = trainer(make_molecules(), log, BUDGETS, 2e-4, device="cuda")
    real, calls = one.accumulate, []

    def runs_out_once(items: Any, amount: int) -> torch.Tensor:
        calls.append(amount)
        if len(calls) == 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(items, amount)

    monkeypatch.setattr(one, "accumulate", runs_out_once)
    one.run()
    assert losses(log) == pytest.approx(losses(run(captures=False)[0]), rel=1e-4)


def test_a_stack_whose_members_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chemscale_bench.training.captured.LAUNCH_BOUND", -1.0)
    logs = [Log(stop_at=9), Log(), Log()]
    waiting = [trainer(make_molecules(), log, BUDGETS, 2e-4, device="cuda", seed=seed) for seed, log in enumerate(logs)]
    train_together(lambda: waiting.pop(0).steps_due() if waiting else None, 3)
    for seed in (1, 2):
        assert losses(logs[seed]) == pytest.approx(losses(run(captures=False, seed=seed)[0]), rel=1e-4)


def test_what_is_given_follows_the_arguments() -> None:
    doubled = Captured(lambda x: 2 * x)
    for value in range(6):
        assert float(doubled(torch.full((3,), float(value), device="cuda"))[0]) == 2 * value

"""A model that is spread over two processes learns what one process would, and its states fit either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import two_processes
from forks import train_together

from chemscale_bench.training import checkpoints


def train(processes: int, chosen: str, folder: Path, stop_at: int = 0, start: str = "") -> dict[str, Any]:
    """The state after a training, or at the step that it stops at."""
    folder.mkdir()
    train_together(processes, chosen, folder, stop_at, start, begin=two_processes.main)
    return checkpoints.load_state(folder / "state.pt")


def assert_close(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (one["position"], one["steps"]) == (other["position"], other["steps"])
    for name, weight in one["model"].items():
        torch.testing.assert_close(weight, other["model"][name], rtol=1e-3, atol=2e-5)
    assert one["optimizer"]["state"].keys() == other["optimizer"]["state"].keys()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(1, "full", tmp_path_factory.mktemp("alone") / "whole")


def test_two_processes_hold_half_each_and_learn_the_same(alone: dict[str, Any], tmp_path: Path) -> None:
    spread = train(2, "full", tmp_path / "spread")
    assert_close(spread, alone)
    assert 0.5 <= float((tmp_path / "spread" / "parts.txt").read_text()) < 0.55


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_state_fits_any_number_of_processes(first: int, then: int, alone: dict[str, Any], tmp_path: Path) -> None:
    """The stop at step 9 lies in the first decay, where the trunk is kept, too."""
    stopped = train(first, "full", tmp_path / "first", stop_at=9)
    assert stopped["trunk"] is not None
    assert_close(train(then, "full", tmp_path / "then", start=str(tmp_path / "first" / "state.pt")), alone)

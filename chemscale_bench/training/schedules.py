"""Warm-up/stable/decay: one trunk, and a short decay that branches off it at every token budget.

A size's whole row of budgets costs little more than its longest run (Hu et al. 2024, MiniCPM; Hägele et al. 2024).
Learning rate and batch size depend on the tokens seen, not on the largest budget, so that on the same prepared
molecules a run to 1e8 tokens passes 1e7 with the same loss as a run that was asked for 1e7.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Segment(NamedTuple):
    """A stretch of training: a decay ends exactly at its budget, the trunk at the first step at or behind `stop`.

    The trunk is not cut at a branch, so that its steps are the same whatever budgets it passes.
    """

    kind: str  # "trunk" or "decay"
    stop: int  # units seen
    budget: int  # the trunk does not go beyond it before its decay


def segments(budgets: list[int], decay: float) -> list[Segment]:
    """The stretches in the order in which they are trained: trunk, decay to a budget, trunk again from the branch.

    Args:
        budgets: token budgets, ascending.
        decay: share of each budget that is its decay, 0 < decay <= 1.
    """
    out = []
    for budget in budgets:
        out.append(Segment("trunk", budget - round(decay * budget), budget))
        out.append(Segment("decay", budget, budget))
    return out


def learning_rate_factor(position: int, warmup: int, branch: int | None = None, budget: int = 0) -> float:
    """Factor on the peak learning rate: linear warm-up, constant, then down to zero as 1 - sqrt(progress).

    The shape of the decay is the best of those that Hägele et al. (2024, arXiv 2405.18392, Eq. 1) compared.

    Args:
        position: units seen.
        warmup: units of warm-up.
        branch: where the decay began; None on the trunk.
        budget: where the decay ends.
    """
    factor = min(1.0, (position + 1) / warmup) if warmup else 1.0
    if branch is not None:
        factor *= 1 - ((position - branch) / (budget - branch)) ** 0.5
    return factor


class ForwardArea:
    """How much of the area under a schedule, its learning rates summed, a run has behind it.

    While its rate is low a run learns little, and at the end of a decay its rate is near zero: runs of one budget but
    different warm-ups and decays are compared at equal areas, where their losses say more about the end than at equal
    positions; benchmarks/replay.md has both. The name is that of Tissue et al. (2024, arXiv 2408.11029), who make the
    loss a function of this area.

    Args:
        warmup: share of the run that is its warm-up, 0 to 1.
        decay: share that is its decay, 0 to 1.
    """

    def __init__(self, warmup: float, decay: float) -> None:
        units = 1_000_000
        branch = units - round(decay * units)
        self.positions = np.linspace(0, 1, 1001)
        factors = np.array(
            [
                learning_rate_factor(at, round(warmup * units), branch if at > branch else None, units)
                for at in range(0, units + 1, units // 1000)
            ]
        )
        summed = np.append(0.0, np.cumsum(factors[:-1] + factors[1:]))
        self.areas = summed / summed[-1]

    def at(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Shares of the area at shares of the run, any shape."""
        return np.asarray(np.interp(np.asarray(positions), self.positions, self.areas))

    def positions_at(self, areas: ArrayLike) -> NDArray[np.float64]:
        """Shares of the run at shares of the area: the inverse of `at`."""
        return np.asarray(np.interp(np.asarray(areas), self.areas, self.positions))


def batch_tokens_at(position: int) -> int:
    """Tokens of the optimizer step that starts at `position`: 1/1024 of the tokens seen, from 512 to 524,288.

    The critical batch size grows as the loss falls (McCandlish et al. 2018), and a rule in the position alone keeps
    the trunk independent of the largest budget.
    """
    return max(512, min(524_288, position // 1_024))

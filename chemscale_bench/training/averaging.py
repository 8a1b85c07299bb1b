"""A running average of the weights, which a short run does not keep near its random start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def running_average(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """The `multi_avg_fn` of torch's `AveragedModel`: an exponential average whose decay rises to `decay`.

    After n steps it is min(decay, (1 + n) / (10 + n)), as in TensorFlow's ExponentialMovingAverage.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], steps: Tensor | int) -> None:
        now = min(decay, (1 + float(steps)) / (10 + float(steps)))
        torch._foreach_lerp_(averages, weights, 1 - now)

    return update

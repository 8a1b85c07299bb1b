"""A running average of the weights, which a short run does not keep near its random start."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class RunningAverage(AveragedModel):
    """An exponential average of a model's weights, whose decay rises to `decay`.

    After n steps it is min(decay, (1 + n) / (10 + n)), as in TensorFlow's ExponentialMovingAverage.

    Args:
        model: to follow.
        decay: per step, in the end.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay = decay
        self.eval()  # what is measured has no dropout

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the weights of `model`; torch's own way would wait for a GPU at every step."""
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), self.count())

    def count(self) -> float:
        """Count a step; the share of its weights in the average."""
        steps = int(self.n_averaged)  # on the CPU
        self.n_averaged += 1
        return 1 - min(self.decay, (1 + steps) / (10 + steps)) if steps else 1.0

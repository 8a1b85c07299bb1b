"""SpookyNet's residual perceptrons, several of one shape side by side, and their twice differentiable activation.

Shapes: G groups (the perceptrons), N atoms, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _SiluGradient(torch.autograd.Function):
    """gradient * silu'(u)."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, u: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, u)
        product: Tensor = torch.ops.aten.silu_backward(gradient, u)
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor]:
        gradient, u = ctx.saved_tensors
        # silu'' = s (1 - s) (2 + u - 2 u s) with s = sigmoid(u)
        s = torch.sigmoid(u)
        curvature = torch.addcmul(u, u, s, value=-2).add_(2).mul_(s.addcmul_(s, s, value=-1))
        return torch.ops.aten.silu_backward(outer, u), curvature.mul_(gradient).mul_(outer)


class _Silu(torch.autograd.Function):
    """u * sigmoid(u) whose first and second derivative take a few kernels; torch's own takes 20 for the second."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return F.silu(u)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SiluGradient.apply(gradient, *ctx.saved_tensors)  # type: ignore[no-any-return, no-untyped-call]


def silu(u: Tensor) -> Tensor:
    """The activation u * sigmoid(u), twice differentiable."""
    return _Silu.apply(u)  # type: ignore[no-any-return, no-untyped-call]


class ResidualMLP(nn.Module):
    """G pre-activation residual blocks side by side, each followed by activation and linear map if `readout`.

    The activation is the paper's generalized SiLU, alpha x / (1 + exp(-beta x)), with alpha and beta learned for each
    feature. It equals (alpha / beta) silu(beta x), so that most of alpha and beta goes into the neighbouring weights.

    Args:
        groups: G.
        width: C.
        readout: whether activation and linear map follow.
        bias: whether linear maps have one.
        zero_readouts: the groups (counted from the end) whose readout starts at zero.
    """

    def __init__(self, groups: int, width: int, readout: bool, bias: bool = True, zero_readouts: int = 0) -> None:
        super().__init__()
        steps = 3 if readout else 2
        self.alpha = nn.Parameter(torch.ones(steps, groups, width))
        self.beta = nn.Parameter(torch.full((steps, groups, width), 1.702))  # silu is then close to GELU
        self.weight = nn.Parameter(torch.zeros(steps, groups, width, width))  # from, to
        self.bias = nn.Parameter(torch.zeros(steps, groups, width)) if bias else None
        for matrix in self.weight[0]:
            nn.init.orthogonal_(matrix)
        for matrix in self.weight[2:].flatten(0, 1)[: groups - zero_readouts]:
            nn.init.orthogonal_(matrix)

    def forward(self, x_GNC: Tensor) -> Tensor:
        """Features (G, N, C); an input of one group (1, N, C) goes to all."""
        beta = self.beta.unsqueeze(-2).unbind()
        weight = ((self.alpha / self.beta).unsqueeze(-1) * self.weight).unbind()
        bias = self.bias.unsqueeze(-2).unbind() if self.bias is not None else (None,) * len(weight)
        h_GNC = silu(beta[0] * x_GNC)
        h_GNC = silu(linear(h_GNC, weight[0] * beta[1], None if bias[0] is None else bias[0] * beta[1]))
        y_GNC = x_GNC + linear(h_GNC, weight[1], bias[1])
        return linear(silu(beta[2] * y_GNC), weight[2], bias[2]) if len(weight) == 3 else y_GNC


def linear(x_GNC: Tensor, weight_GCC: Tensor, bias_G1C: Tensor | None) -> Tensor:
    """G linear maps of G inputs."""
    return torch.bmm(x_GNC, weight_GCC) if bias_G1C is None else torch.baddbmm(bias_G1C, x_GNC, weight_GCC)

"""Muon: hidden matrices change by their momentum made orthogonal, all other weights by AdamW (Jordan et al. 2024).

With all singular values near 1, a step changes what a matrix does by as much in every direction, and at every width, so
that one learning rate serves all of them. `torch.optim.Muon` works in bf16, which is slow on a CPU without such
units (benchmarks/speed/test_muon.py), and takes queries, keys and values that lie in one matrix for one; a test
compares both.

Legend: M tensors, each of P matrices in its rows, of R rows and C columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chemscale_bench.errors import UserError
from chemscale_bench.models.parametrization import Optimizer

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Newton and Schulz' iteration as Jordan has them: small singular values grow fast, most end between .7 and 1.2."""
ITERATIONS = 5


def optimizer_of(name: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """The optimizer of a name, with the constants that all language models share.

    Raises:
        UserError: for Muon, if no group has matrices for it.
    """
    if name == "muon" and not any("parts" in group for group in groups):
        raise UserError("optimizer must be adamw for a model that names no matrices for muon; leave it out")
    return {"adamw": torch.optim.AdamW, "muon": Muon}[name](groups, betas=(0.9, 0.95), fused=True)


class Muon(torch.optim.AdamW):
    """AdamW, but for the matrices of groups that say of how many `parts` each is: these are changed by `change`."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the weights by one step, after `closure`, which may compute the gradients and gives the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if "parts" in group:
                learning = [parameter for parameter in group["params"] if parameter.grad is not None]
                for parameter in learning:
                    state = self.state[parameter]  # of the form that AdamW's has, which loads it
                    if not state:
                        state |= {
                            "step": torch.zeros((), device=parameter.device),
                            "exp_avg": torch.zeros_like(parameter),
                        }
                    state["step"] += 1
                means = [self.state[parameter]["exp_avg"] for parameter in learning]
                gradients: list[Any] = [parameter.grad for parameter in learning]
                change(learning, gradients, means, group["parts"], group["lr"], group["weight_decay"])
        self.param_groups = [group for group in groups if "parts" not in group]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss


def change(
    weights: list[Tensor], gradients: list[Tensor], means: list[Tensor], parts: int, rate: float | Tensor,
    decay: float | Tensor,
) -> None:  # fmt: skip
    """One step of Muon with Nesterov's momentum and decoupled decay, in place, of M tensors (..., P R, C).

    A step is `rate` max(1, R/C)^1/2 times an orthogonal matrix, by itself for each of the P.
    """
    alike: dict[torch.Size, list[int]] = defaultdict(list)
    for index, (weight, gradient, mean) in enumerate(zip(weights, gradients, means, strict=True)):
        mean.lerp_(gradient, 1 - MOMENTUM)
        weight.mul_(1 - rate * decay)
        alike[weight.shape].append(index)
    for shape, members in alike.items():
        wanted = torch.stack([gradients[index].lerp(means[index], MOMENTUM) for index in members])
        matrices = wanted.unflatten(-2, (parts, -1))
        steps = orthogonal(matrices.flatten(0, -3)).view(wanted.shape)
        scale = rate * max(1.0, shape[-2] / parts / shape[-1]) ** 0.5
        for index, step in zip(members, steps, strict=True):
            weights[index].sub_(scale * step)


class Columns(NamedTuple):
    """Where the parameters of one group lie in a row of a stack (training/stacked.py)."""

    all: slice
    own: list[tuple[slice, torch.Size]]
    """Of each, and its shape."""
    parts: int
    """How many matrices each is, or 0: AdamW changes them."""


def change_rows(
    tables: Sequence[Tensor], rows: int | slice, columns: Columns, rate: float | Tensor, decay: float | Tensor
) -> None:
    """`change` for one member of a stack or several, whose rates are (K, 1, 1).

    Args:
        tables: weights, gradients and means of all members, (members, parameters) each.
        rows: of the members.
        columns: of a group that Muon changes.
        rate: learning rate.
        decay: weight decay.
    """
    weights, gradients, means = (
        [table[rows, place].unflatten(-1, shape) for place, shape in columns.own] for table in tables[:3]
    )
    change(weights, gradients, means, columns.parts, rate, decay)


def orthogonal(matrices: Tensor) -> Tensor:
    """About the orthogonal matrices next to `matrices` (M, R, C): most singular values come between .7 and 1.2."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if x.is_cuda else x
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).contiguous()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype).contiguous()

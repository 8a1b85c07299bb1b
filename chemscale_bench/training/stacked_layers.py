"""Layers that compute the same layer of K models at once, each with its own weights.

Legend: K members, N rows of each, C channels; A atoms and S structures of each.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from chemscale_bench.models.potential import Graph, Potential


class StackedLinear(nn.Module):
    """`nn.Linear` of each member: (K, N, in) to (K, N, out)."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Every member's own product."""
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class StackedLayerNorm(nn.Module):
    """`nn.LayerNorm` over the channels of each member."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = weight, bias, eps

    def forward(self, x: Tensor) -> Tensor:
        """(K, N, C) to (K, N, C)."""
        normal = functional.layer_norm(x, x.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias[:, None], normal, self.weight[:, None])


class StackedRMSNorm(nn.Module):
    """`nn.RMSNorm` over the last axis of each member, which may have heads in front of it."""

    def __init__(self, weight: nn.Parameter, eps: float | None) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        """(K, N, C) to (K, N, C), or (K, N, H, D) to (K, N, H, D)."""
        normal = functional.rms_norm(x, x.shape[-1:], eps=self.eps)
        return normal * self.weight.view(len(self.weight), *[1] * (x.ndim - 2), -1)


class StackedEmbedding(nn.Module):
    """`nn.Embedding` of each member: (K, N) to (K, N, C)."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, index: Tensor) -> Tensor:
        """Rows of every member's own table."""
        members, rows, channels = self.weight.shape
        first_row = rows * torch.arange(members, device=index.device)[:, None]
        return functional.embedding(index + first_row, self.weight.reshape(members * rows, channels))


class StackedPotential(nn.Module):
    """A `Potential` of each member: positions (K, A, 3) to energies (K, S); all else of the graph is common to all.

    Args:
        potential: of any of them.
        parameters: (K, ...) by name.
        scale: of each (K,), which follows from its training frames.
    """

    def __init__(self, potential: Potential, parameters: dict[str, nn.Parameter], scale: Tensor) -> None:
        super().__init__()
        # A call puts the weights into it for a while, hence a copy; its own are left out, they lie in a common array.
        own: dict[int, Any] = {id(parameter): parameter for parameter in potential.parameters()}
        self.network = (copy.deepcopy(potential, own),)  # hidden, because its layers are not those of the stack
        self.weights, self.scale = parameters, scale

    def forward(self, graph: Graph) -> Tensor:
        """Every member's own energies."""

        def energy(weights: dict[str, Any], positions_A3: Tensor) -> Tensor:
            out: Tensor = functional_call(self.network[0], weights, (graph._replace(positions_A3=positions_A3),))
            return out

        energies_KS: Tensor = vmap(energy)(self.weights | {"scale": self.scale}, graph.positions_A3)
        return energies_KS


def stacked_module(
    module: nn.Module, parameters: dict[str, nn.Parameter], scale: Tensor | None = None, prefix: str = ""
) -> nn.Module:
    """A copy of `module` that computes all members at once.

    Args:
        module: of linear layers, norms, embeddings and force fields.
        parameters: (K, ...) by the name that they have in `module`.
        scale: of force fields (K,).
        prefix: of the names.

    Raises:
        TypeError: if the module has parameters in a layer of another kind.
    """
    if isinstance(module, Potential):
        own_parameters = {name: parameters[f"{prefix}{name}"] for name, _ in module.named_parameters()}
        assert scale is not None
        return StackedPotential(module, own_parameters, scale)
    own = {name: parameters.get(f"{prefix}{name}") for name, _ in module.named_parameters(recurse=False)}
    if isinstance(module, nn.Linear):
        return StackedLinear(parameters[f"{prefix}weight"], own.get("bias"))
    if isinstance(module, nn.LayerNorm):
        return StackedLayerNorm(parameters[f"{prefix}weight"], parameters[f"{prefix}bias"], module.eps)
    if isinstance(module, nn.RMSNorm):
        return StackedRMSNorm(parameters[f"{prefix}weight"], module.eps)
    if isinstance(module, nn.Embedding):
        return StackedEmbedding(parameters[f"{prefix}weight"])
    if own:
        raise TypeError(f"{type(module).__name__} cannot be stacked")
    out = copy.copy(module)
    out._modules = {
        name: child and stacked_module(child, parameters, scale, f"{prefix}{name}.")
        for name, child in module._modules.items()
    }
    out._compiled_call_impl = None  # that of `module`
    return out

"""A model that is too large for one device, spread over the processes of its training (FSDP2, `fully_shard`).

Each process holds a part of every weight with its gradient and optimizer state, and gathers a layer's weights while it
computes. States are kept whole, as if nothing had been spread: a run goes on with any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import psutil
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from chemscale_bench.training.fabric import Fabric

BYTES_PER_PARAM = 16  # weight, gradient and the two moments of AdamW in fp32
SHARE = 0.7  # of a device's memory that these may take; activations need the rest

M = TypeVar("M", bound=nn.Module)
Sharding = Literal["auto", "none", "full"]
Part = Callable[[Tensor, DTensor], Tensor]


def is_spread(model: nn.Module) -> bool:
    """Whether a model is spread over processes."""
    return isinstance(model, FSDPModule)


def is_needed(chosen: Sharding, model: nn.Module, fabric: Fabric) -> bool:
    """Whether to spread a model: `auto` does if it would not fit into the device of one process."""
    if fabric.world_size == 1 or chosen == "none":
        return False
    return chosen == "full" or not fits(sum(weight.numel() for weight in model.parameters()), fabric)


def fits(params: int, fabric: Fabric) -> bool:
    """Whether weights, gradients and moments leave room for activations in the memory of one process."""
    if fabric.device.type == "cuda":
        memory = float(torch.cuda.get_device_properties(fabric.device).total_memory)
    else:
        memory = psutil.virtual_memory().total / fabric.world_size
    return params * BYTES_PER_PARAM <= SHARE * memory


def spread(model: nn.Module, layers: Sequence[nn.Module], fabric: Fabric) -> None:
    """Spread a model over all processes, in place and before its optimizer is made.

    Args:
        model: whole, and the same in every process.
        layers: of it, which are gathered one at a time; the rest is gathered together.
        fabric: that has started the processes.
    """
    fabric._precision.convert_module(model)
    model.to(fabric.device)
    mesh = init_device_mesh(fabric.device.type, (fabric.world_size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(model: nn.Module, empty: M, fabric: Fabric) -> M | None:
    """A model that is not spread, with the weights of one that is; all processes have to call it.

    Args:
        model: spread.
        empty: of the same shape, takes the weights.
        fabric: of both.

    Returns:
        `empty` in the first process, on its device; None in the others.
    """
    state = {}
    for name, weight in model.state_dict().items():
        full = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if fabric.is_global_zero:
            state[name] = full.cpu()
    if not fabric.is_global_zero:
        return None
    fabric._precision.convert_module(empty)
    empty.load_state_dict(state)
    return empty.to(fabric.device)


def own_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds; all of one that is not spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def as_spread(part: Tensor, like: DTensor) -> DTensor:
    """The tensor of which this process holds `part`, spread as `like` is."""
    return DTensor.from_local(
        part.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )


def to_whole(
    weights: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, keeps: bool
) -> dict[str, Any]:
    """`Trainer.weights` with whole tensors in place of parts; all processes have to call it, and one `keeps` them."""

    def gather(part: Tensor, like: DTensor) -> Tensor:
        full = as_spread(part, like).full_tensor()
        return full.cpu() if keeps else full.new_empty(0)

    return _converted(weights, model, optimizer, gather)


def to_parts(weights: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The inverse of `to_whole`, where every process has the whole tensors."""

    def cut(full: Tensor, like: DTensor) -> Tensor:
        return distribute_tensor(full.to(like.device), like.device_mesh, like.placements).to_local().cpu()

    return _converted(weights, model, optimizer, cut)


def load(weights: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put parts back into a model that is spread and its optimizer."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            own_part(tensor).copy_(weights["model"][name])

    optimizer.load_state_dict(_converted(weights, model, optimizer, as_spread)["optimizer"])


def _converted(
    weights: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, change: Part
) -> dict[str, Any]:
    """Weights with every tensor changed that belongs to a spread parameter."""
    spread_out = {name: weight for name, weight in model.state_dict().items() if isinstance(weight, DTensor)}
    changed = {
        name: change(tensor, spread_out[name]) if name in spread_out else tensor
        for name, tensor in weights["model"].items()
    }
    params = [param for group in optimizer.param_groups for param in group["params"]]
    state = {
        index: {
            # Counts of steps are numbers, moments have the parameter's shape.
            name: change(value, param) if isinstance(param, DTensor) and value.ndim else value
            for name, value in weights["optimizer"]["state"][index].items()
        }
        for index, param in enumerate(params)
        if index in weights["optimizer"]["state"]
    }
    return weights | {"model": changed, "optimizer": weights["optimizer"] | {"state": state}}

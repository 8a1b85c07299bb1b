"""How initial weights, learning rates and multipliers follow the shape, so that one learning rate serves every size.

`mutransfer`, the default, follows Yang et al. (2022, arXiv 2203.03466, Table 8, for Adam) in the width and Bordelon et
al. (2023, arXiv 2309.16620) and Dey et al. (2025, arXiv 2505.01618) in the depth. With s = 128 / width, d = min(1, 5 /
layers) and head size D:

| part | initial std | learning rate |
|---|---|---|
| hidden matrices that read the residual stream | 0.05 sqrt(s) | s sqrt(d) |
| hidden matrices that write to it | 0.05 sqrt(s d) | s d |
| their biases | 0 | d |
| norms and biases of the others in a layer | 1, 0 | sqrt(d) |
| embeddings | 0.03 | max(1, s) |
| last norm | 1, 0 | 1 |

Attention logits are multiplied by 2 / sqrt(D), output logits by 4 min(1, s): times the width and the embeddings' rate
that is the same at every width, so that a step moves the logits equally. GPT-Neo has neither factor; both are folded
into its weights on export. `standard` is GPT-Neo as it is usually trained: std 0.02, one learning rate, no factor.

Under Muon (training/muon.py) a step of hidden matrices is as large as it may be at every width, so that s leaves their
learning rate; all else stays.

The constants were tuned at small sizes; benchmarks/shapes.md has the measurements and the coordinate check
(evaluation/coordinates.py), which is a test: what stays equal, and what does not in `standard`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from chemscale_bench.models.sizes import Shape

Parametrization = Literal["mutransfer", "standard"]
Optimizer = Literal["adamw", "muon"]

BASE_WIDTH, BASE_LAYERS = 128, 5
HIDDEN_STD, EMBEDDING_STD = 0.05, 0.03  # at the base
ATTENTION_FACTOR = 2.0  # times D^-1/2
OUTPUT_FACTOR = 4.0
STANDARD_STD = 0.02
LEARNING_RATE = {"mutransfer": 2.0**-10, "standard": 2.0**-10}
MUON_RATE = 0.01
"""Of hidden matrices under Muon, where a width needs no factor; the other weights keep AdamW's rate beside it."""
WRITERS = ("attention_out", "mlp_out")  # layers whose output is added to the residual stream


def multipliers(shape: Shape, parametrization: Parametrization) -> tuple[float, float]:
    """Factors on attention logits and on output logits."""
    if parametrization == "standard":
        return 1.0, 1.0
    return ATTENTION_FACTOR * (shape.width / shape.heads) ** -0.5, OUTPUT_FACTOR * min(1.0, BASE_WIDTH / shape.width)


def initialize(model: nn.Module, shape: Shape, parametrization: Parametrization, seed: int) -> None:
    """Draw initial weights from `seed`, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                std = initial_std(name, shape) if parametrization == "mutransfer" else STANDARD_STD
                parameter.normal_(std=std, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()


def initial_std(name: str, shape: Shape) -> float:
    """Standard deviation of a matrix's initial weights under `mutransfer`."""
    if not is_hidden(name):
        return EMBEDDING_STD
    return HIDDEN_STD * math.sqrt(BASE_WIDTH / shape.width * (depth_factor(shape) if is_writer(name) else 1.0))


def rate_factor(name: str, parameter: nn.Parameter, shape: Shape) -> float:
    """A parameter's learning rate over that of the base, under `mutransfer`."""
    width, depth = BASE_WIDTH / shape.width, depth_factor(shape)
    if not is_hidden(name):
        return max(1.0, width) if parameter.ndim == 2 else 1.0
    return (width if parameter.ndim == 2 else 1.0) * (depth if is_writer(name) else math.sqrt(depth))


def depth_factor(shape: Shape) -> float:
    """How much less each layer adds to the residual stream than in the base; in shallower models it adds as much."""
    return min(1.0, BASE_LAYERS / shape.layers)


def is_hidden(name: str) -> bool:
    """Whether a parameter belongs to a layer: its matrices map channels to channels, both of which grow."""
    return name.startswith("blocks.")


def is_writer(name: str) -> bool:
    """Whether a parameter belongs to a part that writes to the residual stream."""
    return any(part in name for part in WRITERS)


def parameter_groups(
    model: nn.Module, shape: Shape, parametrization: Parametrization, learning_rate: float | Literal["auto"],
    weight_decay: float, *, optimizer: Optimizer, auto: float, fused: Mapping[str, int],
) -> list[dict[str, Any]]:  # fmt: skip
    """The parameter groups of AdamW, or of Muon.

    Weight decay acts on hidden matrices only; it grows as their learning rate shrinks, so that the product, which is
    what both apply, stays.

    Args:
        model: a transformer whose layers are its `blocks`.
        shape: of it.
        parametrization: how rates follow the shape.
        learning_rate: of the base shape; under Muon that of hidden matrices.
        weight_decay: at the base shape.
        optimizer: of hidden matrices.
        auto: AdamW's learning rate that was found by measurement.
        fused: how many matrices lie in the rows of one, by the name of the layer.
    """
    found = {"adamw": auto, "muon": MUON_RATE}[optimizer]
    rate = found if learning_rate == "auto" else learning_rate
    members: dict[tuple[float, bool, int], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        matrix, parts = is_hidden(name) and parameter.ndim == 2, 0
        factor = rate_factor(name, parameter, shape) if parametrization == "mutransfer" else 1.0
        if optimizer == "muon" and matrix:
            parts = fused.get(name.split(".")[-2], 1)
            factor *= shape.width / BASE_WIDTH if parametrization == "mutransfer" else 1.0
        elif optimizer == "muon":
            factor *= auto / MUON_RATE
        members[factor, matrix, parts].append(parameter)
    return [
        {"params": params, "lr": rate * factor, "weight_decay": weight_decay / factor if matrix else 0.0}
        | ({"parts": parts} if parts else {})
        for (factor, matrix, parts), params in members.items()
    ]

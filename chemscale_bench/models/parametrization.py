"""How initial weights and learning rates follow the width, so that one learning rate serves every size.

In both, hidden matrices start with std 0.05 sqrt(base / width), which is GPT-Neo's 0.02 at width 800, and learn at
base / width times the rate of the base width. `standard` scales every other learning rate likewise and multiplies
logits by 8, above the base width by 8 sqrt(base / width). `mutransfer` (Yang et al. 2022, Adam, Table 8) keeps the
rates of embeddings, norms and biases; scales the tied head by base / width and attention logits by the head size of the
base over the head size; and starts query weights at zero. The constants were tuned at small sizes, see
benchmarks/shapes.md.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from chemscale_bench.models.chemgpt import ChemGPT, ChemGPTConfig
from chemscale_bench.models.sizes import Shape, heads_for

Parametrization = Literal["standard", "mutransfer"]

BASE_WIDTH = 128
INIT_STD = 0.05  # of hidden matrices at the base width
OUTPUT_MULTIPLIER = {"standard": 8.0, "mutransfer": 4.0}
LEARNING_RATE = {"standard": 2.0**-10, "mutransfer": 2.0**-10}
EMBEDDING_STD = {"standard": 0.02, "mutransfer": 0.1}


def build(shape: Shape, vocabulary_size: int, parametrization: Parametrization, seed: int) -> ChemGPT:
    """A fresh ChemGPT with initial weights drawn from `seed`, the same on every device."""
    transfer = parametrization == "mutransfer"
    shrink = BASE_WIDTH / shape.width
    base_head_size = BASE_WIDTH // heads_for(BASE_WIDTH)
    config = ChemGPTConfig(
        shape,
        vocabulary_size,
        attention_scale=base_head_size / (shape.width // shape.heads) if transfer else 1.0,
        # Logits are sums over the width: without the root, those of a wide model would start with a large spread.
        output_scale=OUTPUT_MULTIPLIER[parametrization] * (shrink if transfer else min(1.0, shrink**0.5)),
    )
    model = ChemGPT(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_hidden_matrix(name, parameter):
                parameter.normal_(std=INIT_STD * shrink**0.5, generator=generator)
                if transfer and "query_key_value" in name:
                    parameter[: shape.width].zero_()
            elif parameter.ndim == 2:
                parameter.normal_(std=EMBEDDING_STD[parametrization], generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
    return model


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a weight maps channels to channels, so that both its sides grow with the width."""
    return parameter.ndim == 2 and name.startswith("blocks.")


def parameter_groups(
    model: ChemGPT, parametrization: Parametrization, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW's parameter groups: `learning_rate` is that of the base width.

    Weight decay acts on hidden matrices only; it grows as their learning rate shrinks, so that the product, which is
    what AdamW applies, stays.
    """
    shrink = BASE_WIDTH / model.config.shape.width
    hidden = [p for name, p in model.named_parameters() if is_hidden_matrix(name, p)]
    others = [p for name, p in model.named_parameters() if not is_hidden_matrix(name, p)]
    rate_of_others = learning_rate * (1.0 if parametrization == "mutransfer" else shrink)
    return [
        {"params": hidden, "lr": learning_rate * shrink, "weight_decay": weight_decay / shrink},
        {"params": others, "lr": rate_of_others, "weight_decay": 0.0},
    ]

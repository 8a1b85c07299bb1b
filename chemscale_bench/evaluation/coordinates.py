"""The coordinate check: do a model's activations, and what training changes in them, keep their size as it grows?

If they do, a learning rate that was found on a small model serves a large one (Yang et al. 2022, arXiv 2203.03466,
appendix D.1; for the depth Dey et al. 2025, arXiv 2505.01618, section 4).

Legend: N tokens of all molecules of a batch, one after another; H heads; D channels per head; C = H D; V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from chemscale_bench.models.packed import Batch, LanguageModel


class Coordinates(NamedTuple):
    """Root mean squares over a batch, at the start and of the change after some optimizer steps."""

    residual: float
    """Of the residual stream behind the last layer (N, C)."""
    attention: float
    """Of the logits of a token's attention to the token before it, all layers and heads."""
    logits: float
    """Of the logits (N, V) of the next token, around their mean."""
    residual_change: float
    attention_change: float
    logits_change: float


def coordinates(
    model: LanguageModel, optimizer: torch.optim.Optimizer, batches: Iterable[Batch], probe: Batch
) -> Coordinates:
    """Train `model` on some batches, without a warm-up, and compare its activations on another one.

    Args:
        model: a fresh transformer (gpt_neo.py, llama.py); it is trained.
        optimizer: of it, at the peak learning rates.
        batches: one optimizer step each.
        probe: what the activations are read on.
    """
    before = activations(model, probe)
    for batch in batches:
        optimizer.zero_grad()
        (model(batch) / len(batch.targets)).backward()
        optimizer.step()
    after = activations(model, probe)
    changes = (b - a for a, b in zip(before, after, strict=True))
    return Coordinates(*(float(value.square().mean().sqrt()) for value in (*before, *changes)))


@torch.no_grad()
def activations(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Residual stream, attention logits and centred output logits on a batch."""
    outputs: dict[nn.Module, Tensor] = {}

    def keep(part: nn.Module, _: Any, output: Tensor) -> None:
        outputs[part] = output

    blocks: Any = model.blocks
    parts = [*(block.attention_input for block in blocks), blocks[-1]]
    hooks = [part.register_forward_hook(keep) for part in parts]
    try:
        logits = model.logits(batch)
    finally:
        for hook in hooks:
            hook.remove()
    attention = [neighbour_attention(outputs[block.attention_input], batch, block) for block in blocks]
    return outputs[blocks[-1]], torch.stack(attention), logits - logits.mean(-1, keepdim=True)


def neighbour_attention(qkv: Tensor, batch: Batch, block: Any) -> Tensor:
    """Attention logits (n, H) of every token but a molecule's first to the token before it."""
    query, key, _ = qkv.unflatten(-1, (3, block.heads, -1)).unbind(-3)
    logits: Tensor = block.attention_scale * (query[1:] * key[:-1]).sum(-1)
    return logits[batch.positions[1:] > 0]

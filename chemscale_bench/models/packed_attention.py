"""Causal attention inside each of the packed molecules: on a GPU in one kernel, on a CPU by padding groups of them.

Legend: N tokens of all molecules of a batch, one after another; B molecules of a group; T tokens of its longest one;
H heads; D channels per head; C = H D.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from chemscale_bench.models.attention import molecule_attention
from chemscale_bench.models.packed import Batch, Growing

SHORT = 128  # tokens of a molecule up to which, on a CPU, two batched products take less time than torch's attention


def attend(qkv: Tensor, batch: Batch | Growing, heads: int, scale: float, window: int | None = None) -> Tensor:
    """Causal attention that keeps every molecule by itself.

    Args:
        qkv: queries, keys and values (N, 3 C), laid out as (N, 3, H, D).
        batch: where the molecules lie; or those that grow, whose memory has the keys and values before.
        heads: H.
        scale: factor on the logits q.k.
        window: how many tokens a token sees, itself included, `SHORT` at least; None for all before it.

    Returns:
        The output (N, C).
    """
    if isinstance(batch, Growing):
        return batch.memory.attend(qkv, batch.positions, heads, scale, window)  # type: ignore[no-any-return]
    if qkv.is_cuda:
        return molecule_attention(qkv, batch.offsets, heads, scale, window)
    sizes = [group.molecules * group.longest for group in batch.groups]
    padded = qkv.new_zeros(sum(sizes), qkv.shape[1]).index_copy(0, batch.places, qkv)
    parts = zip(padded.split(sizes), batch.groups, strict=True)
    attended = [attend_group(part, *group, heads, scale, window) for part, group in parts]
    return torch.cat(attended).index_select(0, batch.places)


def attend_group(
    padded: Tensor, molecules: int, longest: int, heads: int, scale: float, window: int | None
) -> Tensor:  # fmt: skip
    """Attention of a group's padded rows (B T, 3 C): (B T, C)."""
    q, k, v = padded.view(molecules, longest, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
    if longest <= SHORT:
        q, k, v = (part.flatten(0, 1) for part in (q, k, v))
        future = q.new_full((longest, longest), -math.inf).triu(1)
        shares = torch.baddbmm(future, q, k.mT, alpha=scale).softmax(-1)
        y = torch.bmm(shares, v).view(molecules, heads, longest, -1)
    else:
        mask = torch.ones(longest, longest, dtype=torch.bool).tril().triu(1 - window) if window else None
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale)
    return y.transpose(1, 2).reshape(len(padded), -1)

"""What attention remembers of molecules that are written token by token.

Legend: B molecules; T tokens that there is room for; H heads; D channels per head; C = H D.

On a CPU every molecule costs its own length: a compiled kernel reads its keys and values once, in the order in which
they lie. What molecules share a step need not be equally long, so that one that has ended makes room for the next.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from chemscale_bench.data.kernel.compiling import compiled

ROOM = 64  # tokens of a molecule at first; doubled whenever one is longer


class KeyValues:
    """Keys and values of the tokens so far, of all layers of a network; each calls `attend` once a step, in order.

    Args:
        layers: of the network.
        rows: B.
    """

    def __init__(self, layers: int, rows: int) -> None:
        self.rows = rows
        self.kept: list[tuple[Tensor, Tensor] | None] = [None] * layers  # (B, T, C) each
        self.layer = 0
        self.room = ROOM  # T

    def attend(self, qkv: Tensor, positions: Tensor, heads: int, scale: float, window: int | None) -> Tensor:
        """Attention of the last token of every molecule to itself and those before it.

        Args:
            qkv: its query, key and value (B, 3 C), laid out as (B, 3, H, D).
            positions: its place (B,) in its molecule.
            heads: H.
            scale: factor on the logits q.k.
            window: how many tokens it sees, itself included; None for all.

        Returns:
            The output (B, C).
        """
        if not self.layer:
            longest = int(positions.max()) + 1
            self.room = max(self.room, ROOM * 2 ** math.ceil(math.log2(longest / ROOM)))
        keys, values = self.with_room(qkv)
        self.layer = (self.layer + 1) % len(self.kept)
        if qkv.device.type == "cpu" and qkv.dtype in (torch.float32, torch.float64):
            out = torch.empty_like(keys[:, 0])
            factor: np.floating = keys.numpy().dtype.type(scale)
            last, places = qkv.contiguous().numpy(), positions.numpy()
            kept = keys.numpy(), values.numpy(), out.numpy()
            attend_rows(last, places, *kept, heads, factor, window or keys.shape[1])
            return out
        query, key, value = qkv.chunk(3, 1)
        every = torch.arange(self.rows, device=qkv.device)
        keys[every, positions], values[every, positions] = key, value
        ago = positions[:, None] - torch.arange(keys.shape[1], device=qkv.device)
        seen = (ago >= 0) & (ago < (window or keys.shape[1]))
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query[:, None], keys, values))
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None], scale=scale)
        return y.flatten(1)

    def with_room(self, qkv: Tensor) -> tuple[Tensor, Tensor]:
        """This layer's keys and values (B, T, C)."""
        kept = self.kept[self.layer]
        if kept is None or kept[0].shape[1] < self.room:
            # Zeros: what is masked is multiplied by zero, which only numbers survive.
            larger = qkv.new_zeros(2, self.rows, self.room, qkv.shape[1] // 3)
            if kept is not None:
                larger[:, :, : kept[0].shape[1]] = torch.stack(kept)
            kept = self.kept[self.layer] = larger[0], larger[1]
        return kept


def _attend_rows(
    qkv: np.ndarray, positions: np.ndarray, keys: np.ndarray, values: np.ndarray, out: np.ndarray, heads: int,
    scale: np.floating, window: int,
) -> None:  # fmt: skip
    """Keep keys and values of the last tokens (B, 3 C), and write what these attend to (B, C)."""
    rows, room, channels = keys.shape
    size, zero = channels // heads, scale - scale
    shares = np.empty(room, keys.dtype)
    for row in range(rows):
        last = positions[row]
        first = max(0, last + 1 - window)
        for channel in range(channels):
            keys[row, last, channel] = qkv[row, channels + channel]
            values[row, last, channel] = qkv[row, 2 * channels + channel]
        for begin in range(0, channels, size):
            query = qkv[row, begin : begin + size]
            for place in range(first, last + 1):
                key = keys[row, place, begin : begin + size]
                product = zero
                for channel in range(size):
                    product += query[channel] * key[channel]
                shares[place] = scale * product
            highest, total = shares[first : last + 1].max(), zero
            for place in range(first, last + 1):
                shares[place] = math.exp(shares[place] - highest)
                total += shares[place]
            attended = out[row, begin : begin + size]
            attended[:] = zero
            for place in range(first, last + 1):
                share = shares[place] / total
                value = values[row, place, begin : begin + size]
                for channel in range(size):
                    attended[channel] += share * value[channel]


attend_rows = compiled(_attend_rows, nogil=True, fastmath=True)

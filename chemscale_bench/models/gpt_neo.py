"""GPT-Neo, the network of ChemGPT, computed without any work on padding.

Legend: N tokens of all molecules of a batch, one after another; B molecules; T tokens of the longest molecule;
H heads; D channels per head; C = H D width; V vocabulary. Models that are trained as a stack (training/stacked.py) have
their members in front: (K, N, C), with the B molecules of all of them.

Everything but attention runs on the packed tokens (N, C). Attention keeps every molecule by itself: on a GPU in one
kernel (models/attention.py), on a CPU by gathering into (B, H, T, D) and back. The maths is that of
`GPTNeoForCausalLM`: learned positions, attention logits that are not divided by sqrt(D), every second layer local with
a window of 256, tanh GELU, tied head.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from chemscale_bench.models.attention import molecule_attention
from chemscale_bench.models.packed import Batch, LanguageModel
from chemscale_bench.models.sizes import Shape

POSITIONS = 2048
WINDOW = 256
SHORT = 128  # tokens of a molecule up to which, on a CPU, two batched products take less time than torch's attention


@dataclass(frozen=True)
class GPTNeoConfig:
    """What fixes the network."""

    shape: Shape
    """Layers, width and heads."""
    vocabulary_size: int
    """Rows of the embedding V."""
    attention_scale: float = 1.0
    """Factor on attention logits; 1 is GPT-Neo (folded into the query weights on export)."""
    output_scale: float = 1.0
    """Factor on the logits; 1 is GPT-Neo (folded into the last layer norm on export)."""

    def flops_per_token(self, context: float) -> float:
        """Training FLOPs per token, forward and backward: 6 per weight in a matrix product, and attention.

        Args:
            context: mean number of tokens that a token attends to, itself included.
        """
        layers, width, _ = self.shape
        return 6 * (12 * layers * width**2 + self.vocabulary_size * width) + 12 * layers * width * context

    @property
    def non_embedding_params(self) -> int:
        """Parameters outside the token and position embeddings."""
        return self.shape.non_embedding_params

    @property
    def sizes(self) -> dict[str, int]:
        """What a run logs of the network, and an entry states."""
        return self.shape._asdict() | {"vocabulary_size": self.vocabulary_size}

    def plain(self) -> list[Any]:
        """As plain values, for a resume state."""
        return [list(self.shape), *astuple(self)[1:]]

    @classmethod
    def from_plain(cls, values: list[Any]) -> Self:
        """From what `plain` gave."""
        return cls(Shape(*values[0]), *values[1:])


class Block(nn.Module):
    """One pre-norm transformer layer of GPT-Neo."""

    def __init__(self, shape: Shape, local: bool, attention_scale: float) -> None:
        super().__init__()
        width = shape.width
        self.heads, self.local, self.attention_scale = shape.heads, local, attention_scale
        self.norm_attention = nn.LayerNorm(width, eps=1e-5)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-5)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x_NC: Tensor, batch: Batch) -> Tensor:
        """Attention and MLP, each added to the residual stream (N, C)."""
        qkv = self.query_key_value(self.norm_attention(x_NC))
        x_NC = x_NC + self.attention_out(self.attend(qkv.reshape(-1, qkv.shape[-1]), batch).view(x_NC.shape))
        hidden = functional.gelu(self.mlp_in(self.norm_mlp(x_NC)), approximate="tanh")
        x_NC = x_NC + self.mlp_out(hidden)
        return x_NC

    def attend(self, qkv: Tensor, batch: Batch) -> Tensor:
        """Causal attention inside each molecule: (N, 3 C) to (N, C)."""
        if qkv.is_cuda:
            window = WINDOW if self.local else None
            return molecule_attention(qkv, batch.offsets, self.heads, self.attention_scale, window)
        sizes = [group.molecules * group.longest for group in batch.groups]
        padded = qkv.new_zeros(sum(sizes), qkv.shape[1]).index_copy(0, batch.places, qkv)
        parts = zip(padded.split(sizes), batch.groups, strict=True)
        return torch.cat([self.attend_group(part, *group) for part, group in parts]).index_select(0, batch.places)

    def attend_group(self, padded: Tensor, molecules: int, longest: int) -> Tensor:
        """Attention of a group's padded rows (B T, 3 C): (B T, C)."""
        q, k, v = padded.view(molecules, longest, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if longest <= SHORT:
            q, k, v = (part.flatten(0, 1) for part in (q, k, v))
            future = q.new_full((longest, longest), -math.inf).triu(1)
            shares = torch.baddbmm(future, q, k.mT, alpha=self.attention_scale).softmax(-1)
            y = torch.bmm(shares, v).view(molecules, self.heads, longest, -1)
        else:
            mask = torch.ones(longest, longest, dtype=torch.bool).tril().triu(1 - WINDOW) if self.local else None
            y = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.attention_scale
            )
        return y.transpose(1, 2).reshape(len(padded), -1)


class GPTNeo(LanguageModel):
    """The language model."""

    config: GPTNeoConfig

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__()
        self.config = config
        width = config.shape.width
        self.token_embedding = nn.Embedding(config.vocabulary_size, width)
        self.position_embedding = nn.Embedding(POSITIONS, width)
        self.blocks = nn.ModuleList(
            Block(config.shape, local=layer % 2 == 1, attention_scale=config.attention_scale)
            for layer in range(config.shape.layers)
        )
        self.norm_out = nn.LayerNorm(width, eps=1e-5)

    def logits(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the next token at every packed position."""
        x_NC = self.token_embedding(batch.inputs) + self.position_embedding(batch.positions)
        for block in self.blocks:
            x_NC = block(x_NC, batch)
        logits: Tensor = self.norm_out(x_NC) @ self.token_embedding.weight.mT
        return self.config.output_scale * logits

    def layers_to_compile(self) -> list[nn.Module]:
        """All layers: they are alike."""
        return list(self.blocks)

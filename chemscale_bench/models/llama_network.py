"""The network of today's language models, as Llama and Qwen3 have it, computed without any work on padding.

Legend: N tokens of all molecules of a batch, one after another; H heads; D channels per head; C = H D width; F hidden
channels of the MLP; V vocabulary. Models that are trained as a stack (training/stacked.py) have their members in front.

RMSNorm before each part (Zhang and Sennrich 2019, arXiv 1910.07467), rotary positions that restart at each molecule (Su
et al. 2021, arXiv 2104.09864), SwiGLU (Shazeer 2020, arXiv 2002.05202), RMSNorm of every head's queries and keys
(Dehghani et al. 2023, arXiv 2302.05442), no biases, tied head. The maths is that of `Qwen3ForCausalLM` with as many
heads of keys as of queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from chemscale_bench.models.key_values import KeyValues
from chemscale_bench.models.packed import Batch, Growing, LanguageModel
from chemscale_bench.models.packed_attention import attend
from chemscale_bench.models.sizes import Shape

ROTARY_BASE = 100.0  # the slowest pair of channels turns by about 1 / ROTARY_BASE a token: molecules are short
EPS = 1e-6


@dataclass(frozen=True)
class LlamaConfig:
    """What fixes the network."""

    shape: Shape
    """Layers, width and heads."""
    vocabulary_size: int
    """Rows of the embedding V."""
    attention_scale: float
    """Factor on attention logits; D^-1/2 is Qwen3 (the rest is folded into the norm of the queries on export)."""
    output_scale: float = 1.0
    """Factor on the logits; 1 is Qwen3 (folded into the last norm on export)."""

    @property
    def head_channels(self) -> int:
        """Channels per head D."""
        return self.shape.width // self.shape.heads

    @property
    def hidden_channels(self) -> int:
        """Channels inside the MLP F."""
        return hidden_channels(self.shape.width)

    @property
    def non_embedding_params(self) -> int:
        """Parameters outside the token embedding."""
        return non_embedding_params(self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        """What a run logs of the network, and an entry states."""
        return self.shape._asdict() | {"vocabulary_size": self.vocabulary_size}

    def flops_per_token(self, context: float) -> float:
        """Training FLOPs per token, forward and backward: 6 per weight in a matrix product, and attention.

        Args:
            context: mean number of tokens that a token attends to, itself included.
        """
        layers, width, _ = self.shape
        weights = layers * (4 * width**2 + 3 * width * hidden_channels(width)) + self.vocabulary_size * width
        return 6 * weights + 12 * layers * width * context

    def plain(self) -> list[Any]:
        """As plain values, for a resume state."""
        return [list(self.shape), *astuple(self)[1:]]

    @classmethod
    def from_plain(cls, values: list[Any]) -> Self:
        """From what `plain` gave."""
        return cls(Shape(*values[0]), *values[1:])


class Rotation(NamedTuple):
    """By how much the channels of a token's queries and keys are turned, all heads alike."""

    cosines: Tensor  # (N, 1, D)
    sines: Tensor  # (N, 1, D), negative in the first half

    def turn(self, x: Tensor) -> Tensor:
        """Turn channel d and channel d + D/2 of each head (N, H, D) as a pair."""
        return torch.addcmul(x * self.cosines, x.roll(x.shape[-1] // 2, -1), self.sines)


class RotaryInput(nn.Module):
    """Queries and keys as they meet: normalised head by head, then turned by their positions."""

    def __init__(self, heads: int, channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query = nn.RMSNorm(channels, eps=EPS)
        self.norm_key = nn.RMSNorm(channels, eps=EPS)

    def forward(self, qkv: Tensor, rotation: Rotation) -> Tensor:
        """(N, 3 C) to (N, 3 C), both laid out as (N, 3, H, D)."""
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).unbind(-3)
        query, key = rotation.turn(self.norm_query(query)), rotation.turn(self.norm_key(key))
        return torch.stack([query.type_as(value), key.type_as(value), value], -3).flatten(-3)


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, hidden = config.shape.width, config.hidden_channels
        self.heads, self.attention_scale = config.shape.heads, config.attention_scale
        self.norm_attention = nn.RMSNorm(width, eps=EPS)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_input = RotaryInput(config.shape.heads, config.head_channels)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.norm_mlp = nn.RMSNorm(width, eps=EPS)
        self.mlp_in = nn.Linear(width, 2 * hidden, bias=False)  # gate, then what it lets through
        self.mlp_out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_NC: Tensor, batch: Batch | Growing, rotation: Rotation) -> Tensor:
        """Attention and MLP, each added to the residual stream (N, C)."""
        qkv = self.attention_input(self.query_key_value(self.norm_attention(x_NC)), rotation)
        attended = attend(qkv.reshape(-1, qkv.shape[-1]), batch, self.heads, self.attention_scale)
        x_NC = x_NC + self.attention_out(attended.view(x_NC.shape))
        gate, hidden = self.mlp_in(self.norm_mlp(x_NC)).chunk(2, -1)
        x_NC = x_NC + self.mlp_out(functional.silu(gate) * hidden)
        return x_NC


class Llama(LanguageModel):
    """The language model."""

    config: LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.shape.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.shape.layers))
        self.norm_out = nn.RMSNorm(config.shape.width, eps=EPS)

    def rotation(self, positions: Tensor) -> Rotation:
        """What turns queries and keys at positions (N,) in their molecules."""
        channels = self.config.head_channels
        dtype = self.token_embedding.weight.dtype
        exponents = torch.arange(channels // 2, device=positions.device, dtype=dtype) * (-2 / channels)
        angles = positions[..., None] * ROTARY_BASE**exponents
        cosines, sines = angles.cos(), angles.sin()
        return Rotation(torch.cat([cosines, cosines], -1).unsqueeze(-2), torch.cat([-sines, sines], -1).unsqueeze(-2))

    def logits(self, batch: Batch | Growing) -> Tensor:
        """Logits (N, V) of the next token at every packed position."""
        x_NC, rotation = self.token_embedding(batch.inputs), self.rotation(batch.positions)
        for block in self.blocks:
            x_NC = block(x_NC, batch, rotation)
        logits: Tensor = self.norm_out(x_NC) @ self.token_embedding.weight.mT
        return self.config.output_scale * logits

    def memory(self, rows: int) -> KeyValues:
        """Keys and values."""
        return KeyValues(self.config.shape.layers, rows)

    def states(self, batch: Batch) -> Iterator[Tensor]:
        """States (N, C) behind the embedding and behind each layer, of the last one behind the final norm."""
        x_NC, rotation = self.token_embedding(batch.inputs), self.rotation(batch.positions)
        for block in self.blocks:
            yield x_NC
            x_NC = block(x_NC, batch, rotation)
        yield self.norm_out(x_NC)

    def layers_to_compile(self) -> list[nn.Module]:
        """All layers: they are alike."""
        return list(self.blocks)


def hidden_channels(width: int) -> int:
    """Channels F inside the MLP: 8/3 of the width, to a multiple of 8, as many weights as a plain MLP of 4 widths."""
    return 8 * round(width / 3)


def non_embedding_params(shape: Shape) -> int:
    """Parameters outside the token embedding: L (4 C^2 + 3 C F + 2 C + 2 D) + C."""
    layers, width, heads = shape
    layer = 4 * width**2 + 3 * width * hidden_channels(width) + 2 * width + 2 * (width // heads)
    return layers * layer + width

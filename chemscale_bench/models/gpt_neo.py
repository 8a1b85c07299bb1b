"""GPT-Neo, the network of ChemGPT, computed without any work on padding.

Legend: N tokens of all molecules of a batch, one after another; H heads; D channels per head; C = H D width;
V vocabulary. Models that are trained as a stack (training/stacked.py) have their members in front: (K, N, C), with the
molecules of all of them.

Everything but attention (packed_attention.py) runs on the packed tokens (N, C). The maths is that of
`GPTNeoForCausalLM`: learned positions, attention logits that are not divided by sqrt(D), every second layer local with
a window of 256, tanh GELU, tied head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional

from chemscale_bench.models.key_values import KeyValues
from chemscale_bench.models.packed import Batch, Growing, LanguageModel
from chemscale_bench.models.packed_attention import attend
from chemscale_bench.models.sizes import Shape

POSITIONS = 2048
WINDOW = 256


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

    def forward(self, x_NC: Tensor, batch: Batch | Growing) -> Tensor:
        """Attention and MLP, each added to the residual stream (N, C)."""
        qkv = self.query_key_value(self.norm_attention(x_NC))
        window = WINDOW if self.local else None
        attended = attend(qkv.reshape(-1, qkv.shape[-1]), batch, self.heads, self.attention_scale, window)
        x_NC = x_NC + self.attention_out(attended.view(x_NC.shape))
        hidden = functional.gelu(self.mlp_in(self.norm_mlp(x_NC)), approximate="tanh")
        x_NC = x_NC + self.mlp_out(hidden)
        return x_NC

    @property
    def attention_input(self) -> nn.Module:
        """The part whose output (N, 3 C) holds queries and keys as they meet."""
        return self.query_key_value


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

    def logits(self, batch: Batch | Growing) -> Tensor:
        """Logits (N, V) of the next token at every packed position."""
        x_NC = self.token_embedding(batch.inputs) + self.position_embedding(batch.positions)
        for block in self.blocks:
            x_NC = block(x_NC, batch)
        logits: Tensor = self.norm_out(x_NC) @ self.token_embedding.weight.mT
        return self.config.output_scale * logits

    def memory(self, rows: int) -> KeyValues:
        """Keys and values."""
        return KeyValues(self.config.shape.layers, rows)

    def states(self, batch: Batch) -> Iterator[Tensor]:
        """States (N, C) behind the embeddings and behind each layer, of the last one behind the final norm."""
        x_NC = self.token_embedding(batch.inputs) + self.position_embedding(batch.positions)
        for block in self.blocks:
            yield x_NC
            x_NC = block(x_NC, batch)
        yield self.norm_out(x_NC)

    def layers_to_compile(self) -> list[nn.Module]:
        """All layers: they are alike."""
        return list(self.blocks)

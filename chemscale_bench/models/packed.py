"""Molecules packed one after another, and what every language model does with them.

Legend: N tokens of all molecules of a batch, B molecules, T tokens of the longest one, V vocabulary. Models that are
trained as a stack (training/stacked.py) have their members in front: (K, N), with the B molecules of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

PADDING = -100  # a target that is none, as `functional.cross_entropy` has it


class Group(NamedTuple):
    """Molecules of similar length, for attention on a CPU."""

    molecules: int  # B
    longest: int  # T: each of them is padded to it


class Batch(NamedTuple):
    """Molecules packed one after another; the start token is an input and never a target."""

    inputs: Tensor  # (N,) int64: start, symbols
    targets: Tensor  # (N,) int64: symbols, end; PADDING where a batch is padded to a given size
    positions: Tensor  # (N,) int64: 0, 1, ... within each molecule
    offsets: Tensor  # (B + 1,) int32: first row of every molecule
    groups: tuple[Group, ...]  # on a CPU, the shortest molecules first
    places: Tensor  # (N,) int64: where each row lies in the padded layout, (B T) of one group after another


class Growing(NamedTuple):
    """Molecules that are written token by token: the last token of each, and what is known of those before it."""

    inputs: Tensor  # (B,) int64
    positions: Tensor  # (B,) int64: 0 for a start token; with it, a row begins a new molecule
    memory: Any  # what the model's `memory` gave; it takes note of the inputs


class LanguageModel(nn.Module):
    """A network that is called with a `Batch` and gives the summed cross-entropy in nats."""

    config: Any
    """Of its family, see models/language_models.py."""
    captures = True
    """Whether a step may be replayed as a CUDA graph: nothing in it waits for the GPU."""

    def logits(self, batch: Batch | Growing) -> Tensor:
        """Logits (N, V) of the next token at every packed position, or (B, V) of that of each growing molecule."""
        raise NotImplementedError

    def memory(self, rows: int) -> Any:
        """What `logits` keeps of the earlier tokens of so many growing molecules, for a `Growing`."""
        raise NotImplementedError

    def states(self, batch: Batch) -> Iterator[Tensor]:
        """States (N, C) at every packed position: what enters the first layer, then what leaves each layer.

        The last ones are those that `logits` multiplies with its matrix, behind a final norm if there is one.
        """
        raise NotImplementedError

    def layers_to_compile(self) -> list[nn.Module]:
        """Parts that are alike, and that `torch.compile` takes one by one on a GPU."""
        return []

    def token_losses(self, batch: Batch) -> Tensor:
        """Cross-entropy (N,) in nats of every predicted token."""
        logits = self.logits(batch).float()
        losses = functional.cross_entropy(logits.flatten(0, -2), batch.targets.flatten(), reduction="none")
        return losses.view(batch.targets.shape)

    def forward(self, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over the predicted tokens: one number, or one of each member of a stack."""
        return self.token_losses(batch).sum(-1)

"""The language objective: molecules in their training order, packed batches, exact validation loss.

Legend: N predicted tokens of a batch, B molecules, T tokens of the longest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from chemscale_bench.data.store import Molecules
from chemscale_bench.models.chemgpt import Batch, ChemGPT
from chemscale_bench.training.schedules import batch_tokens_at

# Largest padded attention area (B T) and number of packed tokens of one forward pass while validating.
VALIDATION_TOKENS = 16_384


class LanguageObjective:
    """Next-symbol prediction on molecules in a random order that depends on the seed and the epoch only.

    `take` hands out exact numbers of tokens: the molecule that would overshoot is cut, its remainder is not used.

    Args:
        molecules: the training split.
        start_id: id of the start token.
        vocabulary_size: V, for the loss of a model that knows nothing.
        seed: of the order.
        batch_tokens: tokens of every optimizer step, or None for `schedules.batch_tokens_at`.
        device: where the forward passes go.
    """

    def __init__(
        self, molecules: Molecules, start_id: int, vocabulary_size: int, seed: int, batch_tokens: int | None,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.molecules, self.start_id, self.seed = molecules, start_id, seed
        self.batch_tokens, self.device = batch_tokens, device
        self.lengths = molecules.lengths
        self.hopeless_loss = float(np.log(vocabulary_size)) + 0.5
        self.order = lru_cache(maxsize=1)(self.order_of)

    def order_of(self, epoch: int) -> np.ndarray:
        """Order (M,) of the molecules in one epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.molecules))

    def take(self, cursor: tuple[int, int] | None, amount: int) -> tuple[list[np.ndarray], tuple[int, int]]:
        """The next molecules with exactly `amount` predicted tokens in all, and the (epoch, index) behind them."""
        epoch, index = cursor or (0, 0)
        taken: list[np.ndarray] = []
        while amount > 0:
            if index == len(self.molecules):
                epoch, index = epoch + 1, 0
            ahead = self.order(epoch)[index : index + amount]  # a molecule has at least one token
            enough = int(np.searchsorted(np.cumsum(self.lengths[ahead]), amount)) + 1
            for molecule in ahead[:enough]:
                start = self.molecules.offsets[molecule]
                taken.append(self.molecules.tokens[start : start + min(amount, int(self.lengths[molecule]))])
                amount -= len(taken[-1])
                index += 1
        return taken, (epoch, index)

    def first(self, tokens: int) -> Iterator[np.ndarray]:
        """The molecules of the first epoch, in training order, up to `tokens` tokens."""
        packed = np.asarray(self.molecules.tokens)  # views of a plain array are lighter than those of a memory map
        for molecule in self.order(0):
            if tokens <= 0:
                return
            start, length = self.molecules.offsets[molecule], min(tokens, int(self.lengths[molecule]))
            yield packed[start : start + length]
            tokens -= length

    def passes(self, items: list[np.ndarray], limit: int) -> Iterator[Batch]:
        """Packed forward passes of molecules of similar length."""
        return (pack(group, self.start_id, self.device) for group in micro_batches(items, limit))

    def batch_amount(self, position: int) -> int:
        """Tokens of the next optimizer step."""
        return self.batch_tokens or batch_tokens_at(position)


def pack(molecules: list[np.ndarray], start_id: int, device: torch.device | str = "cpu") -> Batch:
    """Put molecules (each: symbols, end; uint16) into one packed batch on `device`."""
    lengths = np.array([len(molecule) for molecule in molecules])
    targets = np.concatenate(molecules).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    inputs = np.empty_like(targets)
    inputs[1:] = targets[:-1]
    inputs[starts] = start_id
    positions = np.arange(len(targets)) - np.repeat(starts, lengths)
    longest = int(lengths.max())
    padded_index = np.repeat(np.arange(len(lengths)) * longest, lengths) + positions
    stacked = torch.from_numpy(np.stack([inputs, targets, positions, padded_index])).to(device, non_blocking=True)
    inputs_N, targets_N, positions_N, padded_index_N = stacked.unbind()
    return Batch(inputs_N, targets_N, positions_N, padded_index_N, len(lengths), longest)


def micro_batches(molecules: list[np.ndarray], tokens: int) -> Iterator[list[np.ndarray]]:
    """Cut an optimizer step into forward passes of molecules of similar length, at most `tokens` padded tokens each.

    A molecule longer than `tokens` makes a pass of its own.
    """
    group: list[np.ndarray] = []
    for molecule in sorted(molecules, key=len):  # ascending, so the newest is the longest
        if group and (len(group) + 1) * len(molecule) > tokens:
            yield group
            group = []
        group.append(molecule)
    if group:
        yield group


class Validation(NamedTuple):
    """Sums over a split and the metrics made of them."""

    nats: float
    tokens: int
    molecules: int
    heavy_atoms: int

    @property
    def metrics(self) -> dict[str, float]:
        """The three units of one and the same sum."""
        return {
            "val/loss_nats_per_token": self.nats / self.tokens,
            "val/nats_per_molecule": self.nats / self.molecules,
            "val/bits_per_heavy_atom": self.nats / math.log(2) / self.heavy_atoms,
        }


@torch.no_grad()
def molecule_losses(model: ChemGPT, molecules: Molecules, start_id: int, device: torch.device | str) -> np.ndarray:
    """Cross-entropy (M,) in nats of every molecule of a split, end token included."""
    losses = np.empty(len(molecules))
    order = np.argsort(molecules.lengths, kind="stable")
    sequences = list(molecules.sequences())
    done = 0
    for group in micro_batches([sequences[i] for i in order], VALIDATION_TOKENS):
        batch = pack(group, start_id, device)
        row = torch.div(batch.padded_index, batch.longest, rounding_mode="floor")
        sums = torch.zeros(len(group), dtype=torch.float64, device=device)
        sums.index_add_(0, row, model.token_losses(batch).double())
        losses[order[done : done + len(group)]] = sums.cpu().numpy()
        done += len(group)
    return losses


def validate(model: ChemGPT, molecules: Molecules, start_id: int, device: torch.device | str) -> Validation:
    """Loss of the whole split."""
    nats = molecule_losses(model, molecules, start_id, device).sum()
    heavy_atoms = int(molecules.heavy_atoms.sum(dtype=np.int64))
    return Validation(float(nats), len(molecules.tokens), len(molecules), heavy_atoms)

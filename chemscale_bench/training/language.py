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
from chemscale_bench.models.chemgpt import NOTHING, Batch, ChemGPT, Group
from chemscale_bench.training.schedules import batch_tokens_at

# Largest padded attention area (B T) and number of packed tokens of one forward pass while validating.
VALIDATION_TOKENS = 16_384
FILL_LENGTH = 64  # of the molecules that fill a batch up
SPREAD = 2.0  # between the lengths of molecules that a CPU attends to together


class LanguageObjective:
    """Next-symbol prediction on molecules in a random order that depends on the seed and the epoch only.

    `take` hands out exact numbers of tokens: the molecule that would overshoot is cut, its remainder is not used.
    Items are rows of an array (M, 2): where a molecule begins among the split's tokens, and how many of it to take.

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

    def take(self, cursor: tuple[int, int] | None, amount: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The next molecules with exactly `amount` predicted tokens in all, and the (epoch, index) behind them."""
        epoch, index = cursor or (0, 0)
        taken: list[np.ndarray] = []
        while amount > 0:
            if index == len(self.molecules):
                epoch, index = epoch + 1, 0
            ahead = self.order(epoch)[index : index + amount]  # a molecule has at least one token
            behind = np.cumsum(self.lengths[ahead])
            ahead = ahead[: int(np.searchsorted(behind, amount)) + 1]
            tokens = self.lengths[ahead].astype(np.int64)
            tokens[-1] -= max(0, int(behind[len(ahead) - 1]) - amount)
            taken.append(np.stack([self.molecules.offsets[ahead], tokens], axis=1))
            amount -= int(tokens.sum())
            index += len(ahead)
        return np.concatenate(taken), (epoch, index)

    def first(self, tokens: int) -> Iterator[np.ndarray]:
        """The molecules of the first epoch, in training order, up to `tokens` tokens."""
        packed = np.asarray(self.molecules.tokens)  # views of a plain array are lighter than those of a memory map
        for molecule in self.order(0):
            if tokens <= 0:
                return
            start, length = self.molecules.offsets[molecule], min(tokens, int(self.lengths[molecule]))
            yield packed[start : start + length]
            tokens -= length

    def passes(self, items: np.ndarray, limit: int) -> Iterator[Batch]:
        """Packed forward passes: on a CPU of molecules of similar length, on a GPU filled up to one of a few sizes."""
        if self.device.type == "cpu":
            items = items[np.argsort(items[:, 1], kind="stable")]
            for start, stop in micro_batches(items[:, 1], limit):
                yield pack_symbols(self.symbols(items[start:stop]), items[start:stop, 1], self.start_id, self.device)
        else:
            parts = -(-int(items[:, 1].sum()) // limit)
            for share in (items[part::parts] for part in range(parts)):
                size = filled_size(int(share[:, 1].sum()))
                yield pack_symbols(*fill_up(self.symbols(share), share[:, 1], size), self.start_id, self.device)

    def symbols(self, items: np.ndarray) -> np.ndarray:
        """Symbols and ends (N,) of the molecules, one after another."""
        starts, lengths = items.T
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        tokens: np.ndarray = self.molecules.tokens[np.repeat(starts, lengths) + within]
        return tokens

    def batch_amount(self, position: int) -> int:
        """Tokens of the next optimizer step."""
        return self.batch_tokens or batch_tokens_at(position)


def pack(molecules: list[np.ndarray], start_id: int, device: torch.device | str = "cpu") -> Batch:
    """Put molecules (each: symbols, end; uint16) into one packed batch on `device`."""
    return pack_symbols(np.concatenate(molecules), np.array([len(one) for one in molecules]), start_id, device)


def pack_symbols(symbols: np.ndarray, lengths: np.ndarray, start_id: int, device: torch.device | str) -> Batch:
    """Put molecules that lie one after another into one packed batch on `device`.

    Args:
        symbols: (N,), each molecule's symbols and its end; NOTHING in what fills the batch up.
        lengths: (B,), how many of them are each molecule's.
        start_id: id of the start token.
        device: where the batch is wanted; on a GPU the number of molecules is rounded up by empty ones.
    """
    targets = symbols.astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    inputs = np.empty_like(targets)
    inputs[1:] = targets[:-1]
    inputs[starts] = start_id
    inputs[inputs == NOTHING] = start_id
    positions = np.arange(len(targets)) - np.repeat(starts, lengths)
    stacked = torch.from_numpy(np.stack([inputs, targets, positions])).to(device, non_blocking=True)
    inputs_N, targets_N, positions_N = stacked.unbind()
    if torch.device(device).type == "cpu":
        groups, order = groups_of(starts, lengths)
    else:
        groups, order = (), inputs_N
        room = max(len(targets) // 8, 2 ** len(lengths).bit_length())
        ends = np.append(ends, np.full(room - len(ends), len(targets)))
    offsets = torch.from_numpy(np.append(0, ends).astype(np.int32)).to(device, non_blocking=True)
    return Batch(inputs_N, targets_N, positions_N, offsets, groups, order)


def groups_of(starts: np.ndarray, lengths: np.ndarray) -> tuple[tuple[Group, ...], torch.Tensor]:
    """Molecules grouped so that none is padded to more than `SPREAD` times its length, and the rows' places in them."""
    by_length = np.argsort(lengths, kind="stable")
    groups, begin = [], 0
    while begin < len(lengths):
        end = int(np.searchsorted(lengths[by_length], SPREAD * max(8, lengths[by_length[begin]]), side="right"))
        members = by_length[begin:end]
        own, longest = lengths[members], int(lengths[members].max())
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        rows = np.repeat(starts[members], own) + within
        places = np.repeat(np.arange(len(members)) * longest, own) + within
        groups.append(Group(torch.from_numpy(rows), torch.from_numpy(places), len(members), longest))
        begin = end
    return tuple(groups), torch.cat([group.rows for group in groups]).argsort()


def fill_up(symbols: np.ndarray, lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The symbols (size,) and lengths with molecules behind them that ask for nothing."""
    missing = size - len(symbols)
    extra = np.full(-(-missing // FILL_LENGTH), FILL_LENGTH)
    extra[-1:] -= extra.sum() - missing
    return np.append(symbols.astype(np.int64), np.full(missing, NOTHING)), np.append(lengths, extra)


def filled_size(tokens: int) -> int:
    """The next of a few batch sizes, four to an octave, so that CUDA graphs and compiled kernels serve many steps."""
    return 64 * math.ceil(8 * 2 ** (math.ceil(4 * math.log2(max(tokens, 512) / 512)) / 4))


def stack(objectives: list[LanguageObjective], items: list[np.ndarray]) -> Batch:
    """The members' molecules as one batch of K rows, the shorter rows filled up."""
    first = objectives[0]
    size = max(int(own[:, 1].sum()) for own in items)
    size = size if first.device.type == "cpu" else filled_size(size)
    rows = [fill_up(each.symbols(own), own[:, 1], size) for each, own in zip(objectives, items, strict=True)]
    symbols, lengths = (np.concatenate(part) for part in zip(*rows, strict=True))
    batch = pack_symbols(symbols, lengths, first.start_id, first.device)
    inputs, targets, positions = (part.view(len(items), size) for part in batch[:3])
    return batch._replace(inputs=inputs, targets=targets, positions=positions)


def micro_batches(lengths: np.ndarray, tokens: int) -> Iterator[tuple[int, int]]:
    """Cut molecules of ascending `lengths` into forward passes (from, to) of at most `tokens` padded tokens each.

    A molecule longer than `tokens` makes a pass of its own.
    """
    start = 0
    while start < len(lengths):
        padded = lengths[start:] * np.arange(1, len(lengths) - start + 1)
        stop = start + max(1, int(np.searchsorted(padded, tokens, side="right")))
        yield start, stop
        start = stop


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
    for start, stop in micro_batches(molecules.lengths[order], VALIDATION_TOKENS):
        group = order[start:stop]
        batch = pack([sequences[i] for i in group], start_id, device)
        row = torch.from_numpy(np.repeat(np.arange(len(group)), molecules.lengths[group])).to(device)
        sums = torch.zeros(len(group), dtype=torch.float64, device=device)
        sums.index_add_(0, row, model.token_losses(batch).double())
        losses[group] = sums.cpu().numpy()
    return losses


def validate(model: ChemGPT, molecules: Molecules, start_id: int, device: torch.device | str) -> Validation:
    """Loss of the whole split."""
    nats = molecule_losses(model, molecules, start_id, device).sum()
    heavy_atoms = int(molecules.heavy_atoms.sum(dtype=np.int64))
    return Validation(float(nats), len(molecules.tokens), len(molecules), heavy_atoms)

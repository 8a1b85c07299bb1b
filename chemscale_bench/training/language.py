"""The language objective: molecules in their training order, packed batches, exact validation loss.

Legend: N predicted tokens of a batch, B molecules, T tokens of the longest one, K members of a stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from chemscale_bench.data.store import Molecules
from chemscale_bench.models.packed import PADDING, Batch, Group, LanguageModel
from chemscale_bench.training.schedules import batch_tokens_at

# Largest padded attention area (B T) and number of packed tokens of one forward pass while validating.
VALIDATION_TOKENS = 16_384
COMPILED_FLOPS = 3e15  # on a GPU, from which on the 10 s that torch.compile takes come back
PAD_LENGTH = 64  # of one piece of padding
SPREAD = 1.4  # between the lengths of molecules that a CPU attends to together


class LanguageObjective:
    """Next-symbol prediction on molecules in an order that depends on the seed and the epoch only.

    The first epoch takes them as they are stored, in a random order that all runs share, so that a budget's molecules
    are the same for every run; `seed` shuffles the later ones.

    `take` hands out exact numbers of tokens: the molecule that would overshoot is cut, its remainder is not used.
    Items are rows of an array (M, 2): where a molecule begins among the split's tokens, and how many of it to take.

    Args:
        molecules: the training split.
        start_id: id of the start token.
        vocabulary_size: V, for the loss of a uniform prediction.
        seed: of the order from the second epoch on.
        batch_tokens: tokens of every optimizer step, or None for `schedules.batch_tokens_at`.
        device: where the forward passes go.
    """

    unit_size, stacks = 1, True

    def __init__(
        self, molecules: Molecules, start_id: int, vocabulary_size: int, seed: int, batch_tokens: int | None,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.molecules, self.start_id, self.seed = molecules, start_id, seed
        self.batch_tokens, self.device = batch_tokens, device
        self.lengths = molecules.lengths
        self.diverged_loss = float(np.log(vocabulary_size)) + 2  # untrained, with 12 symbols, most of them C: 1.7
        self.order = lru_cache(maxsize=1)(self.order_of)
        self.tokens_on_device = tokens_on(device, molecules) if device.type == "cuda" else None

    def order_of(self, epoch: int) -> np.ndarray:
        """Order (M,) of the molecules in one epoch."""
        count = len(self.molecules)
        return np.random.default_rng([self.seed, epoch]).permutation(count) if epoch else np.arange(count)

    def take(self, cursor: tuple[int, int] | None, amount: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The next molecules with exactly `amount` predicted tokens in all, and the (epoch, index) behind them."""
        epoch, index = cursor or (0, 0)
        taken: list[np.ndarray] = []
        while amount > 0:
            if index == len(self.molecules):
                epoch, index = epoch + 1, 0
            ahead = self.order(epoch)[index : index + amount // 16 + 16]
            behind = np.cumsum(self.lengths[ahead])
            ahead = ahead[: int(np.searchsorted(behind, amount)) + 1]
            tokens = self.lengths[ahead].astype(np.int64)
            tokens[-1] -= max(0, int(behind[len(ahead) - 1]) - amount)
            taken.append(np.stack([self.molecules.offsets[ahead], tokens], axis=1))
            amount -= int(tokens.sum())
            index += len(ahead)
        return np.concatenate(taken), (epoch, index)

    def passes(self, items: np.ndarray, limit: int) -> Iterator[Batch]:
        """Packed forward passes: on a CPU of molecules of similar length, on a GPU filled up to one of a few sizes."""
        if self.device.type == "cpu":
            items = items[np.argsort(items[:, 1], kind="stable")]
            for start, stop in micro_batches(items[:, 1], limit):
                yield self.batch(items[start:stop])
        else:
            parts = -(-int(items[:, 1].sum()) // limit)
            for share in (items[part::parts] for part in range(parts)):
                yield self.batch(pad_to(share, padded_size(int(share[:, 1].sum()))))

    def batch(self, items: np.ndarray) -> Batch:
        """One packed batch of these molecules, in this order."""
        if self.tokens_on_device is not None:
            return pack_on_device(self.tokens_on_device, items, self.start_id)
        return pack_symbols(self.symbols(items), items[:, 1], self.start_id, self.device)

    def symbols(self, items: np.ndarray) -> np.ndarray:
        """Symbols and ends (N,) of the molecules, one after another; PADDING in what pads the batch."""
        starts, lengths = items.T
        first = np.repeat(starts, lengths)
        tokens = self.molecules.tokens[first + positions_in(lengths)].astype(np.int64)
        return np.where(first < 0, PADDING, tokens)

    def batch_amount(self, position: int) -> int:
        """Tokens of the next optimizer step."""
        return self.batch_tokens or batch_tokens_at(position)

    def stacked(self, others: list[Self], items: list[np.ndarray]) -> Batch:
        """The members' molecules as one batch of K rows, the shorter rows filled up."""
        assert all(each.molecules.digest == self.molecules.digest for each in others)
        size = max(int(own[:, 1].sum()) for own in items)
        size = size if self.device.type == "cpu" else padded_size(size)
        batch = self.batch(np.concatenate([pad_to(own, size) for own in items]))
        inputs, targets, positions = (part.view(len(items), size) for part in batch[:3])
        return batch._replace(inputs=inputs, targets=targets, positions=positions)


def positions_in(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... within each of the molecules that lie one after another (N,)."""
    positions: np.ndarray = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return positions


def pack(molecules: list[np.ndarray], start_id: int, device: torch.device | str = "cpu") -> Batch:
    """Put molecules (each: symbols, end; uint16) into one packed batch on `device`."""
    return pack_symbols(np.concatenate(molecules), np.array([len(one) for one in molecules]), start_id, device)


def pack_symbols(symbols: np.ndarray, lengths: np.ndarray, start_id: int, device: torch.device | str) -> Batch:
    """Put molecules that lie one after another into one packed batch on `device`.

    Args:
        symbols: (N,), each molecule's symbols and its end; PADDING in what pads the batch.
        lengths: (B,), how many of them are each molecule's.
        start_id: id of the start token.
        device: where the batch is wanted.
    """
    targets = symbols.astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    inputs = np.empty_like(targets)
    inputs[1:] = targets[:-1]
    inputs[starts] = start_id
    inputs[inputs == PADDING] = start_id
    positions = positions_in(lengths)
    stacked = torch.from_numpy(np.stack([inputs, targets, positions])).to(device, non_blocking=True)
    inputs_N, targets_N, positions_N = stacked.unbind()
    offsets = torch.from_numpy(np.append(0, ends).astype(np.int32)).to(device, non_blocking=True)
    groups, places = groups_of(lengths) if torch.device(device).type == "cpu" else ((), inputs_N)
    return Batch(inputs_N, targets_N, positions_N, offsets, groups, places)


def pack_on_device(tokens: Tensor, items: np.ndarray, start_id: int) -> Batch:
    """What `pack_symbols` makes, on the device that holds all tokens, so that little goes there and nobody waits.

    Args:
        tokens: of the split.
        items: (B, 2), first token and length of each molecule; the first is negative in padding.
        start_id: id of the start token.
    """
    size, device = int(items[:, 1].sum()), tokens.device
    starts_B, lengths_B = torch.from_numpy(np.ascontiguousarray(items.T)).to(device, non_blocking=True).unbind()
    ends_B = lengths_B.cumsum(0)
    molecule_N = torch.repeat_interleave(lengths_B, output_size=size)
    positions_N = torch.arange(size, device=device) - (ends_B - lengths_B)[molecule_N]
    first_N = starts_B[molecule_N]
    targets_N = torch.where(first_N < 0, PADDING, tokens[(first_N + positions_N).clamp(min=0)].long())
    inputs_N = torch.where((positions_N == 0) | (first_N < 0), start_id, targets_N.roll(1))
    # Empty molecules round their number up, so that it takes few values.
    room = max(size // 8, 2 ** len(items).bit_length())
    offsets = functional.pad(ends_B.int(), (1, room - len(items)), value=size)
    offsets[0] = 0
    return Batch(inputs_N, targets_N, positions_N, offsets, (), inputs_N)


ON_DEVICE: dict[tuple[str, torch.device], Tensor] = {}


def tokens_on(device: torch.device, molecules: Molecules) -> Tensor:
    """All tokens of a split on a GPU: one copy, however many runs of a process train on them."""
    key = molecules.digest, device
    if key not in ON_DEVICE:
        ON_DEVICE.clear()
        ON_DEVICE[key] = torch.from_numpy(np.array(molecules.tokens, np.uint16).view(np.int16)).to(device)
    return ON_DEVICE[key]


def groups_of(lengths: np.ndarray) -> tuple[tuple[Group, ...], Tensor]:
    """Molecules grouped so that none is padded to more than `SPREAD` times its length, and the rows' places in them."""
    by_length = np.argsort(lengths, kind="stable")
    groups, begin, padded = [], 0, 0
    first = np.empty_like(lengths)  # place of each molecule's first row
    while begin < len(lengths):
        end = int(np.searchsorted(lengths[by_length], SPREAD * max(8, lengths[by_length[begin]]), side="right"))
        members = by_length[begin:end]
        longest = int(lengths[members].max())
        first[members] = padded + np.arange(len(members)) * longest
        groups.append(Group(len(members), longest))
        begin, padded = end, padded + len(members) * longest
    return tuple(groups), torch.from_numpy(np.repeat(first, lengths) + positions_in(lengths))


def pad_to(items: np.ndarray, size: int) -> np.ndarray:
    """The items (B, 2) and padding behind them, `size` tokens in all."""
    missing = size - int(items[:, 1].sum())
    extra = np.full((-(-missing // PAD_LENGTH), 2), (-PAD_LENGTH, PAD_LENGTH))
    extra[-1:, 1] -= int(extra[:, 1].sum()) - missing
    return np.concatenate([items, extra])


def padded_size(tokens: int) -> int:
    """The next of a few batch sizes, four to an octave, so that CUDA graphs and compiled kernels serve many steps."""
    return 64 * math.ceil(8 * 2 ** (math.ceil(4 * math.log2(max(tokens, 512) / 512)) / 4))


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

    def metrics(self, split: str = "val") -> dict[str, float]:
        """The three units of one and the same sum."""
        return {
            f"{split}/loss_nats_per_token": self.nats / self.tokens,
            f"{split}/nats_per_molecule": self.nats / self.molecules,
            f"{split}/bits_per_heavy_atom": self.nats / math.log(2) / self.heavy_atoms,
        }


@torch.no_grad()
def molecule_losses(
    model: LanguageModel, molecules: Molecules, start_id: int, device: torch.device | str
) -> np.ndarray:
    """Cross-entropy (M,) in nats of every molecule of a split, end token included."""
    losses = np.empty(len(molecules))
    trained = {module: module.training for module in model.modules()}
    model.eval()
    order = np.argsort(molecules.lengths, kind="stable")
    sequences = list(molecules.sequences())
    for start, stop in micro_batches(molecules.lengths[order], VALIDATION_TOKENS):
        group = order[start:stop]
        batch = pack([sequences[i] for i in group], start_id, device)
        row = torch.from_numpy(np.repeat(np.arange(len(group)), molecules.lengths[group])).to(device)
        sums = torch.zeros(len(group), dtype=torch.float64, device=device)
        sums.index_add_(0, row, model.token_losses(batch).double())
        losses[group] = sums.cpu().numpy()
    for module, training in trained.items():
        module.training = training
    return losses


def validate(model: LanguageModel, molecules: Molecules, start_id: int, device: torch.device | str) -> Validation:
    """Loss of the whole split."""
    nats = molecule_losses(model, molecules, start_id, device).sum()
    heavy_atoms = int(molecules.heavy_atoms.sum(dtype=np.int64))
    return Validation(float(nats), len(molecules.tokens), len(molecules), heavy_atoms)

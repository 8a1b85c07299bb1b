"""Encoded batches to packed shards: duplicates and unknown symbols out, the rest to its split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from chemscale_bench.data.store import Packed
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.worker import Batch

SPLIT_RULE = "blake2b-64 of the SELFIES: test < .05 <= validation < .10 <= train"
TEST, VALIDATION = 0.05, 0.10
UNKNOWN = 65_535
DUPLICATE, UNKNOWN_SYMBOL = "duplicate", "unknown_symbol"


@dataclass
class SymbolNumbers:
    """One numbering of symbols for the batches of all workers."""

    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, symbols: list[str]) -> np.ndarray:
        """Numbers of some symbols, uint16; a symbol beyond what 16 bits hold is unknown."""
        for symbol in symbols:
            if symbol not in self.numbers and len(self.numbers) < UNKNOWN:
                self.numbers[symbol] = len(self.numbers)
        return np.array([self.numbers.get(symbol, UNKNOWN) for symbol in symbols], np.uint16)

    def ids(self, vocabulary: Vocabulary) -> np.ndarray:
        """Id of each number, uint16 [65536]; UNKNOWN where the vocabulary lacks the symbol."""
        ids = np.full(UNKNOWN + 1, UNKNOWN, np.uint16)
        for symbol, number in self.numbers.items():
            ids[number] = vocabulary.ids.get(symbol, UNKNOWN)
        return ids


class Seen:
    """The hashes of all molecules so far, in a few sorted arrays, of which small ones are merged into larger ones.

    Args:
        hashes: uint64 [M], distinct, of molecules that have been seen before.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        self.runs = [np.sort(hashes)] if len(hashes) else []

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Take note of further molecules; bool [M], whether each is the first of its kind."""
        first = np.zeros(len(hashes), bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        for run in self.runs:
            place = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            first &= run[place] != hashes
        if first.any():
            self.runs.append(np.sort(hashes[first]))
        while len(self.runs) > 1 and len(self.runs[-2]) < 2 * len(self.runs[-1]):
            self.runs.append(np.sort(np.concatenate([self.runs.pop(), self.runs.pop()]), kind="stable"))
        return first


@dataclass(frozen=True)
class EncodedShard:
    """Molecules of one shard in symbol numbers, duplicates out, before any vocabulary is applied."""

    numbers: np.ndarray
    """uint16 [N]."""
    lengths: np.ndarray
    """int64 [M]."""
    heavy_atoms: np.ndarray
    """uint16 [M]."""
    hashes: np.ndarray
    """uint64 [M]."""
    counts: Counter[str]

    @classmethod
    def join(cls, batches: list[Batch], symbols: SymbolNumbers, seen: Seen) -> EncodedShard:
        """Join the batches of a shard; of equal molecules the first of all shards stays."""
        counts: Counter[str] = Counter()
        for batch in batches:
            counts += batch.counts
        numbers = np.concatenate([symbols.of(b.symbols)[b.numbers] if b.symbols else b.numbers for b in batches])
        lengths = np.concatenate([batch.lengths for batch in batches])
        hashes = np.concatenate([batch.hashes for batch in batches])
        first = seen.add(hashes)
        counts[DUPLICATE] = int((~first).sum())
        heavy_atoms = np.concatenate([batch.heavy_atoms for batch in batches])
        return cls(numbers[np.repeat(first, lengths)], lengths[first], heavy_atoms[first], hashes[first], counts)

    def symbol_counts(self, symbols: SymbolNumbers) -> Counter[str]:
        """How often each symbol occurs."""
        found = np.bincount(self.numbers, minlength=UNKNOWN + 1)
        return Counter({symbol: int(found[number]) for symbol, number in symbols.numbers.items() if found[number]})

    def pack(self, ids: np.ndarray, end_id: int) -> tuple[dict[str, Packed], Counter[str]]:
        """Apply a vocabulary and split.

        Args:
            ids: uint16 [65536], the id of each symbol number.
            end_id: written behind each molecule.

        Returns:
            The packed molecules by split, and the counts with those of unknown symbols.
        """
        starts = np.cumsum(self.lengths) - self.lengths
        tokens = np.insert(ids[self.numbers], starts + self.lengths, end_id)
        lengths = self.lengths + 1
        spelled = (
            ~np.logical_or.reduceat(tokens == UNKNOWN, starts + np.arange(len(starts))) if len(starts) else starts > 0
        )
        uniform = self.hashes / 2.0**64
        split_of = np.where(uniform < TEST, 2, np.where(uniform < VALIDATION, 1, 0))
        packed = {}
        for i, split in enumerate(("train", "validation", "test")):
            chosen = spelled & (split_of == i)
            packed[split] = Packed(
                tokens[np.repeat(chosen, lengths)], lengths[chosen].astype(np.uint16), self.heavy_atoms[chosen]
            )
        return packed, self.counts + Counter({UNKNOWN_SYMBOL: int((~spelled).sum())})

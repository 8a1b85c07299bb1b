"""A trigram model of the packed tokens: the baseline that a language model has to beat."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from chemscale_bench.data.cache import home, keep
from chemscale_bench.data.store import TokenStore

PASS_TOKENS = 5_000_000
THIS = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # results of another baseline are not kept


class Counts:
    """How often each key was seen: sorted unique keys and their counts, grown pass by pass."""

    def __init__(self) -> None:
        self.keys = np.empty(0, np.int64)
        self.counts = np.empty(0, np.int64)

    def add(self, keys: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Count further keys."""
        every = np.concatenate([self.keys, keys])
        weights = np.concatenate([self.counts, np.ones(len(keys), np.int64) if counts is None else counts])
        self.keys, inverse = np.unique(every, return_inverse=True)
        self.counts = np.bincount(inverse, weights, len(self.keys)).astype(np.int64)

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Counts of `keys`, 0 where unseen."""
        if not len(self.keys):
            return np.zeros(len(keys), np.int64)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.counts[place], 0)


class Trigram:
    """Interpolated trigram model with Witten-Bell smoothing (Chen & Goodman 1999, Eq. 17), down to the uniform.

    Args:
        vocabulary_size: V.
        start_id: the two symbols before a molecule's first.
    """

    def __init__(self, vocabulary_size: int, start_id: int) -> None:
        self.vocabulary_size, self.start_id = vocabulary_size, start_id
        self.grams = [Counts() for _ in range(3)]  # of n symbols, n = 1, 2, 3
        self.totals = [Counts() for _ in range(3)]  # of the n - 1 symbols before
        self.kinds = [Counts() for _ in range(3)]  # different symbols seen after those

    def keys(self, molecules: list[np.ndarray]) -> np.ndarray:
        """Keys (3, N): a symbol with none, one and two symbols of context, as one number each."""
        padded = [np.concatenate([[self.start_id, self.start_id], molecule]).astype(np.int64) for molecule in molecules]
        size = self.vocabulary_size
        first, second, third = (np.concatenate([p[i : len(p) - 2 + i] for p in padded]) for i in range(3))
        return np.stack([third, second * size + third, (first * size + second) * size + third])

    def fit(self, molecules: Iterable[np.ndarray]) -> Trigram:
        """Count molecules (each: symbols, end)."""
        for group in groups(molecules):
            for grams, keys in zip(self.grams, self.keys(group), strict=True):
                grams.add(*np.unique(keys, return_counts=True))
        for grams, totals, kinds in zip(self.grams, self.totals, self.kinds, strict=True):
            totals.add(grams.keys // self.vocabulary_size, grams.counts)
            kinds.add(grams.keys // self.vocabulary_size)
        return self

    def nats_per_token(self, molecules: Iterable[np.ndarray]) -> float:
        """Mean cross-entropy over the symbols of `molecules`, end tokens included."""
        nats, tokens = 0.0, 0
        for group in groups(molecules):
            keys = self.keys(group)
            probability = np.full(keys.shape[1], 1 / self.vocabulary_size)
            for order in range(3):
                context = keys[order] // self.vocabulary_size
                seen, kinds = self.totals[order].of(context), self.kinds[order].of(context)
                new = (self.grams[order].of(keys[order]) + kinds * probability) / np.maximum(seen + kinds, 1)
                probability = np.where(seen > 0, new, probability)
            nats -= float(np.log(probability).sum())
            tokens += len(probability)
        return nats / tokens


def validation_loss(store: TokenStore, budget: int) -> float:
    """Nats per token by the trigram model of a budget's molecules, kept for all runs on these data: it is the same."""
    asked = f"{THIS} {store.train.digest} {store.validation.digest} {budget}"
    path = home() / "baselines" / hashlib.sha256(asked.encode()).hexdigest()[:32]
    if path.exists():
        return float(path.read_text())
    trigram = Trigram(store.vocabulary.size, store.vocabulary.start_id).fit(store.train.first(budget))
    loss = trigram.nats_per_token(store.validation.sequences())
    keep(path, repr(loss))
    return loss


def groups(molecules: Iterable[np.ndarray]) -> Iterable[list[np.ndarray]]:
    """Molecules in lists of a few million tokens, so that memory stays bounded."""
    group: list[np.ndarray] = []
    tokens = 0
    for molecule in molecules:
        group.append(molecule)
        tokens += len(molecule)
        if tokens >= PASS_TOKENS:
            yield group
            group, tokens = [], 0
    if group:
        yield group

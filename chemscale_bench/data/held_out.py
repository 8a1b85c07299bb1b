"""The test sets that come with a named data set: a uniform sample of each, in the tokens of a model."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import rdkit

from chemscale_bench.data.cache import home, writing
from chemscale_bench.data.packing import UNKNOWN_SYMBOL, EncodedShard, Seen, SymbolNumbers
from chemscale_bench.data.sources import Source, held_out_source
from chemscale_bench.data.store import FIELDS, SPLITS, Molecules
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.workers import default_workers, encode_all

BATCH_LINES = 2048
VERSION = 1  # raise it when other molecules or tokens come out


def held_out(split: str, data: str, vocabulary: Vocabulary, molecules: int) -> Molecules:
    """The first molecules of a test set in one random order, the same for every call; kept in the cache.

    Molecules that the vocabulary can't spell are left out, and how many they are is said.

    Args:
        split: which test set.
        data: data set that it comes with.
        vocabulary: of the model.
        molecules: how many at most.

    Raises:
        UserError: the data can't be had, or the cache can't be written.
    """
    source = held_out_source(data, split)
    identity = [VERSION, source.sha256, source.reading, vocabulary.fingerprint, molecules, rdkit.__version__]
    path = home() / "held_out" / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.npz"
    if not path.exists():
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(draft, **encoded(source, vocabulary, molecules))
            draft.replace(path)
    with np.load(path) as kept:
        tokens, lengths, heavy_atoms, unknown = (kept[name] for name in (*FIELDS, "unknown"))
    offsets = np.concatenate([np.zeros(1, np.int64), lengths.cumsum(dtype=np.int64)])
    digest = hashlib.sha256(tokens.tobytes() + lengths.tobytes() + heavy_atoms.tobytes()).hexdigest()
    if unknown:
        print(f"note: {unknown} molecules of {data}-{split} have symbols outside the vocabulary", file=sys.stderr)
    return Molecules(tokens, offsets, heavy_atoms, digest)


def encoded(source: Source, vocabulary: Vocabulary, molecules: int) -> dict[str, Any]:
    """Tokens, lengths and heavy atoms of the sample, and how many of its molecules can't be spelled."""
    symbols = SymbolNumbers()
    order = source.in_random_order(BATCH_LINES, 0, lambda _: None)
    chunks = islice(order, -(-molecules // BATCH_LINES))
    with closing(encode_all(chunks, default_workers(), source.selfies, vocabulary.string)) as results:
        batches = [result.batch for result in results]
    shard = EncodedShard.join(batches, symbols, Seen(np.zeros(0, np.uint64)))
    by_split, counts = shard.pack(symbols.ids(vocabulary), Vocabulary.end_id)
    packed = [by_split[name] for name in SPLITS]  # all of a test set is for tests, whatever its hash says
    lengths = np.concatenate([each.lengths for each in packed])[:molecules]
    return {
        "tokens": np.concatenate([each.tokens for each in packed])[: lengths.sum(dtype=np.int64)],
        "lengths": lengths,
        "heavy_atoms": np.concatenate([each.heavy_atoms for each in packed])[:molecules],
        "unknown": np.array(counts[UNKNOWN_SYMBOL]),
    }

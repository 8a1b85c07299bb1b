"""Preparing a data set: SMILES to packed tokens, only as much as is asked for, resumable, shared between runs."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path

import numpy as np
import rdkit
from filelock import FileLock, Timeout

from chemscale_bench.data import chemgpt
from chemscale_bench.data.cache import home, writing
from chemscale_bench.data.layout import explain
from chemscale_bench.data.packing import DUPLICATE, SPLIT_RULE, UNKNOWN_SYMBOL, EncodedShard, Seen, SymbolNumbers
from chemscale_bench.data.progress import Progress
from chemscale_bench.data.smiles import String
from chemscale_bench.data.sources import ORDER, Source, open_source
from chemscale_bench.data.store import HASHES, SPLITS, Manifest, TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.worker import EMPTY, MAX_TOKENS, NOT_ENCODABLE, TOO_LONG, UNPARSABLE, Batch
from chemscale_bench.data.workers import default_workers, encode_all
from chemscale_bench.errors import UserError

CODEC_VERSION = 2  # raise it when the stored tokens of some molecule change
BATCH_LINES, SHARD_BATCHES = 2048, 32  # a shard is 65,536 lines
VOCABULARY_SHARDS = 2
VOCABULARIES = ("dataset", "smiles", "chemgpt")
LOCK_SECONDS = 2.0
MOST_UNSPELLED = 0.5  # of a source's first molecules; beyond this a given vocabulary does not fit the source
REFUSALS = (UNPARSABLE, NOT_ENCODABLE, TOO_LONG, UNKNOWN_SYMBOL)
COUNTED = ("read", EMPTY, DUPLICATE, *REFUSALS)


def prepare(
    data: str,
    *,
    train_tokens: int,
    validation_molecules: int,
    vocabulary: str = "dataset",
    column: str = "",
    workers: int | None = None,
) -> TokenStore:
    """Prepare a data set, or the part of it that a token budget needs.

    The source is read in one random order, the same for every run, in shards of 65,536 lines. What comes back is the
    smallest prefix of shards with enough training tokens and validation molecules, or all there is: the same arrays
    for the same call, whatever the cache holds and however many workers there are, and for every n the first n
    molecules are a uniform sample of the source. What is prepared already is not prepared again; a killed run goes on
    where it stopped.

    Args:
        data: "pubchem10m", "pubchem", "moses", "embedded", or a path to a .smi, .txt or .csv file (also .gz, .bz2,
            .xz, .zip, .zst).
        train_tokens: tokens of training data to provide, end tokens included.
        validation_molecules: molecules of validation data to provide; there are no more.
        vocabulary: "dataset" (the SELFIES symbols of the first two shards), "smiles" (the symbols of their canonical
            SMILES: the same molecules in the same order and split, but for those with a symbol that only later
            shards have) or "chemgpt" (the released 684 tokens).
        column: name of the molecules' column in the header of a file of the user's; left out, it is found.
        workers: processes that encode; by default one per core, at most 16.

    Raises:
        UserError: an argument is out of range, the data cannot be had or read, the vocabulary does not fit, or the
            cache cannot be written.
    """
    for name, value in (("train_tokens", train_tokens), ("validation_molecules", validation_molecules)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}; ask for more")
    if vocabulary not in VOCABULARIES:
        raise UserError(f"vocabulary must be one of {', '.join(VOCABULARIES)}, got {vocabulary}; choose one of them")
    if workers is not None and workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}; leave it out to use all cores")
    source = open_source(data, column)
    given = chemgpt.load() if vocabulary == "chemgpt" else None
    string: String = "smiles" if vocabulary == "smiles" else "selfies"
    folder = store_folder(source, given, string)
    manifest, waiting = Manifest.read(folder), False
    while manifest is None or manifest.enough(train_tokens, validation_molecules) is None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            try:
                # Not one long wait: another run may pass our budget on the way to a larger one of its own.
                with lock.acquire(timeout=LOCK_SECONDS):
                    manifest = Manifest.read(folder)
                    _check_versions(manifest, folder)
                    extend(
                        source,
                        given,
                        string,
                        folder,
                        manifest,
                        train_tokens,
                        validation_molecules,
                        workers or default_workers(),
                    )
            except Timeout:
                if not waiting:
                    print(f"waiting for another run that prepares {source.name}", file=sys.stderr)
                waiting = True
            manifest = Manifest.read(folder)
    _check_versions(manifest, folder)
    return _load(source, column, manifest, folder, train_tokens, validation_molecules)


def store_folder(source: Source, given: Vocabulary | None, string: String) -> Path:
    """The folder of a source, prepared by this code with this vocabulary."""
    built = "dataset" if string == "selfies" else string
    identity = {
        "source": source.sha256,
        "reading": source.reading,
        "codec": CODEC_VERSION,
        "split": SPLIT_RULE,
        "order": ORDER,
        "lines": BATCH_LINES * SHARD_BATCHES,
        "vocabulary": given.fingerprint if given else f"{built}, {VOCABULARY_SHARDS} shards",
        # Another RDKit may write another canonical SMILES: a store must not mix them.
        "rdkit": rdkit.__version__,
    }
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    return home() / "tokens" / f"{re.sub(r'[^A-Za-z0-9]+', '-', source.name)[:40].strip('-')}-{key}"


def extend(
    source: Source,
    given: Vocabulary | None,
    string: String,
    folder: Path,
    manifest: Manifest | None,
    train_tokens: int,
    validation_molecules: int,
    workers: int,
) -> None:
    """Add shards until there is enough or the source ends; the caller holds the lock."""
    if manifest and manifest.enough(train_tokens, validation_molecules) is not None:
        return
    symbols = SymbolNumbers()
    with Progress(source.name, train_tokens, validation_molecules, manifest) as progress:
        skip, seen = (len(manifest.shards), manifest.hashes(folder)) if manifest else (0, np.zeros(0, np.uint64))
        shards = encoded_shards(source, symbols, skip, Seen(seen), workers, progress, string)
        with closing(shards):
            first = [] if manifest else list(islice(shards, VOCABULARY_SHARDS))
            manifest = manifest or _begin(source, given, string, first, symbols)
            vocabulary = Vocabulary.from_json(manifest.vocabulary)
            for shard in chain(first, shards):
                packed, counts = shard.pack(symbols.ids(vocabulary), Vocabulary.end_id)
                manifest.append(folder, packed, counts, shard.hashes)
                # All shards that the vocabulary came from are encoded already: keep them.
                if (
                    len(manifest.shards) >= len(first)
                    and manifest.enough(train_tokens, validation_molecules) is not None
                ):
                    return
    manifest.complete = True
    manifest.write(folder)
    (folder / HASHES).unlink(missing_ok=True)


def encoded_shards(
    source: Source, symbols: SymbolNumbers, skip: int, seen: Seen, workers: int, progress: Progress, string: String
) -> Generator[EncodedShard, None, None]:
    """The shards of a source in order, from the one numbered `skip` on."""
    chunks = source.in_random_order(BATCH_LINES, skip * SHARD_BATCHES * BATCH_LINES, progress.indexed)
    results = encode_all(chunks, workers, source.selfies, string)
    with closing(results):
        batches: list[Batch] = []
        for result in results:
            batches.append(result.batch)
            progress.update(result)
            if len(batches) == SHARD_BATCHES:
                yield EncodedShard.join(batches, symbols, seen)
                batches = []
        if batches:
            yield EncodedShard.join(batches, symbols, seen)


def _begin(
    source: Source, given: Vocabulary | None, string: String, first: list[EncodedShard], symbols: SymbolNumbers
) -> Manifest:
    """The manifest of a new store, with the vocabulary built from its first shards unless one is given."""
    found = sum((shard.symbol_counts(symbols) for shard in first), Counter[str]())
    molecules = sum(len(shard.lengths) for shard in first)
    if not molecules:
        refused = sum((shard.counts for shard in first), Counter[str]())
        raise UserError(
            f"data must hold molecules, but none of {refused['read']} lines of {source.origin} is usable "
            f"({_reasons(refused)}; of its first line, {source.example[:60]!r}, the molecule was read as "
            f"{source.parts[0].layout.molecule(source.example)[:60]!r}); give a file with one SMILES a line"
        )
    if given is not None:
        refused = sum((shard.pack(symbols.ids(given), Vocabulary.end_id)[1] for shard in first), Counter[str]())
        unspelled = refused[UNKNOWN_SYMBOL]
        if unspelled > MOST_UNSPELLED * molecules:
            raise UserError(
                f"vocabulary=chemgpt must spell the data, but {unspelled} of its first {molecules} molecules "
                "have symbols outside it (it knows neither stereo nor salts); use vocabulary=dataset"
            )
    vocabulary = given or Vocabulary.build(found, version("selfies"), string)
    identity = [source.sha256, source.reading, ORDER, CODEC_VERSION, MAX_TOKENS, SPLIT_RULE, vocabulary.fingerprint]
    return Manifest(
        name=source.name,
        source=source.origin,
        source_sha256=source.sha256,
        digest=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        versions=_versions(),
        vocabulary=vocabulary.to_json(),
    )


def _versions() -> dict[str, str]:
    return {"selfies": version("selfies"), "rdkit": rdkit.__version__}


def _check_versions(manifest: Manifest | None, folder: Path) -> None:
    made_by = manifest.versions["selfies"] if manifest else version("selfies")
    if made_by != version("selfies"):
        raise UserError(
            f"tokens must be used with the selfies version that spelled them, {folder} has {made_by}, "
            f"installed is {version('selfies')}; pip install selfies=={made_by}, or delete the folder"
        )


def _reasons(counts: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()) if number and reason != "read")


def _load(
    source: Source, column: str, manifest: Manifest, folder: Path, train_tokens: int, validation_molecules: int
) -> TokenStore:
    shards = manifest.enough(train_tokens, validation_molecules)
    assert shards is not None
    counts = sum((Counter(shard.counts) for shard in manifest.shards[:shards]), Counter[str]())
    split_sizes = {split: manifest.total(split, shards)[0] for split in SPLITS}
    if not split_sizes["train"] or not split_sizes["validation"]:
        raise UserError(
            f"data must hold enough molecules for a validation split (5 % of them), {manifest.source} has "
            f"{split_sizes['train']} for training and {split_sizes['validation']} for validation "
            f"({_reasons(counts) or 'none refused'}), read as {explain(source.parts[0].path, column)}; "
            "give a file with at least a few hundred"
        )
    return TokenStore(
        name=manifest.name,
        digest=manifest.digest,
        vocabulary=Vocabulary.from_json(manifest.vocabulary),
        train=manifest.load(folder, "train", shards),
        validation=manifest.load(folder, "validation", shards, validation_molecules),
        test=manifest.load(folder, "test", shards),
        counts={**{reason: counts[reason] for reason in COUNTED}, **split_sizes},
        source=manifest.source,
        source_sha256=manifest.source_sha256,
        folder=folder,
    )

"""The packed token store: per split a file of tokens, of lengths and of heavy-atom counts, and a manifest of shards.

One more file holds the hashes of all molecules, by which later shards know duplicates.

The files only grow. The manifest, replaced atomically, says how much of them is valid; what lies behind is the tail
of a killed run and is cut off before the next shard is written. So any number of readers share what one process
extends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError

SPLITS = ("train", "validation", "test")
FIELDS = ("tokens", "lengths", "heavy_atoms")  # all uint16, little-endian
HASHES = "hashes"  # uint64, little-endian
SHORTER = "is shorter than its manifest says; delete the folder {folder}, so that it is prepared again"
FORMAT = 2


class Packed(NamedTuple):
    """Molecules of one split of one shard."""

    tokens: np.ndarray
    """uint16 [N], each molecule's ids and the end id."""
    lengths: np.ndarray
    """uint16 [M], tokens of each molecule, the end id included."""
    heavy_atoms: np.ndarray
    """uint16 [M]."""


@dataclass(frozen=True)
class Molecules:
    """One split.

    Example:
        The tokens of molecule `i` are `tokens[offsets[i] : offsets[i + 1]]`.
    """

    tokens: np.ndarray
    """uint16 [N], on disk: each molecule's symbols and the end id, so N counts the tokens that a model predicts."""
    offsets: np.ndarray
    """int64 [M + 1]."""
    heavy_atoms: np.ndarray
    """uint16 [M]."""
    digest: str
    """sha256 of tokens, lengths and heavy atoms."""

    def __len__(self) -> int:
        return len(self.heavy_atoms)

    def sequences(self) -> Iterator[np.ndarray]:
        """The molecules one by one: uint16 [T] views, symbols and the end id."""
        return (self.tokens[start:stop] for start, stop in pairwise(self.offsets))

    def first(self, tokens: int) -> Iterator[np.ndarray]:
        """The molecules of the first `tokens` tokens, of which a budget's training consists; the last one is cut."""
        packed = np.asarray(self.tokens)  # views of a plain array are lighter than those of a memory map
        for start, stop in pairwise(self.offsets):
            if start >= tokens:
                return
            yield packed[start : min(stop, tokens)]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [M], tokens of each molecule, the end id included."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class TokenStore:
    """A prepared data set: as much of it as was asked for."""

    name: str
    digest: str
    """Identity of source, codec, split rule and vocabulary; the same however much was prepared."""
    vocabulary: Vocabulary
    train: Molecules
    validation: Molecules
    test: Molecules
    counts: dict[str, int]
    """Lines read, molecules per split, and refused lines by reason, of the shards that this store covers."""
    source: str
    """Url or path."""
    source_sha256: str
    folder: Path


@dataclass
class Shard:
    """What one shard added to the files."""

    molecules: dict[str, int]
    """Molecules by split."""
    tokens: dict[str, int]
    """Tokens by split."""
    counts: dict[str, int]
    """Lines read, and refused lines by reason."""
    distinct: int
    """Molecules that no earlier shard has, whatever their split; those that the vocabulary can't spell included."""


@dataclass
class Manifest:
    """The state of a store, as its manifest file says it."""

    name: str
    source: str
    source_sha256: str
    digest: str
    versions: dict[str, str]
    """Versions of selfies and rdkit that made the tokens."""
    vocabulary: dict[str, Any]
    format: int = FORMAT
    complete: bool = False
    """Whether the source has ended."""
    shards: list[Shard] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a folder; None where nothing was prepared yet.

        Raises:
            UserError: the file is not a manifest of this format, or may not be read.
        """
        file = folder / "manifest.json"
        try:
            content = json.loads(file.read_text())
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}")
            return cls(**{**content, "shards": [Shard(**shard) for shard in content["shards"]]})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise UserError(
                f"the cache must be readable, but {file} is not; change its permissions, or set CHEMSCALE_HOME to "
                "another folder"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} must be a manifest of format {FORMAT}, but is not ({error}); delete the folder {folder}, "
                "so that it is prepared again"
            ) from None

    def write(self, folder: Path) -> None:
        """Replace the manifest file."""
        temporary = folder / "manifest.json.tmp"
        with temporary.open("w") as stream:
            json.dump(asdict(self), stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, folder / "manifest.json")

    def enough(self, train_tokens: int, validation_molecules: int) -> int | None:
        """Number of shards in the smallest prefix that has this much; None where more must be prepared."""
        tokens = molecules = 0
        for i, shard in enumerate(self.shards):
            tokens += shard.tokens["train"]
            molecules += shard.molecules["validation"]
            if tokens >= train_tokens and molecules >= validation_molecules:
                return i + 1
        return len(self.shards) if self.complete else None

    def total(self, split: str, shards: int | None = None) -> tuple[int, int]:
        """Molecules and tokens of a split in the first shards."""
        chosen = self.shards[:shards]
        return sum(s.molecules[split] for s in chosen), sum(s.tokens[split] for s in chosen)

    def append(self, folder: Path, packed: dict[str, Packed], counts: Counter[str], hashes: np.ndarray) -> None:
        """Add a shard to the files and to the manifest; on an error the files keep their valid length."""
        try:
            for split in SPLITS:
                for name, values in packed[split]._asdict().items():
                    _extend(_file(folder, split, name), 2 * self._valid(split, name), values.astype("<u2", copy=False))
            _extend(folder / HASHES, 8 * self.distinct, hashes.astype("<u8", copy=False))
            shard = Shard(
                {split: len(packed[split].lengths) for split in SPLITS},
                {split: len(packed[split].tokens) for split in SPLITS},
                dict(counts),
                len(hashes),
            )
            self.shards.append(shard)
            self.write(folder)
        except BaseException:
            self._cut(folder)
            raise

    @property
    def distinct(self) -> int:
        """Molecules of all shards, whatever their split."""
        return sum(shard.distinct for shard in self.shards)

    def hashes(self, folder: Path) -> np.ndarray:
        """The hashes of all molecules, uint64 [M]."""
        found = np.fromfile(folder / HASHES, "<u8", self.distinct) if self.shards else np.zeros(0, np.uint64)
        if len(found) != self.distinct:
            raise UserError(f"{folder / HASHES} {SHORTER.format(folder=folder)}")
        return found

    def _valid(self, split: str, name: str) -> int:
        molecules, tokens = self.total(split)
        return tokens if name == "tokens" else molecules

    def _cut(self, folder: Path) -> None:
        saved = Manifest.read(folder)
        sizes = {_file(folder, split, name): 2 * (saved._valid(split, name) if saved else 0)
                 for split in SPLITS for name in FIELDS}  # fmt: skip
        for file, size in (sizes | {folder / HASHES: 8 * (saved.distinct if saved else 0)}).items():
            if file.exists():
                os.truncate(file, size)
        (folder / "manifest.json.tmp").unlink(missing_ok=True)

    def load(self, folder: Path, split: str, shards: int, molecules: int | None = None) -> Molecules:
        """A split of the first shards, cut to its first molecules where a number is given."""
        count, tokens = self.total(split, shards)
        count = count if molecules is None else min(count, molecules)
        lengths = np.fromfile(_file(folder, split, "lengths"), "<u2", count)
        heavy_atoms = np.fromfile(_file(folder, split, "heavy_atoms"), "<u2", count)
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        file = _file(folder, split, "tokens")
        if len(lengths) != count or len(heavy_atoms) != count or file.stat().st_size < 2 * tokens:
            raise UserError(f"{file} {SHORTER.format(folder=folder)}")
        size = int(offsets[-1])
        digest = hashlib.sha256()
        # Read, not mapped: hashing a map would count the whole file as this process's memory.
        with file.open("rb") as stream:
            for start in range(0, 2 * size, 1 << 22):
                digest.update(stream.read(min(1 << 22, 2 * size - start)))
        digest.update(lengths.tobytes() + heavy_atoms.tobytes())
        mapped = np.memmap(file, "<u2", "r", shape=(size,)) if size else np.zeros(0, np.uint16)
        return Molecules(mapped, offsets, heavy_atoms, digest.hexdigest())


def _extend(file: Path, valid: int, values: np.ndarray) -> None:
    """Write values behind the first `valid` bytes of a file."""
    with file.open("ab") as stream:
        stream.truncate(valid)
        stream.write(values.tobytes())
        stream.flush()
        os.fsync(stream.fileno())


def _file(folder: Path, split: str, name: str) -> Path:
    return folder / f"{split}.{name}"

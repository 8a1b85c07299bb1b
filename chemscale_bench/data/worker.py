"""What one process does: molecules as text to canonical molecules, symbols, hashes and counts."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sys
from collections import Counter
from itertools import compress
from typing import NamedTuple

import numpy as np
import selfies
from rdkit import Chem, rdBase
from selfies.compatibility import modernize_symbol

from chemscale_bench.data.codec import Codec, Encoded, warm_up
from chemscale_bench.data.smiles import SmilesCodec

MAX_TOKENS = 512  # symbols and end of a molecule; longer ones are counted as too long
MAX_SMILES = 16_384  # characters; far above what 512 tokens can take, so that nobody waits for RDKit on garbage
UNPARSABLE, NOT_ENCODABLE, TOO_LONG, EMPTY = "unparsable", "not_encodable", "too_long", "empty"


class Batch(NamedTuple):
    """The molecules of some lines, in their order, refused ones left out."""

    numbers: np.ndarray
    """uint16 [N], places in `symbols`, the molecules one after another."""
    lengths: np.ndarray
    """int64 [M], symbols of each molecule."""
    heavy_atoms: np.ndarray
    """uint16 [M]."""
    hashes: np.ndarray
    """uint64 [M], from the SELFIES: equal for molecules that a model of SELFIES cannot tell apart, uniform."""
    symbols: list[str]
    """The symbols that occur."""
    counts: Counter[str]
    """Refused lines by reason, and `read`: all lines."""


def molecule_hash(selfies_string: str) -> int:
    """64 uniform bits of a molecule's SELFIES; they decide on its split and on what it is a duplicate of."""
    return int.from_bytes(hashlib.blake2b(selfies_string.encode(), digest_size=8).digest(), "big")


def parse(text: str, is_selfies: bool) -> Chem.Mol | None:
    """The molecule of a SMILES or SELFIES without atom-map numbers, which would decide on the order of its atoms."""
    if is_selfies:
        try:
            text = selfies.decoder("".join(map(modernize_symbol, selfies.split_selfies(text))))
        except (selfies.DecoderError, ValueError):
            return None
    molecule = Chem.MolFromSmiles(text)
    if molecule is not None and ":" in text:
        for atom in molecule.GetAtoms():
            atom.SetAtomMapNum(0)
        Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)  # it may have rested on the numbers
    return molecule


def encode_lines(
    codec: Codec, lines: list[str], is_selfies: bool = False, smiles_codec: SmilesCodec | None = None
) -> Batch:
    """Parse, canonicalise, encode.

    The symbols are those of `selfies.encoder` on RDKit's isomeric SMILES, or with a `smiles_codec` those of that
    SMILES. Which molecules there are, their order, their split and what is a duplicate is the same of both.
    """
    counts: Counter[str] = Counter(read=len(lines))
    canonical: list[str] = []
    heavy: list[int] = []
    with rdBase.BlockLogs():
        for line in lines:
            if not line:
                counts[EMPTY] += 1
            elif len(line) > MAX_SMILES:
                counts[TOO_LONG] += 1
            elif (molecule := parse(line, is_selfies)) is None:
                counts[UNPARSABLE] += 1
            elif not molecule.GetNumAtoms():
                counts[EMPTY] += 1
            else:
                canonical.append(Chem.MolToSmiles(molecule))
                heavy.append(molecule.GetNumHeavyAtoms())
    kept, numbers, lengths = fitting(codec.encode(canonical), counts)
    heavy_atoms = np.array(heavy, np.int64)[kept].astype(np.uint16)
    spelled = [codec.symbols[number] for number in numbers]
    ends = np.cumsum(lengths).tolist()
    hashes = [molecule_hash("".join(spelled[start:end])) for start, end in zip([0, *ends], ends, strict=False)]
    known = codec.symbols
    if smiles_codec:
        fits, numbers, lengths = fitting(smiles_codec.encode(list(compress(canonical, kept))), counts)
        heavy_atoms, hashes, known = heavy_atoms[fits], list(compress(hashes, fits)), smiles_codec.symbols
    present, numbers = np.unique(numbers, return_inverse=True)
    symbols = [known[number] for number in present]
    return Batch(numbers.astype(np.uint16), lengths, heavy_atoms, np.array(hashes, np.uint64), symbols, counts)


def fitting(encoded: Encoded, counts: Counter[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which molecules have symbols and not too many, with their symbols and how many each has; counts the others."""
    fits = (encoded.lengths > 0) & (encoded.lengths < MAX_TOKENS)
    counts[NOT_ENCODABLE] += int((encoded.lengths == 0).sum())
    counts[TOO_LONG] += int((encoded.lengths >= MAX_TOKENS).sum())
    return fits, encoded.symbols[np.repeat(fits, encoded.lengths)], encoded.lengths[fits]


def serve() -> None:
    """Answer batches of lines from standard input on standard output until the other side goes away.

    A request is 8 bytes of length, a byte that is 1 for lines of SELFIES, one that is 1 if SMILES are wanted, and the
    lines.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent ends us by closing the pipe
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not enter the answers
    warm_up()
    codec, smiles_codec = Codec(), SmilesCodec()
    while head := requests.read(8):
        request = requests.read(int.from_bytes(head, "big"))
        lines = request[2:].decode("utf-8").split("\n")
        batch = encode_lines(codec, lines, bool(request[0]), smiles_codec if request[1] else None)
        reply = pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL)
        replies.write(len(reply).to_bytes(8, "big") + reply)
        replies.flush()


if __name__ == "__main__":
    serve()

"""Molecules to the ids that a model reads, one by one and in their order, each refused one with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem, rdBase

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.packing import UNKNOWN_SYMBOL
from chemscale_bench.data.smiles import SmilesCodec
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.worker import EMPTY, MAX_SMILES, MAX_TOKENS, NOT_ENCODABLE, TOO_LONG, UNPARSABLE, parse


class Spelled(NamedTuple):
    """Molecules as ids. N symbols of all molecules, M molecules."""

    ids: np.ndarray
    """int64 [N], without start and end, the molecules one after another."""
    lengths: np.ndarray
    """int64 [M]; 0 for a molecule that was refused."""
    reasons: list[str]
    """Of each molecule why it was refused, an empty text if it was not."""


def spell(smiles: Sequence[str], vocabulary: Vocabulary, codec: Codec | SmilesCodec) -> Spelled:
    """The ids of molecules as training has them: of RDKit's canonical SMILES, or of its SELFIES.

    Args:
        smiles: one molecule each, in SMILES.
        vocabulary: of the model.
        codec: of the vocabulary (see `codec_for`); it gets faster with every molecule.
    """
    reasons, canonical = [""] * len(smiles), [""] * len(smiles)
    with rdBase.BlockLogs():
        for place, text in enumerate(smiles):
            reasons[place], canonical[place] = canonical_of(text)
    fine = np.array([not reason for reason in reasons], bool)
    encoded = codec.encode([text for text, good in zip(canonical, fine, strict=True) if good])
    lengths = np.zeros(len(smiles), np.int64)
    lengths[fine] = encoded.lengths
    known = np.array([vocabulary.ids.get(symbol, -1) for symbol in codec.symbols], np.int64)
    ids = known[encoded.symbols]
    owner = np.repeat(np.arange(len(smiles)), lengths)
    unknown = np.bincount(owner, ids < 0, len(smiles)) > 0
    for refused, reason in (
        (fine & (lengths == 0), NOT_ENCODABLE), (unknown, UNKNOWN_SYMBOL), (lengths >= MAX_TOKENS, TOO_LONG),
    ):  # fmt: skip
        for place in np.flatnonzero(refused).tolist():
            reasons[place] = reason
    kept = np.array([not reason for reason in reasons], bool)
    return Spelled(ids[kept[owner]], np.where(kept, lengths, 0), reasons)


def canonical_of(text: str) -> tuple[str, str]:
    """Why a SMILES cannot be read, and its canonical form if it can."""
    if not isinstance(text, str) or not text.strip():
        return EMPTY, ""
    if len(text) > MAX_SMILES:
        return TOO_LONG, ""
    molecule = parse(text.strip(), is_selfies=False)
    if molecule is None:
        return UNPARSABLE, ""
    if not molecule.GetNumAtoms():
        return EMPTY, ""
    return "", Chem.MolToSmiles(molecule)

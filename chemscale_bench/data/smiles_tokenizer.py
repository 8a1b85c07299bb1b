"""A tokenizer of `transformers` that takes SMILES; every saved language model carries a copy of this file.

It runs only for whoever asks for it, by `AutoTokenizer.from_pretrained(folder, trust_remote_code=True)`.
"""

from __future__ import annotations

from typing import Any

import selfies
from rdkit import Chem
from transformers import PreTrainedTokenizerFast


class SmilesTokenizer(PreTrainedTokenizerFast):
    """Reads SMILES as the training did: canonical, without atom-map numbers, as SELFIES. `decode` gives SELFIES."""

    def __call__(self, text: str | list[str], *args: Any, **kwargs: Any) -> Any:
        """The tokens of one molecule or of a list of them."""
        return super().__call__(to_selfies(text), *args, **kwargs)

    def encode(self, text: str, *args: Any, **kwargs: Any) -> Any:
        """The ids of one molecule."""
        return super().encode(to_selfies(text), *args, **kwargs)

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        """The symbols of one molecule."""
        return list(super().tokenize(to_selfies(text), *args, **kwargs))


def to_selfies(text: Any) -> Any:
    """SELFIES of SMILES, in the same lists.

    Raises:
        ValueError: for what is no SMILES.
    """
    if isinstance(text, (list, tuple)):
        return [to_selfies(part) for part in text]
    molecule = Chem.MolFromSmiles(text)
    if molecule is None or not molecule.GetNumAtoms():
        raise ValueError(
            f"text must be SMILES, which RDKit reads, got {text[:60]!r}; for SELFIES load the tokenizer without "
            "trust_remote_code"
        )
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)  # it may have rested on the numbers
    return selfies.encoder(Chem.MolToSmiles(molecule))

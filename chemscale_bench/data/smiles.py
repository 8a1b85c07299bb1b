"""SMILES to its symbols: an atom, a bond, a bracket, a branch or a ring closure each.

The pattern is that of Schwaller et al., Molecular Transformer (2019), which MolGPT and Chemformer take as well.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from chemscale_bench.data.codec import Codec, Encoded

String = Literal["selfies", "smiles"]
"""How molecules are written."""
PATTERN = r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$|%[0-9]{2}|[0-9]"


class SmilesCodec:
    """Splits SMILES, and numbers the symbols in the order in which it meets them, as `Codec` does those of SELFIES.

    Example:
        >>> codec = SmilesCodec()
        >>> [codec.symbols[number] for number in codec.encode(["ClC=C"]).symbols]
        ['Cl', 'C', '=', 'C']
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._split = re.compile(PATTERN).findall

    def encode(self, smiles: list[str]) -> Encoded:
        """The symbols of each; none where a part of the text is no symbol."""
        pieces: list[int] = []
        lengths = np.zeros(len(smiles), np.int64)
        for place, text in enumerate(smiles):
            found = self._split(text)
            if "".join(found) == text:
                lengths[place] = len(found)
                pieces += [self._numbers.setdefault(symbol, len(self._numbers)) for symbol in found]
        return Encoded(np.array(pieces, np.int32), lengths)

    @property
    def symbols(self) -> list[str]:
        """The symbol of each number."""
        return list(self._numbers)


def codec_for(string: String) -> Codec | SmilesCodec:
    """What makes symbols of canonical SMILES."""
    return SmilesCodec() if string == "smiles" else Codec()

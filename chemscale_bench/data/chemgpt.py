"""The vocabulary of the released ChemGPT models: 684 tokens, spelled as SELFIES 1.0.4 did.

Checked against selfies 1.0.4: its symbols, modernised by `selfies.compatibility`, are those of selfies 2.x. For about
4 % of molecules the two versions choose different Kekule structures (equally long strings), so ids may differ there
in bond orders.
"""

from __future__ import annotations

import os
from pathlib import Path

from chemscale_bench.data.download import fetch
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError

COMMIT = "d355ccac45e3b6299d1773c536ad7617e49a6b8a"
URL = f"https://raw.githubusercontent.com/ncfrey/litmatter/{COMMIT}/tokenizers/pubchem10M_tokenizer/tokenizer.json"
SHA256 = "fee4dad651e2edb49afb5d6aa3e4fea437e08c740c80b6d1d6e1909ad2b30100"
VARIABLE = "CHEMSCALE_CHEMGPT_TOKENIZER"
WITHOUT = f"point {VARIABLE} to a copy, or use vocabulary=dataset"


def load() -> Vocabulary:
    """The released vocabulary in SELFIES 2.x spelling; ids are those of the released tokenizer.

    The file `tokenizer.json` is downloaded once; the environment variable CHEMSCALE_CHEMGPT_TOKENIZER can name a copy
    of it.

    Raises:
        UserError: the file cannot be had, or is not such a tokenizer.
    """
    given = os.environ.get(VARIABLE)
    file = Path(given).expanduser() if given else fetch("chemgpt_tokenizer.json", (URL,), SHA256, WITHOUT)
    try:
        return Vocabulary.read_tokenizer(file)
    except ValueError as error:
        raise UserError(
            f"vocabulary=chemgpt needs the tokenizer.json of a released ChemGPT, {file} is not one ({error}); "
            f"point {VARIABLE} to one, or unset it"
        ) from None

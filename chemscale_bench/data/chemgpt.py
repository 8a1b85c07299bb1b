"""The vocabulary of the released ChemGPT models: 684 tokens, spelled as SELFIES 1.0.4 did.

Checked against selfies 1.0.4: its symbols, modernised by `selfies.compatibility`, are those of selfies 2.x. For about
4 % of molecules the two versions choose different Kekule structures (equally long strings), so ids may differ there
in bond orders.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

from selfies.compatibility import modernize_symbol

from chemscale_bench.data.download import fetch
from chemscale_bench.data.vocabulary import SPECIAL, Vocabulary
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
        return read(file)
    except ValueError as error:
        raise UserError(
            f"vocabulary=chemgpt needs the tokenizer.json of a released ChemGPT, {file} is not one ({error}); "
            f"point {VARIABLE} to one, or unset it"
        ) from None


def read(file: Path) -> Vocabulary:
    """The vocabulary of a tokenizer.json, ours or a released one, in SELFIES 2.x spelling.

    Raises:
        ValueError: the file cannot be read, or is not such a tokenizer.
    """
    try:
        ids: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        tokens = sorted(ids, key=ids.__getitem__)
        numbered = [ids[token] for token in tokens] == list(range(len(tokens)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if not numbered or tuple(tokens[: len(SPECIAL)]) != SPECIAL:
        raise ValueError("its ids do not start with the special tokens of ChemGPT")
    return Vocabulary(tuple(_modern(token) for token in tokens), version("selfies"))


def _modern(token: str) -> str:
    """SELFIES 2.x spelling of a whole symbol; the pieces of symbols that the tokenizer also has stay as they are."""
    whole = token.startswith("[") and token.endswith("]") and token not in SPECIAL
    return str(modernize_symbol(token)) if whole else token

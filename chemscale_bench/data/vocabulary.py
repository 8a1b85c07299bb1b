"""The vocabulary: which symbol has which id, and the tokenizer files that say the same to `transformers`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from selfies.compatibility import modernize_symbol
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from chemscale_bench.data.kernel.tokenizing import SymbolTable, symbol_table, tokenize
from chemscale_bench.data.smiles import PATTERN, SmilesCodec, String
from chemscale_bench.errors import UserError

SMILES = json.dumps(PATTERN)
SPECIAL = ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]")
SMILES_TOKENIZER = Path(__file__).with_name("smiles_tokenizer.py")
"""Written beside tokenizer files, which by themselves can read no SMILES."""


def modern(token: str) -> str:
    """SELFIES 2.x spelling of a whole symbol; special tokens and pieces of symbols stay as they are."""
    whole = token.startswith("[") and token.endswith("]") and token not in SPECIAL
    return str(modernize_symbol(token)) if whole else token


SELFIES_CARD = """# A language model of molecules

Its tokens are SELFIES symbols. From SMILES, with `pip install selfies=={version} rdkit`:

```python
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("this/folder", trust_remote_code=True)
tokenizer("CCO")["input_ids"]  # [C][C][O] between bos and eos
```

Without `trust_remote_code=True`, which runs `smiles_tokenizer.py` of this folder, the tokenizer takes SELFIES, not
SMILES, and makes `[UNK]` of `CCO`; `tokenizer(selfies.encoder("CCO"))` gives the same ids as above.

`chemscale_bench.load("this/folder").loss(["CCO"])` takes SMILES and converts them itself.
"""
"""README.md beside a saved tokenizer of SELFIES."""
SMILES_CARD = """# A language model of molecules

Its tokenizer takes canonical SMILES as RDKit writes them; each atom, bond, bracket and ring closure is a token:

```python
from rdkit import Chem
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("this/folder")
ids = tokenizer(Chem.MolToSmiles(Chem.MolFromSmiles("OCC")))["input_ids"]  # C C O between bos and eos
```

`chemscale_bench.load("this/folder").loss(["OCC"])` takes any SMILES and writes them so itself.
"""
"""The same of SMILES."""


@dataclass(frozen=True)
class Vocabulary:
    """Symbols and their ids, in the layout of the released ChemGPT tokenizer: five special tokens, then symbols.

    Example:
        >>> vocabulary = Vocabulary.build({"[C]": 2, "[=C]": 1, "[F]": 1}, selfies_version="2.2.0")
        >>> vocabulary.encode("[C][=C][F]").tolist()
        [5, 6, 7]
        >>> vocabulary.decode([5, 6, 7])
        '[C][=C][F]'
    """

    symbols: tuple[str, ...]
    """Symbol of each id, special tokens included."""
    selfies_version: str
    """Version of the selfies package that the symbols were spelled by; with SMILES, that the split rests on."""
    string: String = "selfies"
    """Whether the symbols are those of SELFIES or of SMILES."""

    unknown_id: ClassVar[int] = 0
    pad_id: ClassVar[int] = 1
    start_id: ClassVar[int] = 2
    end_id: ClassVar[int] = 3
    mask_id: ClassVar[int] = 4

    @classmethod
    def build(
        cls, counts: Counter[str] | dict[str, int], selfies_version: str, string: String = "selfies"
    ) -> Vocabulary:
        """Order the counted symbols by frequency, ties by name."""
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        return cls((*SPECIAL, *ranked), selfies_version, string)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.symbols)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the symbols in their order."""
        return hashlib.sha256(json.dumps(self.symbols).encode()).hexdigest()[:16]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each symbol that is not a special token."""
        return {symbol: i for i, symbol in enumerate(self.symbols) if i >= len(SPECIAL)}

    def encode(self, string: str) -> np.ndarray:
        """Ids of a molecule, uint16 [T], without start and end; a symbol outside gives the unknown id."""
        return self.encode_many([string])[0]

    def encode_many(self, strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of many strings, one after another.

        Returns:
            Ids, uint16 [N], and the number of ids of each string, int64 [M].
        """
        if self.string == "smiles":
            codec = SmilesCodec()
            found = codec.encode(list(strings))
            known = np.array([self.ids.get(symbol, self.unknown_id) for symbol in codec.symbols], np.uint16)
            return known[found.symbols], found.lengths
        # One line per string is what the kernel counts on.
        lines = "".join([string.replace("\n", " ") + "\n" for string in strings])
        text = np.frombuffer(lines.encode("ascii", "replace"), np.uint8)
        ids, lengths = np.empty(text.size, np.uint16), np.zeros(len(strings), np.int64)
        return ids[: tokenize(text, self._table, self.unknown_id, ids, lengths)].copy(), lengths

    @cached_property
    def _table(self) -> SymbolTable:
        return symbol_table(self.ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The string of some ids: start and padding are left out, the end id ends it."""
        pieces = []
        for i in ids:
            if i == self.end_id:
                break
            if i not in (self.start_id, self.pad_id):
                pieces.append(self.symbols[i])
        return "".join(pieces)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs."""
        written = {} if self.string == "selfies" else {"string": self.string}
        return {"symbols": list(self.symbols), "selfies_version": self.selfies_version, **written}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Vocabulary:
        """The vocabulary that `to_json` described."""
        return cls(tuple(content["symbols"]), content["selfies_version"], content.get("string", "selfies"))

    @classmethod
    def load_pretrained(cls, folder: Path) -> Vocabulary:
        """The vocabulary of the tokenizer files of a folder, in SELFIES 2.x spelling whoever wrote them.

        Raises:
            UserError: if there is no tokenizer, or none of ChemGPT's kind.
        """
        try:
            return cls.read_tokenizer(folder / "tokenizer.json")
        except ValueError as error:
            raise UserError(
                f"a checkpoint must come with the tokenizer.json of its vocabulary, {folder} has none that fits "
                f"({error}); copy it there from where the checkpoint is from"
            ) from None

    @classmethod
    def read_tokenizer(cls, file: Path) -> Vocabulary:
        """The vocabulary of a tokenizer.json, in SELFIES 2.x spelling whoever wrote it.

        Raises:
            ValueError: if it cannot be read, or is not of ChemGPT's kind.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            ids: dict[str, int] = content["model"]["vocab"]
            symbols = sorted(ids, key=ids.__getitem__)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error) or type(error).__name__) from None
        if [ids[symbol] for symbol in symbols] != list(range(len(symbols))):
            raise ValueError("its ids have gaps")
        if tuple(symbols[: len(SPECIAL)]) != SPECIAL:
            raise ValueError(f"it does not begin with {' '.join(SPECIAL)}")
        if SMILES in json.dumps(content.get("pre_tokenizer")):
            return cls(tuple(symbols), version("selfies"), "smiles")
        return cls(tuple(modern(symbol) for symbol in symbols), version("selfies"))

    def save_pretrained(self, folder: Path | str) -> None:
        """Write tokenizer files, so that `transformers.AutoTokenizer.from_pretrained(folder)` gives [CLS] ids [SEP]."""
        tokenizer = Tokenizer(models.WordLevel({s: i for i, s in enumerate(self.symbols)}, unk_token=SPECIAL[0]))
        tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
        tokenizer.pre_tokenizer = pre_tokenizers.Split(
            Regex(PATTERN if self.string == "smiles" else r"\[.*?\]|\."), "isolated"
        )
        start, end = SPECIAL[self.start_id], SPECIAL[self.end_id]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A {end}", special_tokens=[(start, self.start_id), (end, self.end_id)]
        )
        tokenizer.decoder = decoders.Fuse()
        roles = dict(zip(("unk_token", "pad_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            # transformers 4 would add token_type_ids, which GPT-Neo takes for tokens to embed.
            "model_input_names": ["input_ids", "attention_mask"],
            "selfies_version": self.selfies_version,
            # The same tokens by the names that generation asks for.
            "bos_token": start,
            "eos_token": end,
            "takes": "canonical SMILES",
            **roles,
        }
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        if self.string == "selfies":
            shutil.copyfile(SMILES_TOKENIZER, folder / SMILES_TOKENIZER.name)
            config["takes"] = "SELFIES; with trust_remote_code=True SMILES"
            # Read with trust_remote_code alone.
            config["auto_map"] = {"AutoTokenizer": [None, f"{SMILES_TOKENIZER.stem}.SmilesTokenizer"]}
        card = SMILES_CARD if self.string == "smiles" else SELFIES_CARD.format(version=self.selfies_version)
        (folder / "README.md").write_text(card)
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
        (folder / "special_tokens_map.json").write_text(json.dumps(roles, indent=2) + "\n")

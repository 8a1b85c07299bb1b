"""Molecules as SMILES: their symbols, and the same molecules in the same order and split as in SELFIES."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import selfies
from rdkit import Chem
from transformers import AutoTokenizer

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.smiles import SmilesCodec
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.store import SPLITS, Molecules, TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.worker import encode_lines

ALL = 10**9


def written(store: TokenStore, split: str) -> list[str]:
    molecules: Molecules = getattr(store, split)
    return [store.vocabulary.decode(sequence.tolist()) for sequence in molecules.sequences()]


def test_a_symbol_is_an_atom_a_bond_a_bracket_or_a_ring_closure() -> None:
    codec = SmilesCodec()
    texts = [r"C/C=C\[C@@H](Cl)Br", "c1ccc2[nH]ccc2c1", "C%12CC%12", "[Na+].[O-]C#N", "C{C}", ""]
    encoded = codec.encode(texts)
    ends = np.cumsum(encoded.lengths)
    found = [[codec.symbols[number] for number in part] for part in np.split(encoded.symbols, ends[:-1])]
    assert found == [
        ["C", "/", "C", "=", "C", "\\", "[C@@H]", "(", "Cl", ")", "Br"],
        ["c", "1", "c", "c", "c", "2", "[nH]", "c", "c", "c", "2", "c", "1"],
        ["C", "%12", "C", "C", "%12"],
        ["[Na+]", ".", "[O-]", "C", "#", "N"],
        [], [],
    ]  # fmt: skip
    again = codec.encode(texts[:1])
    assert again.symbols.tolist() == encoded.symbols[: ends[0]].tolist(), "numbers stay"


def test_every_atom_of_real_molecules_is_a_symbol(molecules: list[str]) -> None:
    parsed = [mol for mol in map(Chem.MolFromSmiles, molecules) if mol is not None]
    codec = SmilesCodec()
    encoded = codec.encode([Chem.MolToSmiles(mol) for mol in parsed])
    assert encoded.lengths.min() > 0
    is_atom = np.array([symbol[0].isalpha() or symbol[0] in "[*" for symbol in codec.symbols])
    owner = np.repeat(np.arange(len(parsed)), encoded.lengths)
    atoms = np.bincount(owner, is_atom[encoded.symbols])
    assert atoms.tolist() == [mol.GetNumAtoms() for mol in parsed]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_molecules_are_those_of_selfies(smi: Path, workers: int) -> None:
    asked = {"train_tokens": ALL, "validation_molecules": ALL, "workers": workers}
    ours = prepare(str(smi), vocabulary="smiles", **asked)
    theirs = prepare(str(smi), **asked)
    assert ours.counts == theirs.counts
    assert ours.digest != theirs.digest
    assert ours.vocabulary.string == "smiles"
    for split in SPLITS:
        here, there = written(ours, split), written(theirs, split)
        assert len(here) == len(there) > 50
        assert [selfies.encoder(smiles) for smiles in here] == there
        assert np.array_equal(getattr(ours, split).heavy_atoms, getattr(theirs, split).heavy_atoms)
    assert written(ours, "train")[0] == Chem.CanonSmiles(written(ours, "train")[0])


def test_what_is_too_long_in_smiles_alone_is_left_out_and_counted() -> None:
    many = "C(C)" * 130 + "C"  # 521 symbols
    batch = encode_lines(Codec(), ["CCO", many, "CC"], smiles_codec=SmilesCodec())
    alone = encode_lines(Codec(), ["CCO", many, "CC"])
    assert batch.counts["too_long"] == 1
    assert batch.lengths.tolist() == [3, 2]
    assert batch.heavy_atoms.tolist() == [3, 2]
    assert [batch.symbols[number] for number in batch.numbers] == ["C", "C", "O", "C", "C"]
    assert batch.hashes.tolist() == alone.hashes[[0, -1]].tolist()


def test_a_saved_tokenizer_is_one_of_smiles(molecules: list[str], tmp_path: Path) -> None:
    smiles = [Chem.CanonSmiles(text) for text in molecules[:200] if Chem.MolFromSmiles(text) is not None]
    codec = SmilesCodec()
    codec.encode(smiles)
    vocabulary = Vocabulary.build(dict.fromkeys(codec.symbols, 1), selfies.__version__, "smiles")
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    vocabulary.save_pretrained(tmp_path)
    again = Vocabulary.load_pretrained(tmp_path)
    assert (again.symbols, again.string) == (vocabulary.symbols, "smiles")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in smiles:
        ids = vocabulary.encode(text).tolist()
        assert tokenizer(text)["input_ids"] == [2, *ids, 3]
        assert tokenizer.decode(ids) == text == vocabulary.decode(ids)
    assert "takes canonical SMILES" in (tmp_path / "README.md").read_text()
    found = spell(["OCC", "CCO", "not one", "[Uue]C"], vocabulary, codec)
    assert found.lengths.tolist() == [3, 3, 0, 0]
    assert found.ids[:3].tolist() == found.ids[3:].tolist() == vocabulary.encode("CCO").tolist()

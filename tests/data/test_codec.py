"""The codec gives what `selfies.encoder` gives, symbol for symbol, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import selfies

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.kernel import tables

HARD = [
    "C", "[H][H]", "[Na+].[Cl-]", "[13CH4]", "[C]", "[CH0]", "C#N", "C1CC1", "c1ccccc1", "c1ccc2[nH]ccc2c1",
    "C%12CC%12", "c1ccc2c(c1)c1ccccc1c1ccccc21", "O=c1[nH]cnc2nc[nH]c12", "C[n+]1ccccc1", "[O-][n+]1ccccc1",
    "c1cc[se]c1", "B(O)O", "N[C@@H](C)C(=O)O", "C[C@H]1CC[C@@H](O)CC1", "C1C[C@]2(C)CC[C@@H]1C2", "F/C=C/F",
    "F/C=C\\F", "C/1=C/CCCCCC1", "C1=C\\CCCCCC/1", "CC(C)(C)c1cc(cc(c1)C(C)(C)C)O", "CS(=O)(=O)c1ccc(cc1)-c1ccccc1",
    "[Fe+2]", "OP(O)(O)=O", "C" * 400, "C(C(C)C)1CC1", "C(CC1)1C", "FC(F)(F)C(F)(F)C(F)(F)F", "[nH]1cccc1",
    "c1ccc(cc1)[P+](c1ccccc1)(c1ccccc1)c1ccccc1", "O=[N+]([O-])c1ccccc1", "[2H]C([2H])([2H])O", "c1ccc:c:c1",
    "C-C=C-C", "C1CCCCCCCCCCCCCCCCCCCCCCCCCC1", "c1cscc1", "s1cccc1",
]  # fmt: skip
REFUSED = [
    "", "X", "C(", "C)", "C1CC", "C11", "C=", "[", "[C", "[Xx]", "*", "C$C", "c1cccc1", "CN(C)(C)(C)C", "FI(F)F",
    "O=Cl(=O)(=O)O", "C(=O)(=O)(=O)C", "C12CC12", "C=1CC#1", "[C@TH1](F)(Cl)(Br)I", "C()C", "(C)", "1CC1", "C~C",
    "[CH9]",
]  # fmt: skip


def by_selfies(smiles: str) -> list[str]:
    try:
        return list(selfies.split_selfies(selfies.encoder(smiles)))
    except (selfies.EncoderError, IndexError):  # C11 raises the latter
        return []


def by_codec(codec: Codec, smiles: list[str]) -> list[list[str]]:
    encoded, at, molecules = codec.encode(smiles), 0, []
    for length in encoded.lengths:
        molecules.append([codec.symbols[number] for number in encoded.symbols[at : at + length]])
        at += length
    assert at == len(encoded.symbols)
    return molecules


@pytest.mark.parametrize("smiles", HARD)
def test_hard_molecules_equal_selfies(smiles: str) -> None:
    expected = by_selfies(smiles)
    assert expected
    assert by_codec(Codec(), [smiles]) == [expected]


@pytest.mark.parametrize("smiles", REFUSED)
def test_what_selfies_refuses_is_refused(smiles: str) -> None:
    assert by_codec(Codec(), ["CC", smiles, "CO"]) == [["[C]", "[C]"], by_selfies(smiles), ["[C]", "[O]"]]
    assert by_selfies(smiles) == []


@pytest.mark.parametrize("name", ["molecules/pubchem_deposits.smi.xz", "molecules/zinc_decoys.smi.xz"])
def test_real_molecules_equal_selfies(name: str, sample: Callable[[str, int], list[str]]) -> None:
    smiles = sample(name, 2500)
    assert by_codec(Codec(), smiles) == [by_selfies(text) for text in smiles]


def test_embedded_molecules_equal_selfies_as_written(molecules: list[str]) -> None:
    """Not canonical: the kernel must read what people write, too."""
    assert by_codec(Codec(), molecules[:2500]) == [by_selfies(text) for text in molecules[:2500]]


def test_the_kernel_takes_nearly_every_molecule(molecules: list[str]) -> None:
    codec = Codec()
    codec.encode(molecules)
    status = codec._run(molecules)[2]
    assert (status == tables.DONE).mean() > 0.99


def test_more_brackets_than_the_table_holds_still_equal_selfies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chemscale_bench.data.codec.MAX_KINDS", 40)
    smiles = [f"[{isotope}CH3]O" for isotope in range(10, 60)]
    assert by_codec(Codec(), smiles) == [by_selfies(text) for text in smiles]


def test_nothing_gives_nothing() -> None:
    encoded = Codec().encode([])
    assert encoded.symbols.size == encoded.lengths.size == 0
